"""What the loose retrieval compares: low cosine spectra of a thumbnail, whole and inside its content's box.

A spectrum holds the lowest orders of the cosine transform (DCT-II) of two planes, grey levels and locally
normalised ones, each without its mean and of equal weight: a product of two is the mean of two low-pass
correlations. Mirroring and quarter turns only change signs and exchange axes (`turn_spectra`); a crop is a
small matrix on each axis. Spectra are rounded to integers of norm 2,048: products and their partial sums stay
below 2²⁴, so float32 adds them exactly, and neither the order of summation nor the number of threads shows.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.curation.orientation import Transform
from pipeline.curation.scores import normalise_locally, to_pixels
from pipeline.curation.thumbnails import Floats, Pixels, Stack, halve

ORDER = 8  # orders an axis of a spectrum that is compared
RICH_ORDER = 12  # orders kept of a box, so that crops of it can be taken
NORM = 2048.0
RICH_NORM = 16384.0
SIDE = 64  # pixels of the planes
SIGMA = 4.0  # plane pixels: the window of local normalisation
ANGLES = (0.0, -10.0, 10.0)  # degrees; each copes with about 6 more to either side
SHRINK = 0.8  # planes are turned on a canvas 1.25 times as wide, so that no corner of a head is lost
BLOCK = 512
SHOWN_LEAST = 4.0  # grey levels: what counts as content, where the box is sought
SHOWN_SHARE = (
    0.4  # of the way from the mean of the dark to that of the bright, as Otsu's threshold parts them
)
BOX_SHARE = 0.04  # of a side: a row or column that shows less is outside the box
BOX_LEAST = 0.2  # of a side: a smaller box is no head; the whole picture is taken
TOUCH = 0.08  # of a side: so much content on the rim means that the picture may have been cut there

Windows = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int16]
Rows = npt.NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True)
class Spectra:
    """Spectra of n pictures, turned by each of `ANGLES`.

    Attributes:
        full: int16 [angles, n, 2, 8, 8], of the whole frame, of norm 2,048.
        box: int16 [angles, n, 2, 12, 12], of the content's box, of norm 16,384.
        windows: float64 [angles, n, 4], the boxes: left, top, right, bottom as fractions of the canvas.
        touches: bool [n, 4], whether content touches the left, top, right and bottom rim.
    """

    full: Integers
    box: Integers
    windows: Windows
    touches: npt.NDArray[np.bool_]

    def select(self, rows: Rows) -> "Spectra":
        """Those of some pictures."""
        return Spectra(self.full[:, rows], self.box[:, rows], self.windows[:, rows], self.touches[rows])


def measure_spectra(pixels: Stack, *, workers: int = 1) -> Spectra:
    """Spectra of thumbnails; each depends on its own thumbnail alone."""
    count, angles = len(pixels), len(ANGLES)
    # Filled block by block: joined at the end, they would be there twice.
    found = Spectra(
        np.empty((angles, count, 2, ORDER, ORDER), np.int16),
        np.empty((angles, count, 2, RICH_ORDER, RICH_ORDER), np.int16),
        np.empty((angles, count, 4)),
        np.empty((count, 4), np.bool_),
    )
    for start, part in _map_blocks(_measure_block, pixels, workers):
        here = slice(start, start + BLOCK)
        found.full[:, here], found.box[:, here], found.windows[:, here], found.touches[here] = part
    return found


def measure_frames(pixels: Stack, order: int, *, workers: int = 1) -> Integers:
    """Spectra of whole upright frames, rounded to norm 2,048: int16 [n, 2, order, order]."""

    def measure(block: Pixels) -> Integers:
        frames = np.tile([0.0, 0.0, 1.0, 1.0], (len(block), 1))
        return round_spectra(take_spectra(_make_planes(block), frames, order)).astype(np.int16)

    found = np.empty((len(pixels), 2, order, order), np.int16)
    for start, part in _map_blocks(measure, pixels, workers):
        found[start : start + BLOCK] = part
    return found


def take_spectra(planes: Floats, windows: Windows, order: int) -> Floats:
    """Cosine spectra of windows [n, 4] of planes [n, 2, h, h]: float32 [n, 2, order, order], not rounded."""
    across = _make_cosines(windows[:, 0], windows[:, 2], order, planes.shape[-1])
    down = _make_cosines(windows[:, 1], windows[:, 3], order, planes.shape[-1])
    return np.asarray(down[:, None] @ planes @ across[:, None].swapaxes(-1, -2), np.float32)


def round_spectra(spectra: Floats, norm: float = NORM) -> Floats:
    """Without its mean, each plane of `norm` / √2, rounded to integers; blank planes stay zero."""
    free = spectra.copy()
    free[..., 0, 0] = 0
    length = np.sqrt((free * free).sum(axis=(-2, -1), keepdims=True))
    scale = np.float32(norm * np.sqrt(0.5)) / np.maximum(length, np.float32(1e-3))
    return np.asarray(np.rint(free * scale), np.float32)


def crop_matrix(low: float, high: float) -> Floats:
    """What takes a box's rich spectrum along one axis to that of its part from `low` to `high`."""
    cells = 4 * RICH_ORDER
    part = _make_cosines(np.array([low]), np.array([high]), ORDER, cells)[0]
    whole = _make_cosines(np.array([0.0]), np.array([1.0]), RICH_ORDER, cells)[0]
    orders = (whole * whole).sum(axis=1)
    matrix: Floats = (part @ (whole / orders[:, None]).T).astype(np.float32)
    return matrix


