"""Where to start the alignment of two pictures: the views in which they were most alike, as transforms."""

import numpy as np
import numpy.typing as npt

from pipeline.curation.orientation import ORIENTATIONS, Transform, compose, invert, orient
from pipeline.curation.spectra import ANGLES, SHRINK, Spectra, find_rotation
from pipeline.curation.thumbnails import Floats
from pipeline.curation.views import CROPS, Bank, Queries, View, count_whole, list_views

BLOCK = 256
FRAME = np.array([0.0, 0.0, 1.0, 1.0])

Rows = npt.NDArray[np.intp]


def find_starts(spectra: Spectra, pairs: Rows) -> list[list[Transform]]:
    """Two transforms for each pair [m, 2] of rows: from its best view of whole frames, and of boxes.

    Either picture asks and is looked at, whichever found the other in the retrieval: the starts are a
    function of the two pictures alone. Where both ways are equal, the first picture asks.
    """
    scores, choices = _look_at_all(spectra, np.concatenate([pairs, pairs[:, ::-1]]))
    starts: list[list[Transform]] = []
    views, whole = list_views(), count_whole()
    for place, (one, other) in enumerate(pairs):
        found = []
        for kind in (0, 1):
            reverse = scores[len(pairs) + place, kind] > scores[place, kind]
            choice = int(choices[place + len(pairs) * int(reverse), kind])
            orientation, number = divmod(choice, len(views) - whole if kind else whole)
            asking, shown = (int(other), int(one)) if reverse else (int(one), int(other))
            way = _make_transform(spectra, asking, shown, views[number + kind * whole], orientation)
            found.append(invert(way) if reverse else way)
        starts.append(found)
    return starts


def _look_at_all(spectra: Spectra, asked: Rows) -> tuple[Floats, Rows]:
    """For rows (asking, shown) the best similarity of whole frames and of boxes, and where it was found."""
    queries = Queries(spectra)
    scores, choices = np.zeros((len(asked), 2), np.float32), np.zeros((len(asked), 2), np.intp)
    order = np.argsort(asked[:, 1], kind="stable")
    shown = asked[order, 1]
    for start in range(0, len(spectra.touches), BLOCK):
        bank = Bank(spectra, slice(start, start + BLOCK)).spectra
        low, high = np.searchsorted(shown, [start, start + BLOCK])
        changes = np.flatnonzero(np.diff(shown[low:high])) + 1
        for group in np.split(order[low:high], changes):
            if len(group):
                looked = _look_at_one(queries, bank[:, asked[group[0], 1] - start], asked[group, 0])
                for kind, part in enumerate(looked):
                    choices[group, kind] = part.argmax(axis=1)
                    scores[group, kind] = part.max(axis=1)
    return scores, choices


def _look_at_one(queries: Queries, bank: Floats, asking: Rows) -> tuple[Floats, Floats]:
    """How alike one picture's views [views, d] are to all that ask: [asking, orientations × views] a kind."""
    whole, views = count_whole(), list_views()
    scores = np.empty((len(asking), ORIENTATIONS, len(views)), np.float32)
    for orientation in range(ORIENTATIONS):
        scores[:, orientation, :whole] = queries.ask(views[0], orientation, asking) @ bank[:whole].T
        scores[:, orientation, whole:] = queries.ask(views[-1], orientation, asking) @ bank[whole:].T
    scores[queries.refuse(asking)] = -np.inf
    return scores[..., :whole].reshape(len(asking), -1), scores[..., whole:].reshape(len(asking), -1)


def _make_transform(spectra: Spectra, asking: int, shown: int, view: View, orientation: int) -> Transform:
    """From the asking picture to the one that is shown, as the view says."""
    if view.cut is None:
        margin = 0.0 if ANGLES[view.angle] == 0 else (1 - SHRINK) / 2
        here, there = FRAME, margin + FRAME * (1 - 2 * margin)
    else:
        here, box = spectra.windows[0, asking], spectra.windows[view.angle, shown]
        cut = np.array([CROPS[k] for k in view.cut]) * np.array([1, 1, -1, -1])
        there = box + cut * np.tile(box[2:] - box[:2], 2)
    way = compose(orient(orientation), invert(_place_window(here)))
    return compose(invert(find_rotation(view.angle)), compose(_place_window(there), way))


def _place_window(window: npt.NDArray[np.float64]) -> Transform:
    """From fractions of a window (left, top, right, bottom) to fractions of the frame."""
    left, top, right, bottom = window
    return np.array([[right - left, 0.0, left], [0.0, bottom - top, top]])
