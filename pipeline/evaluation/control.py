"""Whether a control, trained on shuffled labels, scores chance; if not, something tells it the answers.

One seed proves little: shuffled labels still give whole kinds of images a label each, by luck the right one.
Over seeds luck averages out; the spread between seeds is then the yardstick, not the test images.
"""

import math

import pandas as pd
from scipy import stats

from pipeline.errors import TableError
from pipeline.labels import LABELS

CHANCE = 1 / len(LABELS)
"""Balanced accuracy of answers that know nothing of the image, whatever the shares of the classes."""
COVERAGE = 0.95


def scores_chance(metrics: pd.DataFrame) -> bool:
    """Whether the balanced accuracy on clean test images is not above chance.

    Of one seed: its interval's lower end. Of several: that of Student's interval for their mean.

    Args:
        metrics: table `metrics` of one recipe under one protocol.

    Raises:
        TableError: the table has no such row.
    """
    return measure_control(metrics)[1] <= CHANCE


def measure_control(metrics: pd.DataFrame) -> tuple[float, float, float]:
    """Mean balanced accuracy over seeds, and its 95 % interval: of one seed the group bootstrap's."""
    rows = _select(metrics)
    if len(rows) == 1:
        value, low, high = (float(rows.iloc[0][name]) for name in ("value", "low", "high"))
        return value, low, high
    mean, count = float(rows["value"].mean()), len(rows)
    reach = float(stats.t.ppf((1 + COVERAGE) / 2, count - 1) * rows["value"].std(ddof=1) / math.sqrt(count))
    return mean, mean - reach, mean + reach


def describe_control(metrics: pd.DataFrame, recipe: str, protocol: str) -> str:
    """A line a seed, and what follows, for a person."""
    rows = _select(metrics)
    lines = [f"control {recipe} under {protocol}, balanced accuracy (chance {CHANCE:.2f}):"]
    lines += [
        f"  seed {row['seed']}: {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] on {row['n']:,} "
        f"test images in {row['groups']:,} groups"
        for row in rows.to_dict("records")
    ]
    mean, low, high = measure_control(metrics)
    if len(rows) > 1:
        lines.append(f"  mean of {len(rows)} seeds: {mean:.3f} [{low:.3f}, {high:.3f}]")
    verdict = (
        "It scores no more than chance, as it must: without true labels there is nothing to be known."
        if scores_chance(metrics)
        else "It scores MORE than chance. "
        + ("One seed can do so by luck: set FALX_SEEDS=5. " if len(rows) == 1 else "")
        + "If it stays, test labels reach training: look at the gate and at who made the split."
    )
    return "\n".join([*lines, verdict])


def _select(metrics: pd.DataFrame) -> pd.DataFrame:
    clean = (metrics["variant"] == "clean") & (metrics["class"] == "all")
    rows = metrics[clean & (metrics["metric"] == "balanced_accuracy")].sort_values("seed")
    if rows.empty:
        raise TableError("the metrics hold no balanced accuracy of clean test images; materialise `metrics`")
    return rows
