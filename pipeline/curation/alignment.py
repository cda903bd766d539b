"""The affine transform that takes one thumbnail to another: coarse to fine, with a cheap way out.

The start that fits best goes through steps of ECC refinement (Evangelidis and Psarakis, PAMI 30(10), 2008) of
locally normalised images, at 32, 64 and 128 pixels. A pair that stays unlike is given up on the way; 19 of 20
candidates of the loose retrieval are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pipeline.curation.orientation import Transform
from pipeline.curation.scores import (
    LINEAR,
    Likeness,
    blur_image,
    compare_aligned,
    normalise_locally,
    to_fractions,
    to_pixels,
)
from pipeline.curation.thumbnails import SIDE, Floats, Pixels, Stack, halve


@dataclass(frozen=True)
class Step:
    """One level: side, window of the local normalisation and blur in its pixels; least correlation to go on.

    A blur after the normalisation widens what the refinement can catch: from 8° and 8 % of scale off, 99 %
    of copies are caught at 32 pixels, 67 % without it.
    """

    side: int
    sigma: float
    blur: float
    iterations: int
    least: float


STEPS = (
    Step(32, 4.0, 1.0, 4, 0.70),
    Step(64, 3.0, 0.0, 2, 0.50),  # of pairs of different pictures, half end here
    Step(64, 3.0, 0.0, 4, 0.75),  # and nearly all others here; of copies, 99.9 % pass both
    Step(SIDE, 4.0, 0.0, 3, 0.0),
)
SCALES = (0.5, 2.0)
HOPEFUL = 0.08  # a start is refined if it fits at most so much worse than the best one
LEAST_FIT = 0.50  # after the coarsest refinement, at 64 pixels; of copies, the least has 0.59
LEAST_COVERED = 0.2  # of the first picture
NO_MASK: Any = None
KEPT_VIEWS = 10_000  # of 20 kB each
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Alignment:
    """What came of a pair.

    Attributes:
        transform: takes points of the first thumbnail to the second.
        fit: likeness at 64 pixels after the coarsest refinement, −1 to 1.
        likeness: measured at 128 pixels under `transform`; None where the pair was given up.
    """

    transform: Transform
    fit: float
    likeness: Likeness | None


class Views:
    """One thumbnail, locally normalised at each level when first asked for; the finest is made each time."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._levels: dict[tuple[int, float], Floats] = {}

    def at(self, step: Step) -> Floats:
        """Float32 [step.side, step.side]."""
        key = (step.side, step.sigma)
        found = self._levels.get(key)
        if found is None:
            image = self.pixels.astype(np.float32)
            while image.shape[0] > step.side:
                image = halve(image)
            found = normalise_locally(image, step.sigma)
            found = blur_image(found, step.blur) if step.blur else found
            if step.side < SIDE:
                self._levels[key] = found
        return found


class Gallery:
    """Views of thumbnails, kept for the next pair as long as there is room."""

    def __init__(self, pixels: Stack) -> None:
        self._pixels = pixels
        self._views: dict[int, Views] = {}

    def view(self, row: int) -> Views:
        """The views of one thumbnail; may be called from any thread."""
        found = self._views.get(row)
        if found is None:
            if len(self._views) >= KEPT_VIEWS:
                self._views = {}
            found = self._views[row] = Views(self._pixels[np.array([row])][0])
        return found


def align_pair(first: Views, second: Views, starts: Sequence[Transform]) -> Alignment:
    """Align two thumbnails from the best of several starts, or give up where they stay unlike.

    A pure function of the two thumbnails and the starts, of which there is one or more.
    """
    transform, fit = _choose_start(first, second, starts)
    if fit < LEAST_FIT:
        return Alignment(transform, fit, None)
    for step in STEPS[1:]:
        refined = _refine(first, second, transform, step)
        if refined is None:
            return Alignment(transform, fit, None)
        transform = refined
    likeness = compare_aligned(first.pixels, second.pixels, transform)
    if likeness is not None and likeness.overlap < LEAST_OVERLAP:
        likeness = None
    return Alignment(transform, fit, likeness)


def is_sane(transform: Transform) -> bool:
    """Whether a transform neither shrinks below a half nor stretches beyond double, in any direction."""
    stretch = np.linalg.svd(transform[:, :2], compute_uv=False)
    return bool(SCALES[0] <= stretch[1] and stretch[0] <= SCALES[1])


def _choose_start(first: Views, second: Views, starts: Sequence[Transform]) -> tuple[Transform, float]:
    """The start that is most alike after the coarsest refinement, and how alike it is at 64 pixels.

    Hopeless ones are not refined; where no refinement holds, the first start comes back with −1.
    """
    fits = [_correlate(first, second, start, STEPS[0]) for start in starts]
    hopeful = [start for start, fit in zip(starts, fits, strict=True) if fit >= max(fits) - HOPEFUL]
    refined = [_refine(first, second, start, STEPS[0]) for start in hopeful]
    left = [transform for transform in refined if transform is not None]
    fits = [_correlate(first, second, transform, STEPS[1]) for transform in left]
    return (left[fits.index(max(fits))], max(fits)) if left else (starts[0], -1.0)


def _correlate(first: Views, second: Views, transform: Transform, step: Step) -> float:
    """Likeness of two views as they lie; −1 where they hardly overlap."""
    size, matrix = (step.side, step.side), to_pixels(transform, step.side)
    covered = cv2.warpAffine(np.ones(size, np.float32), matrix, size, flags=LINEAR)
    if covered.sum() < LEAST_COVERED * step.side**2:
        return -1.0
    one = (first.at(step) * covered).ravel()
    other = np.asarray(cv2.warpAffine(second.at(step), matrix, size, flags=LINEAR), np.float32).ravel()
    return round(float(one @ other) / float(np.sqrt((one @ one) * (other @ other) + 1e-9)), 6)


def _refine(first: Views, second: Views, start: Transform, step: Step) -> Transform | None:
    """One level's refinement; None where it diverges, or where the pair stays too unlike to go on."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, step.iterations, 1e-4)
    try:
        likeness, matrix = cv2.findTransformECC(
            first.at(step),
            second.at(step),
            to_pixels(start, step.side),
            cv2.MOTION_AFFINE,
            criteria,
            NO_MASK,
            1,
        )
    except cv2.error:  # it says so when it diverges, or when the overlap holds nothing
        return None
    transform = to_fractions(np.asarray(matrix, np.float32), step.side)
    return transform if round(float(likeness), 6) >= step.least and is_sane(transform) else None
