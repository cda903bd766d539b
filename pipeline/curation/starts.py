"""Where to start the alignment of two pictures: the views in which they were most alike, as transforms."""

import numpy as np
import numpy.typing as npt

from pipeline.curation.orientation import INVERSES, ORIENTATIONS, Transform, orient
from pipeline.curation.spectra import ANGLES, NORM, SHRINK, Spectra, find_rotation
from pipeline.curation.thumbnails import Floats
from pipeline.curation.views import CROPS, Bank, Queries, count_whole, list_views

BLOCK = 256
STARTS = 4
NEAR = 0.12  # a start is at most so much less alike than the best one
FRAME = np.array([0.0, 0.0, 1.0, 1.0])

Rows = npt.NDArray[np.intp]
Matrices = npt.NDArray[np.float64]


def find_starts(spectra: Spectra, pairs: Rows) -> list[list[Transform]]:
    """Up to four transforms for each pair [m, 2] of rows, from its best views in different orientations.

    Heads are nearly symmetric, so that a wrong orientation may look best in a loose comparison. Either
    picture asks and is looked at, whichever found the other in the retrieval: the starts are a function of
    the two pictures alone. Where both ways are equal, the first picture asks.
    """
    if not len(pairs):
        return []
    asked = np.concatenate([pairs, pairs[:, ::-1]])
    scores, choices = _look_at_all(spectra, asked)
    # The second half asks the other way round: its orientations are the inverse ones.
    scores[len(pairs) :] = scores[len(pairs) :][..., INVERSES]
    choices[len(pairs) :] = choices[len(pairs) :][..., INVERSES]
    reverse = scores[len(pairs) :] > scores[: len(pairs)]
    scores = np.where(reverse, scores[len(pairs) :], scores[: len(pairs)]).reshape(len(pairs), -1)
    choices = np.where(reverse, choices[len(pairs) :], choices[: len(pairs)]).reshape(len(pairs), -1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :STARTS]
    near = np.take_along_axis(scores, order, axis=1)
    place, rank = np.nonzero(near >= near[:, :1] - np.float32(NEAR * NORM**2))
    column = order[place, rank]
    back = reverse.reshape(len(pairs), -1)[place, column]
    ends = np.where(back[:, None], pairs[place][:, ::-1], pairs[place])
    turns = np.where(back, INVERSES[column % ORIENTATIONS], column % ORIENTATIONS)
    ways = _make_transforms(spectra, ends, choices[place, column], turns)
    ways[back] = np.linalg.inv(ways[back])
    bounds = np.searchsorted(place, np.arange(1, len(pairs)))
    return [list(part) for part in np.split(ways[:, :2], bounds)]


def _look_at_all(spectra: Spectra, asked: Rows) -> tuple[Floats, Rows]:
    """For rows (asking, shown), whole frames and boxes, each orientation: best similarity, and its view."""
    queries = Queries(spectra)
    scores = np.zeros((len(asked), 2, ORIENTATIONS), np.float32)
    choices = np.zeros(scores.shape, np.intp)
    order = np.argsort(asked[:, 1], kind="stable")
    shown = asked[order, 1]
    for start in range(0, len(spectra.touches), BLOCK):
        low, high = np.searchsorted(shown, [start, start + BLOCK])
        if low == high:
            continue
        names, places = np.unique(shown[low:high], return_inverse=True)
        group = order[low:high]
        looked = _look_at_some(queries, Bank(spectra, names).spectra, places, asked[group, 0])
        for kind, views in enumerate((slice(count_whole()), slice(count_whole(), None))):
            choices[group, kind] = looked[..., views].argmax(axis=2) + (views.start or 0)
            scores[group, kind] = looked[..., views].max(axis=2)
    return scores, choices


def _look_at_some(queries: Queries, bank: Floats, places: Rows, asking: Rows) -> Floats:
    """How alike the views of pictures, `bank` [views, n, d], are to those that ask: [m, orientations, views].

    Args:
        places: of the picture that each row of `asking` looks at, rising, [m].
    """
    whole, views = count_whole(), list_views()
    scores = np.empty((len(asking), ORIENTATIONS, len(views)), np.float32)
    bounds = np.searchsorted(places, np.arange(bank.shape[1] + 1))
    for shown, view in ((slice(whole), views[0]), (slice(whole, None), views[-1])):
        turned = [queries.ask(view, orientation, asking) for orientation in range(ORIENTATIONS)]
        asked = np.stack(turned, axis=1)
        for place in range(bank.shape[1]):
            rows = slice(bounds[place], bounds[place + 1])
            scores[rows, :, shown] = asked[rows] @ bank[shown, place].T
    scores[queries.refuse(asking)] = -np.inf
    return scores


def _make_transforms(spectra: Spectra, ends: Rows, numbers: Rows, turns: Rows) -> Matrices:
    """From asking pictures to those shown (`ends` [m, 2]) by the views `numbers`: float64 [m, 3, 3]."""
    views = list_views()
    angles = np.array([view.angle for view in views])[numbers]
    boxed = np.array([view.cut is not None for view in views])[numbers][:, None]
    cuts = np.array([[CROPS[k] for k in view.cut or (0, 0, 0, 0)] for view in views])[numbers]
    boxes = spectra.windows[angles, ends[:, 1]]
    inner = boxes + cuts * [1, 1, -1, -1] * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    margins = np.where(np.array(ANGLES)[angles] == 0, 0.0, (1 - SHRINK) / 2)[:, None]
    here = np.where(boxed, spectra.windows[0, ends[:, 0]], FRAME)
    there = np.where(boxed, inner, margins + FRAME * (1 - 2 * margins))
    upright = np.linalg.inv(np.stack([_square(find_rotation(angle)) for angle in range(len(ANGLES))]))
    oriented = np.stack([_square(orient(orientation)) for orientation in range(ORIENTATIONS)])
    to_window = np.linalg.inv(_place_windows(here))
    return np.asarray(upright[angles] @ _place_windows(there) @ oriented[turns] @ to_window, np.float64)


def _place_windows(windows: npt.NDArray[np.float64]) -> Matrices:
    """From fractions of windows (left, top, right, bottom) to fractions of the frame: [m, 3, 3]."""
    placed = np.zeros((len(windows), 3, 3))
    placed[:, 0, 0] = windows[:, 2] - windows[:, 0]
    placed[:, 1, 1] = windows[:, 3] - windows[:, 1]
    placed[:, :2, 2] = windows[:, :2]
    placed[:, 2, 2] = 1
    return placed


def _square(transform: Transform) -> Matrices:
    return np.vstack([transform, [0.0, 0.0, 1.0]])
