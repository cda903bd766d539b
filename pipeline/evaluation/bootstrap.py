"""The group bootstrap: whole groups are drawn with replacement, as a patient's images are not independent.

Percentile intervals after Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; groups
as the unit that is drawn after Davison and Hinkley, Bootstrap Methods and their Application (1997),
section 3.8.
No resample is ever copied out: a metric is counted from how often each group was drawn.
Shapes: d draws, g groups, n images, c = 4 classes, p positives, m negatives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from pipeline.evaluation.predictions import Answers, Floats, Integers
from pipeline.labels import LABELS

LEVEL = 0.95

# A metric that more than a fifth of the draws cannot say rests on too few groups for an interval: a class
# with a single group is absent from 37 % of all draws, and what the others say of it has no spread at all.
MIN_DEFINED = 0.8

# Weights of one block: 2 MB, which stays in the cache while the ranks of four classes are walked.
BLOCK_VALUES = 1 << 18


def draw_weights(groups: int, draws: int, seed: int) -> Iterator[Floats]:
    """Blocks of float64 [block, g]: how often each group was drawn; each row sums to g.

    A function of (groups, seed): the first rows are the same whatever the number of draws.

    Raises:
        ValueError: `groups` or `draws` is below 1.
    """
    if groups < 1 or draws < 1:
        raise ValueError(f"a bootstrap needs at least one group and one draw, not {groups} and {draws}")
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_VALUES // groups)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        picks = generator.integers(0, groups, size=(rows, groups))
        picks += np.arange(rows)[:, None] * groups
        counts = np.bincount(picks.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)


def count_confusions(answers: Answers) -> Floats:
    """Confusion counts of each group: float64 [g, c, c], true class × predicted class."""
    classes = len(LABELS)
    cells = (answers.groups * classes + answers.truth) * classes + answers.predicted
    counts = np.bincount(cells, minlength=answers.group_count * classes**2)
    return counts.reshape(-1, classes, classes).astype(np.float64)


@dataclass(frozen=True)
class Ranks:
    """One class against the rest, sorted once; ROC-AUC of any weights is then two sparse products.

    AUC is the chance that a positive outscores a negative, a tie counting half (Hanley and McNeil 1982).
    Positives that outscore the same negatives share a bin of k; negatives that the same bins outscore share
    a segment of s. A good model has few of either.
    """

    positives: scipy.sparse.csr_array
    """[k, g], positives of each group in each bin."""
    negatives: scipy.sparse.csr_array
    """[s, g], negatives of each group in each segment, by rising score."""
    below: Integers
    """[k], last segment of the negatives with a lower score than the bin's positives."""
    through: Integers
    """[k], last segment of the negatives with at most the score of the bin's positives."""

    def resample(self, weights: Floats) -> Floats:
        """ROC-AUC under each draw: [g, d] -> [d], NaN where a draw has no positive or no negative."""
        positives = self.positives @ weights
        cumulated = np.cumsum(self.negatives @ weights, axis=0)
        won = np.einsum("kd,kd->d", positives, cumulated[self.below] + cumulated[self.through]) / 2
        return divide(won, positives.sum(axis=0) * cumulated[-1])


def rank_class(answers: Answers, label: int) -> Ranks:
    """The ranks of one class (index into LABELS) against the rest."""
    positive = answers.truth == label
    scores = answers.scores[:, label]
    order = np.argsort(scores[~positive], kind="stable")
    sides = [np.searchsorted(scores[~positive][order], scores[positive], side) for side in ("left", "right")]
    bounds, bins = np.unique(np.stack(sides, axis=1), axis=0, return_inverse=True)
    cuts = np.unique(bounds)
    segments = np.searchsorted(cuts, np.arange(len(order)), side="right")
    below, through = np.searchsorted(cuts, bounds).T
    return Ranks(
        positives=_count_by_group(bins.ravel(), len(bounds), answers.groups[positive], answers.group_count),
        negatives=_count_by_group(
            segments, len(cuts) + 1, answers.groups[~positive][order], answers.group_count
        ),
        below=below,
        through=through,
    )


def find_interval(draws: Floats, groups: int) -> tuple[float, float]:
    """The 95 % percentile interval of a metric's draws [d]; undefined draws (NaN) are left out.

    Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996, numpy's default).

    Returns:
        (low, high); (NaN, NaN) from a single group, or where under `MIN_DEFINED` of the draws are defined.
    """
    defined = draws[~np.isnan(draws)]
    if groups < 2 or len(defined) == 0 or len(defined) < MIN_DEFINED * len(draws):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def divide(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, NaN where `whole` is 0."""
    quotient = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def _count_by_group(rows: Integers, height: int, groups: Integers, width: int) -> scipy.sparse.csr_array:
    """Images of each group in each row: sparse float64 [height, width]."""
    ones = np.ones(len(rows))
    return scipy.sparse.csr_array((ones, (rows, groups)), shape=(height, width))