def find_rotation(angle: int) -> Transform:
    """From a picture to the canvas on which it is turned counter-clockwise by `ANGLES[angle]`, and shrunk."""
    if ANGLES[angle] == 0:
        return np.eye(2, 3)
    radians = np.deg2rad(ANGLES[angle])
    cosine, sine = SHRINK * np.cos(radians), SHRINK * np.sin(radians)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([linear, 0.5 - linear @ np.array([0.5, 0.5])])


def _map_blocks(measure: Callable[[Pixels], T], pixels: Stack, workers: int) -> Iterator[tuple[int, T]]:
    """What was measured of each block, with its first row, in order."""
    starts = range(0, len(pixels), BLOCK)
    with ThreadPoolExecutor(workers) as pool:
        yield from zip(
            starts, pool.map(lambda start: measure(pixels[start : start + BLOCK]), starts), strict=True
        )


def _make_planes(pixels: Pixels) -> Floats:
    """Grey and locally normalised planes, float32 [n, 2, 64, 64]."""
    grey = halve(pixels)
    return np.stack([np.stack([plane, normalise_locally(plane, SIGMA)]) for plane in grey])


def _measure_block(pixels: Pixels) -> tuple[Integers, Integers, Windows, npt.NDArray[np.bool_]]:
    planes = _make_planes(pixels)
    full, box, windows = [], [], []
    frame = np.array([[0.0, 0.0, 1.0, 1.0]])
    touches = np.array([_find_touches(_find_content(plane[0])) for plane in planes])
    for angle, degrees in enumerate(ANGLES):
        turned = planes if degrees == 0 else np.stack([_rotate(plane, angle) for plane in planes])
        margin = 0.0 if degrees == 0 else (1 - SHRINK) / 2
        whole = np.repeat(margin + frame * (1 - 2 * margin), len(planes), axis=0)
        boxes = np.array([_find_box(_find_content(plane[0]), margin) for plane in turned])
        full.append(round_spectra(take_spectra(turned, whole, ORDER)).astype(np.int16))
        box.append(round_spectra(take_spectra(turned, boxes, RICH_ORDER), RICH_NORM).astype(np.int16))
        windows.append(boxes)
    return np.stack(full), np.stack(box), np.stack(windows), touches


def _rotate(planes: Floats, angle: int) -> Floats:
    """Planes [2, h, h] turned by `ANGLES[angle]`, black outside."""
    matrix = to_pixels(find_rotation(angle), SIDE)
    turned: Floats = np.stack([cv2.warpAffine(plane, matrix, (SIDE, SIDE)) for plane in planes])
    return turned


def _make_cosines(low: Windows, high: Windows, order: int, cells: int) -> Floats:
    """Cosines of orders 0… over [low, high] at the `cells` cells of an axis: [n, order, cells].

    A cell that the window cuts counts by the share inside.
    """
    width = (high - low)[:, None]
    edges = np.arange(cells + 1) / cells
    inside = np.clip(np.minimum(edges[1:], high[:, None]) - np.maximum(edges[:-1], low[:, None]), 0, None)
    middle = (edges[1:] + edges[:-1]) / 2
    phase = np.pi * (middle - low[:, None]) / width
    waves = np.cos(np.arange(order)[None, :, None] * phase[:, None, :])
    waves *= (inside / width)[:, None, :]
    waves[:, 0] *= np.sqrt(0.5)
    made: Floats = waves.astype(np.float32)
    return made


def _find_content(grey: Floats) -> npt.NDArray[np.bool_]:
    """Where a plane [64, 64] shows something: by Otsu's two means (SMC 9(1), 1979).

    They follow the contrast; a fixed share of the brightest level does not, since CLAHE and gamma lift the
    background above it.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.8)
    parted, _ = cv2.threshold(np.rint(smooth).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    bright = smooth > parted
    if bright.all() or not bright.any():
        return np.ones(grey.shape, dtype=np.bool_)
    low, high = float(smooth[~bright].mean()), float(smooth[bright].mean())
    shown: npt.NDArray[np.bool_] = smooth > max(SHOWN_LEAST, low + SHOWN_SHARE * (high - low))
    return shown


def _find_box(content: npt.NDArray[np.bool_], margin: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the rows and columns with content, as fractions; else the frame."""
    across, down = (np.flatnonzero(content.sum(axis=axis) >= BOX_SHARE * SIDE) for axis in (0, 1))
    if len(across) == 0 or len(down) == 0:
        return margin, margin, 1 - margin, 1 - margin
    left, right, top, bottom = across[0], across[-1] + 1, down[0], down[-1] + 1
    if min(right - left, bottom - top) < BOX_LEAST * SIDE:
        return margin, margin, 1 - margin, 1 - margin
    return left / SIDE, top / SIDE, right / SIDE, bottom / SIDE


def _find_touches(content: npt.NDArray[np.bool_]) -> tuple[bool, bool, bool, bool]:
    rims = (content[:, 0], content[0], content[:, -1], content[-1])
    left, top, right, bottom = (bool(rim.sum() >= TOUCH * SIDE) for rim in rims)
    return left, top, right, bottom
