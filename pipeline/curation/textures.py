"""Cheap statistics of a thumbnail that tell MR slices from noise, screens and photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

LINE_LENGTH = 24  # pixels of 128: letters and anatomy have no straight edge as long as that
LINE_STEP = 14  # grey levels across a straight edge
LINE_MARGIN = 5  # rows at the rim that do not count: frames around slices are common
FRAME = 16  # pixels of 128 on each side in which a frame may lie, which says nothing of the picture
FLAT_STEP = 2  # grey levels within 3 × 3 pixels
FLAT_DARK = 12  # flat black is the background of every slice
FLAT_LIGHT = 160
BORDER_LIGHT = 48


@dataclass(frozen=True)
class Texture:
    """What a thumbnail is made of.

    Attributes:
        extent: 1st to 99th percentile, grey levels.
        coarse: least share of the contrast that survives an averaging of 2 × 2 pixels, of three in a row:
            0.5 for white noise of 64 pixels a side and more, near 1 where neighbours agree; the larger of
            that with and without a frame.
        lines: straight upright or level edges, at least 24 pixels long, off the rim.
        flat: share of pixels that are even with their neighbours and not black.
        light: share of pixels within the frame that are even with their neighbours and light.
        border: share of the outline that is lighter than any usual background.
    """

    extent: float
    coarse: float
    lines: int
    flat: float
    light: float
    border: float


def measure_texture(pixels: Pixels) -> Texture:
    """Measure a thumbnail, uint8 [128, 128]."""
    within = (slice(FRAME, -FRAME), slice(FRAME, -FRAME))
    even = cv2.morphologyEx(pixels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) <= FLAT_STEP
    light = (even & (pixels >= FLAT_LIGHT))[within]
    outline = np.concatenate([pixels[2], pixels[-3], pixels[2:-2, 2], pixels[2:-2, -3]])
    low, high = find_levels(pixels, (0.01, 0.99))
    return Texture(
        extent=float(high - low),
        coarse=round(max(measure_coarseness(pixels), measure_coarseness(pixels[within])), 6),
        lines=count_lines(pixels),
        flat=round(np.count_nonzero(even & (pixels >= FLAT_DARK)) / pixels.size, 6),
        light=round(np.count_nonzero(light) / light.size, 6),
        border=round(np.count_nonzero(outline >= BORDER_LIGHT) / outline.size, 6),
    )


def find_levels(pixels: Pixels, shares: Sequence[float]) -> list[int]:
    """For each share the lowest grey level that at least this share of the pixels does not exceed."""
    below = np.bincount(pixels.ravel(), minlength=256).cumsum()
    return [int(np.searchsorted(below, share * pixels.size)) for share in shares]


def measure_coarseness(pixels: Pixels) -> float:
    """The least ratio of standard deviations as the side, 8 k pixels, is halved thrice; 1 for a blank."""
    level = pixels.astype(np.float64)
    deviations = [float(level.std())]
    for _ in range(3):
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]) / 4
        deviations.append(float(level.std()))
    return min((after / before for before, after in pairwise(deviations) if before > 0), default=1.0)


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
