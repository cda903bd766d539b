"""The affine transform that takes one thumbnail to another: coarse to fine, with cheap ways out.

Pairs go through in chunks. All their starts are refined a little at 32 pixels; what is then unlike in fine
texture is given up, and half the candidates of the loose retrieval are. The best start of the others is
refined at 64 pixels, where another four in ten end, and at 128, and judged on what both thumbnails show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.curation.levels import Level, Views
from pipeline.curation.orientation import Transform
from pipeline.curation.refinement import correlate_batch, refine_batch
from pipeline.curation.scores import Likeness, compare_aligned
from pipeline.curation.thumbnails import SIDE, Stack


@dataclass(frozen=True)
class Step:
    """Refinement at one level, then a look at another: pairs less alike there than `least` are given up.

    Refinement wants wide windows and blur, which reach far; what tells copies from other pictures is fine.
    """

    level: Level
    iterations: int
    judge: Level | None = None
    least: float = -1.0


# Of 675 true pairs among 65,000 candidates (22 kinds of synthetic copies of real images) two fall through, at
# the second judge. Of the other pairs the judges leave 0.7, 0.5, 0.1 and, the last one, 0.05.
COARSE = (
    Step(Level(32, 4.0, 1.0), 2, Level(32, 1.0, 0.6), 0.50),
    Step(Level(32, 4.0, 1.0), 2, Level(32, 1.0, 0.6), 0.60),
)
FINE = (
    Step(Level(64, 2.0, 1.0), 1, Level(64, 1.5, 0.6), 0.66),
    Step(Level(64, 3.0), 2, Level(64, 1.5), 0.66),
    Step(Level(SIDE, 4.0), 3),
)
SCALES = (0.5, 2.0)
HOPEFUL = 0.08  # a start is refined if it fits at most so much worse than the best one
LEAST_COVERED = 0.2  # of the first picture
LEAST_OVERLAP = 0.5

Rows = npt.NDArray[np.intp]
Matrices = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Alignment:
    """What came of a pair.

    Attributes:
        transform: takes points of the first thumbnail to the second.
        fit: likeness when the best start was chosen, −1 to 1.
        likeness: measured at 128 pixels under `transform`; None where the pair was given up.
    """

    transform: Transform
    fit: float
    likeness: Likeness | None


def align_pairs(pixels: Stack, pairs: Rows, starts: Sequence[Sequence[Transform]]) -> list[Alignment]:
    """Align pairs [m, 2] of rows, each from the best of its starts; there is one or more for each.

    What comes of a pair is a function of its two thumbnails and its starts.
    """
    if not len(pairs):
        return []
    used, places = np.unique(pairs, return_inverse=True)
    views, ends = Views(pixels[used]), places.reshape(-1, 2)
    transforms, fits, left = _choose_starts(views, ends, starts)
    for step in FINE:
        transforms[left], likeness = _refine(views, ends[left], transforms[left], step)
        left = left[likeness >= step.least]
    measured: list[Likeness | None] = [None] * len(pairs)
    for pair in left:
        first, second = views.pixels[ends[pair]]
        found = compare_aligned(first, second, transforms[pair])
        measured[pair] = found if found is not None and found.overlap >= LEAST_OVERLAP else None
    rows = zip(transforms, np.maximum(fits, -1.0), measured, strict=True)
    return [Alignment(transform, float(fit), likeness) for transform, fit, likeness in rows]


def are_sane(transforms: Matrices) -> Flags:
    """Which of [n, 2, 3] neither shrink below a half nor stretch beyond double, in any direction."""
    stretch = np.linalg.svd(transforms[:, :, :2], compute_uv=False)
    return np.asarray((SCALES[0] <= stretch[:, 1]) & (stretch[:, 0] <= SCALES[1]))


def _choose_starts(
    views: Views, ends: Rows, starts: Sequence[Sequence[Transform]]
) -> tuple[Matrices, Numbers, Rows]:
    """For each pair the start that fits best after the coarse steps, and how well; and the pairs that go on.

    Hopeless starts are not refined. Where none holds, one of them comes back with a fit of −1.
    """
    owners = np.repeat(np.arange(len(starts)), [len(some) for some in starts])
    tried = np.array([start for some in starts for start in some])
    fits = _correlate(views, ends[owners], tried, COARSE[0].level)
    kept = np.flatnonzero(fits >= _find_best(fits, owners, len(ends))[owners] - HOPEFUL)
    fits = np.full(len(tried), -1.0)
    for step in COARSE:
        tried[kept], fits[kept] = _refine(views, ends[owners[kept]], tried[kept], step)
        kept = kept[fits[kept] >= step.least]
    order = np.lexsort((-fits, owners))
    first = order[np.searchsorted(owners, np.arange(len(ends)))]
    left = np.unique(owners[kept])
    return tried[first], fits[first], left


def _find_best(fits: Numbers, owners: Rows, count: int) -> Numbers:
    best = np.full(count, -np.inf)
    np.maximum.at(best, owners, fits)
    return best


def _correlate(views: Views, ends: Rows, transforms: Matrices, level: Level) -> Numbers:
    shown = views.show(level, ends)
    return correlate_batch(shown, ends, to_pixels(transforms, level.side), LEAST_COVERED)


def _refine(views: Views, ends: Rows, transforms: Matrices, step: Step) -> tuple[Matrices, Numbers]:
    """Refined transforms, and how alike they leave the pairs; −2 where one diverges or is not sane."""
    side = step.level.side
    shown = views.show(step.level, ends)
    found = refine_batch(shown, ends, to_pixels(transforms, side), step.iterations)
    refined = to_fractions(found.matrices, side)
    holds = np.flatnonzero((found.likeness > 0) & are_sane(refined))
    likeness = np.full(len(ends), -2.0)
    likeness[holds] = 0.0
    if step.judge is not None:
        likeness[holds] = _correlate(views, ends[holds], refined[holds], step.judge)
    return refined, likeness


def to_pixels(transforms: Matrices, side: int) -> Matrices:
    """Transforms [n, 2, 3] in fractions, between pixel centres of `side` × `side` images."""
    matrices = transforms.copy()
    matrices[:, :, 2] = transforms[:, :, 2] * side + 0.5 * transforms[:, :, :2].sum(axis=-1) - 0.5
    return matrices


def to_fractions(matrices: Matrices, side: int) -> Matrices:
    """The inverse of `to_pixels`."""
    transforms = matrices.copy()
    transforms[:, :, 2] = (matrices[:, :, 2] + 0.5 - 0.5 * matrices[:, :, :2].sum(axis=-1)) / side
    return transforms
