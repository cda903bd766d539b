"""Two models on the same test groups: the difference of their macro-F1, draw by draw.

A paired bootstrap (Efron and Tibshirani 1993, chapter 16; for whole groups as in bootstrap.py): both models
are scored on the same draws, so that what makes a draw of patients easy for both leaves the difference alone.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import count_confusions, draw_weights, find_interval
from pipeline.evaluation.metrics import ALL, measure_confusion, protocol_seed
from pipeline.evaluation.predictions import CLEAN, Answers, Floats, read_answers, take_variant
from pipeline.labels import LABELS

DRAWS = 10_000

_SAME = ["collection", "path", "image_id", "label", "group_id"]


@dataclass(frozen=True)
class Comparison:
    """The first model against the second, on the same images."""

    metric: str
    first: float
    second: float
    difference: float
    """First minus second."""
    low: float
    """2.5th percentile of the draws' differences; NaN where there are too few groups."""
    high: float
    """97.5th percentile."""
    above: float
    """Share of the draws in which the first is better, a tie counting half; NaN as the interval."""
    n: int
    groups: int


def compare_models(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    metric: str = "macro_f1",
    variant: str = CLEAN,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """The paired difference of two models in one metric.

    Args:
        first, second: rows of the predictions (or validations) table, of one model each.
        metric: accuracy, balanced_accuracy, macro_f1 or miss_rate.
        variant: clean, or degradation:severity.
        draws: bootstrap draws; 10,000 take a fraction of a second.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Raises:
        TableError: as `take_variant`; an unknown metric; the models answered different images, or images
            with other labels or groups, or under different protocols.
    """
    rows = [take_variant(frame, variant) for frame in (first, second)]
    _check_pair(*rows)
    answers = [read_answers(frame) for frame in rows]
    stream = protocol_seed(seed, rows[0]["protocol"].iloc[0])
    values, sampled = _measure_pair(answers, metric, draws, stream)
    difference = sampled[0] - sampled[1]
    low, high = find_interval(difference, answers[0].group_count)
    return Comparison(
        metric=metric,
        first=values[0],
        second=values[1],
        difference=values[0] - values[1],
        low=low,
        high=high,
        above=share_above(difference, low),
        n=answers[0].size,
        groups=answers[0].group_count,
    )


def share_above(difference: Floats, low: float) -> float:
    """Share of the draws [d] above 0, a tie counting half, undefined ones left out; NaN where `low` is."""
    if np.isnan(low):
        return float("nan")
    return float(((np.sign(difference[~np.isnan(difference)]) + 1) / 2).mean())


def _measure_pair(
    answers: list[Answers], metric: str, draws: int, seed: int
) -> tuple[list[float], list[Floats]]:
    """The metric of both models on all groups, and on each draw [d]: the same draws for both."""
    counts = [count_confusions(one) for one in answers]
    present = answers[0].present

    def measure(confusion: Floats) -> Floats:
        shaped = confusion.reshape(-1, len(LABELS), len(LABELS))
        return _choose(measure_confusion(shaped, present), metric)

    values = [float(measure(one.sum(axis=0))[0]) for one in counts]
    blocks = [
        [measure(weights @ one.reshape(len(one), -1)) for one in counts]
        for weights in draw_weights(answers[0].group_count, draws, seed)
    ]
    return values, [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _choose(found: dict[tuple[str, str], Floats], metric: str) -> Floats:
    if (metric, ALL) not in found:
        known = ", ".join(name for name, label in found if label == ALL)
        raise TableError(f"comparison: there is no metric {metric!r} to compare; there are {known}")
    return found[metric, ALL]


def _check_pair(first: pd.DataFrame, second: pd.DataFrame) -> None:
    protocols = [str(frame["protocol"].iloc[0]) for frame in (first, second)]
    sides = [set(frame[_SAME].itertuples(index=False, name=None)) for frame in (first, second)]
    differ = len(sides[0] ^ sides[1])
    if protocols[0] != protocols[1] or differ:
        names = [frame["recipe"].iloc[0] for frame in (first, second)]
        raise TableError(
            f"comparison: {names[0]} under {protocols[0]} and {names[1]} under {protocols[1]} did not answer "
            f"the same images, labels and groups ({differ} rows differ), so their difference is that of "
            "two test sets; predict both under one protocol and from the same collections"
        )
