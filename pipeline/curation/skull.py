"""CT among MR: in CT the skull is a bright plateau with sharp edges, and brain lies right inside it.

In MR bone gives no signal. The bright ring of a T1 or T2 slice is the scalp's fat or the fluid around the
brain: a ridge, not a plateau, and the dark bone lies between it and the brain.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.curation.textures import Counts, count_levels, find_levels, pick_levels

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

RAYS = 64
STEPS = 64  # along a ray, from the outline of the head (step 0) to its centre
SHELL = 27  # steps in which the skull is looked for: the outer 42 %
INSIDE = 22  # steps from which on the ray is surely inside: the inner 66 %
BENEATH = 8  # steps right inside the ring in which a dark band would lie
PLATEAU = 0.9  # of the brightest level
FOOT = 0.6  # of the brightest level: the plateau's edges end here
NARROWEST = 1.5  # pixels of 128: the thinnest skull that is told from a line
BAND = 0.5  # of the median inside: darker is bone in MR
SMALLEST_HEAD = 800  # pixels of 128 × 128
LEAST_PLATEAU = 0.02  # of the pixels; 0.01 of them are as bright as the brightest level by its definition
LEAST_LIT = 0.06  # of the pixels brighter than the ground: CT has 0.082 and more
_REACH = 92  # pixels: half the diagonal of 128 × 128, rounded up


@dataclass(frozen=True)
class Ring:
    """What lies around a head; all shares 0 to 1.

    Attributes:
        rays: share of rays that cross a plateau of at least 1.5 pixels, without a dark band inside it.
        sharpness: median over rays of the plateau's width over its width at the foot.
        beneath: darkest level right inside the ring, of the median inside: the 25th percentile over rays.
        width: median width of the plateau, pixels of 128.
        inside: median level inside, of the brightest level.
        spread: 10th to 90th percentile of the levels inside, of the brightest level.
    """

    rays: float = 0.0
    sharpness: float = 0.0
    beneath: float = 0.0
    width: float = 0.0
    inside: float = 0.0
    spread: float = 0.0


def measure_ring(
    pixels: Pixels,
    at_most: Counts | None = None,
    *,
    inside: float = math.inf,
    spread: float = math.inf,
) -> Ring:
    """The bright ring of a thumbnail, uint8 [128, 128]; all zero where there is no head, or no plateau.

    Args:
        pixels: the thumbnail.
        at_most: its `count_levels`, where they are known.
        inside, spread: a ring with more than that is not measured any further: all zero.
    """
    if not _may_be_plateau(count_levels(pixels) if at_most is None else at_most):
        return Ring()  # most images end here
    head = find_head(pixels)
    if head is None:
        return Ring()
    (top,) = find_levels(pixels[head > 0], (0.99,))
    rays, step = _sample_rays(pixels, head)
    inner = rays[:, INSIDE:]
    low, median, high = np.percentile(inner, [10, 50, 90])
    if round(float(median / top), 6) > inside or round(float((high - low) / top), 6) > spread:
        return Ring()
    run, _ = _find_runs(rays[:, :SHELL] >= PLATEAU * top)
    foot, end = _find_runs(rays[:, :SHELL] >= FOOT * top)
    plateau, base = run * step, foot * step
    darkest = _find_lowest(rays, end) / max(float(median), 1.0)
    good = plateau >= NARROWEST
    return Ring(
        rays=round(float((good & (darkest >= BAND)).mean()), 6),
        sharpness=round(float(np.median(plateau[good] / base[good])), 6) if good.any() else 0.0,
        beneath=round(float(np.percentile(darkest, 25)), 6),
        width=round(float(np.median(plateau)), 6),
        inside=round(float(median / top), 6),
        spread=round(float((high - low) / top), 6),
    )


def _may_be_plateau(at_most: Counts) -> bool:
    """Whether enough of the pixels are nearly as bright as the brightest."""
    total = int(at_most[-1])
    (brightest,) = pick_levels(at_most, (0.99,))
    bright, lit = (
        total - int(at_most[math.ceil(level) - 1]) if level > 0 else total
        for level in (PLATEAU * brightest, _find_ground(brightest))
    )
    return bright >= max(LEAST_PLATEAU * total, LEAST_LIT * lit)


def _find_ground(brightest: int) -> float:
    """The level that a head is brighter than."""
    return max(20.0, 0.18 * brightest)


def find_head(pixels: Pixels) -> Pixels | None:
    """The largest bright region with its holes filled, uint8 [128, 128] of 0 and 1; None if too small."""
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.0)
    threshold = _find_ground(*find_levels(smooth.astype(np.uint8), (0.99,)))
    bright = (smooth > threshold).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(bright)
    if count < 2:
        return None
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    outline, _ = cv2.findContours(
        (labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    head: Pixels = cv2.drawContours(np.zeros_like(bright), outline, -1, 1, -1).astype(np.uint8)
    return head if int(head.sum()) >= SMALLEST_HEAD else None


def _sample_rays(pixels: Pixels, head: Pixels) -> tuple[Floats, Floats]:
    """Levels [rays, steps] from the head's outline inwards, and the length of each ray's step, pixels."""
    angles = np.arange(RAYS, dtype=np.float32)[:, None] * np.float32(2 * np.pi / RAYS)
    across, down = np.cos(angles), np.sin(angles)
    moments = cv2.moments(head, binaryImage=True)
    x, y = (np.float32(moments[along] / moments["m00"]) for along in ("m10", "m01"))
    far = np.arange(1, _REACH + 1, dtype=np.float32)[None]
    inside = cv2.remap(head, x + across * far, y + down * far, cv2.INTER_NEAREST) > 0
    length = np.where(inside.any(axis=1), _REACH - inside[:, ::-1].argmax(axis=1), 0).astype(np.float32)
    at = (np.arange(STEPS, dtype=np.float32) + 0.5)[None, ::-1] / STEPS * length[:, None]
    levels = cv2.remap(pixels, x + across * at, y + down * at, cv2.INTER_LINEAR)
    return levels.astype(np.float32), length / np.float32(STEPS)


def _find_runs(bright: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Length of the longest run in each row, and the step that it ends at (the outermost of equals)."""
    run, best, end = np.zeros((3, len(bright)), np.int64)
    for step in range(bright.shape[1]):
        run = np.where(bright[:, step], run + 1, 0)
        longer = run > best
        best, end = np.where(longer, run, best), np.where(longer, step, end)
    return best, end


def _find_lowest(rays: Floats, end: npt.NDArray[np.int64]) -> Floats:
    """The lowest level in the steps right inside the ring, for each ray."""
    beneath = np.minimum(end[:, None] + np.arange(1, BENEATH + 1), STEPS - 1)
    lowest: Floats = np.take_along_axis(rays, beneath, axis=1).min(axis=1)
    return lowest
