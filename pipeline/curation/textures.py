"""Cheap statistics of a thumbnail that tell MR slices from noise, screens and photographs."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

LINE_LENGTH = 24  # pixels of 128: letters and anatomy have no straight edge as long as that
LINE_STEP = 14  # grey levels across a straight edge
LINE_MARGIN = 5  # rows at the rim that do not count: frames around slices are common
FRAME = 16  # pixels of 128 on each side in which a frame may lie, which says nothing of the picture
FLAT_STEP = 2  # grey levels within 3 × 3 pixels
FLAT_DARK = 12  # flat black is the background of every slice
FLAT_LIGHT = 160
BORDER_LIGHT = 48
_WITHIN = (slice(FRAME, -FRAME), slice(FRAME, -FRAME))


class Texture:
    """What a thumbnail, uint8 [128, 128], is made of; each statistic is measured when first asked for."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    @cached_property
    def at_most(self) -> Counts:
        """For each grey level the number of pixels that do not exceed it, int64 [256]."""
        return count_levels(self._pixels)

    @cached_property
    def extent(self) -> float:
        """1st to 99th percentile, grey levels."""
        low, high = pick_levels(self.at_most, (0.01, 0.99))
        return float(high - low)

    @cached_property
    def coarse(self) -> float:
        """Least share of the contrast that survives an averaging of 2 × 2 pixels, of three in a row.

        0.5 for white noise of 64 pixels a side and more, near 1 where neighbours agree; the larger of that
        with and without a frame.
        """
        within = measure_coarseness(self._pixels[_WITHIN])
        return round(max(measure_coarseness(self._pixels), within), 6)

    @cached_property
    def lines(self) -> int:
        """Straight upright or level edges, at least 24 pixels long, off the rim."""
        return count_lines(self._pixels)

    @cached_property
    def flat(self) -> float:
        """Share of pixels that are even with their neighbours and not black."""
        return _share(self._even & (self._pixels >= FLAT_DARK))

    @cached_property
    def light(self) -> float:
        """Share of pixels within the frame that are even with their neighbours and light."""
        return _share((self._even & (self._pixels >= FLAT_LIGHT))[_WITHIN])

    @cached_property
    def border(self) -> float:
        """Share of the outline that is lighter than any usual background."""
        rows = self._pixels
        outline = np.concatenate([rows[2], rows[-3], rows[2:-2, 2], rows[2:-2, -3]])
        return _share(outline >= BORDER_LIGHT)

    def is_coarse(self, least: float) -> bool:
        """Whether `coarse` exceeds `least`, which must not have more than six decimals."""
        return bound_coarseness(self._pixels) > least + 1e-6 or self.coarse > least

    @cached_property
    def _even(self) -> npt.NDArray[np.bool_]:
        return cv2.morphologyEx(self._pixels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) <= FLAT_STEP


def _share(chosen: npt.NDArray[np.bool_]) -> float:
    return round(np.count_nonzero(chosen) / chosen.size, 6)


def find_levels(pixels: Pixels, shares: Sequence[float]) -> list[int]:
    """For each share the lowest grey level that at least this share of the pixels does not exceed."""
    return pick_levels(count_levels(pixels), shares)


def count_levels(pixels: Pixels) -> Counts:
    """For each grey level the number of pixels, of any shape, that do not exceed it: int64 [256]."""
    counts = cv2.calcHist([np.atleast_2d(pixels)], [0], None, [256], [0, 256])
    return counts.ravel().astype(np.int64).cumsum()


def pick_levels(at_most: Counts, shares: Sequence[float]) -> list[int]:
    """`find_levels` from `count_levels`."""
    return [int(np.searchsorted(at_most, share * int(at_most[-1]))) for share in shares]


def measure_coarseness(pixels: Pixels) -> float:
    """The least ratio of standard deviations as the side, 8 k pixels, is halved thrice; 1 for a blank."""
    level = pixels.astype(np.float64)
    deviations = [float(level.std())]
    for _ in range(3):
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 4
        deviations.append(float(level.std()))
    return min((after / before for before, after in pairwise(deviations) if before > 0), default=1.0)


def bound_coarseness(pixels: Pixels) -> float:
    """What `measure_coarseness` is at least, in a tenth of its time; below 0.5 for a blank.

    Averages are rounded to whole levels here: each moves a standard deviation by half a level at most, and
    so do those that it was made from.
    """
    level, before, bound = pixels, float(cv2.meanStdDev(pixels)[1][0, 0]), 1.0
    for halvings in (1, 2, 3):
        size = (level.shape[1] // 2, level.shape[0] // 2)
        level = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.uint8)
        after = float(cv2.meanStdDev(level)[1][0, 0])
        bound = min(bound, (after - halvings / 2) / (before + (halvings - 1) / 2 + 1e-9))
        before = after
    return bound


def count_lines(pixels: Pixels) -> int:
    """Rows and columns that hold a straight edge of `LINE_LENGTH` pixels; neighbours count once."""
    count = 0
    for levels in (pixels, np.ascontiguousarray(pixels.T)):
        held = np.zeros(len(levels) - 1, np.bool_)
        for step in (cv2.subtract(levels[1:], levels[:-1]), cv2.subtract(levels[:-1], levels[1:])):
            edge = (step >= LINE_STEP).astype(np.uint8)
            held |= cv2.erode(edge, np.ones((1, LINE_LENGTH), np.uint8), borderValue=0).any(axis=1)
        held = held[LINE_MARGIN:-LINE_MARGIN]
        count += int(np.count_nonzero(held[1:] & ~held[:-1])) + int(held[0])
    return count
