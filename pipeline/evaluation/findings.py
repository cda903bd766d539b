"""A finding: one figure with its interval, counted from sums over groups.

Whatever is a function of sums over images (calibration errors, coverage, set sizes) is resampled without
copying an image: sums are taken once for each group, and a draw of groups is a row of one matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bootstrap import draw_weights, find_interval
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.predictions import Answers, Floats
from pipeline.labels import LABELS

CODES: dict[str, int] = {label: code for code, label in enumerate(LABELS)}

Measure = Callable[[Floats], dict[str, Floats]]
"""Sums [d, k] of d draws -> name -> one value a draw [d], NaN where undefined."""


@dataclass(frozen=True)
class Finding:
    """One figure: what was measured, on which images, and how sure it is."""

    metric: str
    subset: str
    """`all`, `three_class`, `val` or `collection:<name>`."""
    label: str
    """True class of the images that are counted; `all` for all of them."""
    value: float
    """NaN where undefined."""
    low: float
    """2.5th percentile of the group bootstrap; NaN where there are too few groups."""
    high: float
    """97.5th percentile."""
    n: int
    """Images counted."""
    groups: int
    """Groups that these images lie in."""


def sum_by_group(values: npt.NDArray[np.generic], answers: Answers) -> Floats:
    """Sums of each group: [n, k] -> float64 [g, k]."""
    sums: Floats = np.zeros((answers.group_count, values.shape[1]))
    np.add.at(sums, answers.groups, np.asarray(values, dtype=np.float64))
    return sums


def resample_sums(
    sums: Floats, measure: Measure, *, draws: int, seed: int
) -> dict[str, tuple[float, Floats]]:
    """What `measure` says of the sums [g, k] of all groups, and of the sums of each draw of groups.

    Returns:
        name -> value, float64 [d].
    """
    value = measure(sums.sum(axis=0, keepdims=True))
    blocks = [measure(weights @ sums) for weights in draw_weights(len(sums), draws, seed)]
    return {
        name: (float(value[name][0]), np.concatenate([block[name] for block in blocks])) for name in value
    }


def find(
    metric: str, drawn: tuple[float, Floats], answers: Answers, *, subset: str = ALL, label: str = ALL
) -> Finding:
    """A value and its draws as a finding; `label` says which images of `answers` it was counted over."""
    counted = answers.groups if label == ALL else answers.groups[answers.truth == CODES[label]]
    groups = len(np.unique(counted))
    low, high = find_interval(drawn[1], groups)
    return Finding(metric, subset, label, drawn[0], low, high, len(counted), groups)


def pick(findings: Sequence[Finding], metric: str, *, subset: str = ALL, label: str = ALL) -> Finding:
    """The finding of this name.

    Raises:
        KeyError: there is none.
    """
    for finding in findings:
        if (finding.metric, finding.subset, finding.label) == (metric, subset, label):
            return finding
    raise KeyError(f"no finding {metric!r} for subset {subset!r} and class {label!r}")
