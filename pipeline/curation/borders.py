"""Borders of one bright grey, as pages and screens put around a picture: made black, like a background."""

import numpy as np
import numpy.typing as npt

from pipeline.curation.thumbnails import Pixels

SPREAD = 10  # grey levels within a line of a border
LEAST = 10  # grey levels; a darker border looks like a background already
STEP = 10  # grey levels between a border and what it surrounds
SHARE = 0.5  # of the first line inside that has to differ, or the line is no border but a plain background
WIDEST = 0.4  # of a side
RIM = 1  # line inside a border that interpolation has mixed with it


def blacken_borders(stack: Pixels) -> Pixels:
    """Thumbnails uint8 [n, h, w] with bright borders of one grey made black; a copy where any has one."""
    rims = np.stack([stack[:, 0], stack[:, -1], stack[:, :, 0], stack[:, :, -1]], axis=1)
    plain = np.ptp(rims, axis=2) <= SPREAD
    framed = np.flatnonzero((plain & (rims.min(axis=2) > LEAST)).any(axis=1))
    if not len(framed):
        return stack
    cleaned = stack.copy()
    for row in framed:
        _blacken(cleaned[row])
    return cleaned


def _blacken(image: Pixels) -> None:
    """Blacken the borders of one image [h, w] in place, each side on its own, found before any is changed."""
    sides = [image, image[::-1], image.T, image.T[::-1]]
    widths = [_measure_border(side) for side in sides]
    for side, width in zip(sides, widths, strict=True):
        side[:width] = 0


def _measure_border(lines: npt.NDArray[np.uint8]) -> int:
    """How many first lines belong to a bright border; 0 where there is none."""
    grey = int(np.median(lines[0]))
    apart = np.abs(lines[: round(WIDEST * len(lines)) + 1].astype(np.int16) - grey) > STEP
    inside = np.flatnonzero(apart.any(axis=1))
    if grey <= LEAST or not len(inside) or inside[0] == 0:
        return 0
    return int(inside[0] + RIM) if apart[inside[0] : inside[0] + 2].mean(axis=1).max() >= SHARE else 0
