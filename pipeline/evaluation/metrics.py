"""Metrics of a model's answers, each with a 95 % interval from the group bootstrap.

What is undefined, and what then happens:

- A class without an image has no precision, recall, F1, ROC-AUC or miss rate; a class that is never predicted
  has no precision. The value is null, never 0.
- Means over classes (balanced_accuracy, macro_f1, roc_auc of `all`) run over the classes that have an image
  in the test set, as scikit-learn's do with `labels=` those classes.
- A draw in which a metric is undefined is left out of that metric's interval; for a mean over classes that
  is a draw that lacks one of them. Where more than a fifth of the draws are left out, or there is one group
  only, the interval is null.
"""

import numpy as np
import pandas as pd

from pipeline.digests import seed_for
from pipeline.evaluation.bootstrap import (
    Ranks,
    count_confusions,
    divide,
    draw_weights,
    find_interval,
    rank_class,
)
from pipeline.evaluation.predictions import (
    CLEAN,
    Answers,
    Booleans,
    Floats,
    check_predictions,
    read_answers,
)
from pipeline.labels import LABELS, TUMOURS
from pipeline.schemas import TABLES

ALL = "all"
DRAWS = 2000

METRICS = {
    "accuracy": "share of images whose most probable class is the true one",
    "balanced_accuracy": "mean of the classes' recalls",
    "macro_f1": "mean of the classes' F1",
    "precision": "of the images called this class, the share that are",
    "recall": "of the images of this class, the share that are called so",
    "f1": "harmonic mean of precision and recall",
    "roc_auc": "chance that an image of the class outscores one of the rest; `all` is the classes' mean",
    "miss_rate": "of the images of a tumour, the share called no_tumor; `all` is any of the three tumours",
}

# Every degraded variant gets these; the clean one gets all.
VARIANT_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "miss_rate")

Name = tuple[str, str]
"""Metric and class."""


def score_predictions(predictions: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """The metrics table of a predictions table: value and 95 % percentile interval of every metric.

    All variants of a model are resampled by the same draws, and so are all models of one protocol that were
    tested on the same images: differences between them are paired. Draws of two protocols are independent.

    Args:
        predictions: rows of the predictions table, of one or several models, in any order.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Returns:
        Table `metrics`, sorted by its key; NaN where something is undefined (see the module).

    Raises:
        TableError: as `check_predictions`.
    """
    frame = check_predictions(predictions)
    parts = [
        _score_variant(rows, draws, seed) for _, rows in frame.groupby(["model_id", "variant"], sort=True)
    ]
    metrics = pd.concat(parts, ignore_index=True)
    return metrics.sort_values(list(TABLES["metrics"].key), ignore_index=True)


def resample_metrics(
    answers: Answers, *, draws: int, seed: int, ranks: bool = True
) -> dict[Name, tuple[float, Floats]]:
    """Each metric of `answers` with its draws.

    Args:
        answers: of one model and variant.
        draws: bootstrap draws, d.
        seed: of the draws.
        ranks: also roc_auc, which costs a pass over all images per draw.

    Returns:
        (metric, class) -> value, float64 [d]; NaN where undefined.
    """
    confusions = count_confusions(answers)
    plans = [rank_class(answers, label) for label in range(len(LABELS))] if ranks else []
    value = _count_metrics(np.ones((1, answers.group_count)), confusions, plans, answers.present)
    blocks = [
        _count_metrics(weights, confusions, plans, answers.present)
        for weights in draw_weights(answers.group_count, draws, seed)
    ]
    return {
        name: (float(value[name][0]), np.concatenate([block[name] for block in blocks])) for name in value
    }


def measure_confusion(confusion: Floats, present: Booleans) -> dict[Name, Floats]:
    """Every metric that a confusion matrix tells.

    Args:
        confusion: [d, 4, 4] counts, true class × predicted class.
        present: [4], the classes that means over classes run over.

    Returns:
        (metric, class) -> float64 [d]; NaN where undefined (see the module).
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support, called = confusion.sum(axis=2), confusion.sum(axis=1)
    seen = np.where(support > 0, 1.0, np.nan)
    recall = divide(right, support)
    precision = divide(right, called) * seen
    f1 = divide(2 * right, support + called) * seen
    missed = confusion[:, :, LABELS.index("no_tumor")]
    tumours = [LABELS.index(label) for label in TUMOURS]
    found = {
        ("accuracy", ALL): divide(right.sum(axis=1), support.sum(axis=1)),
        ("balanced_accuracy", ALL): recall[:, present].mean(axis=1),
        ("macro_f1", ALL): f1[:, present].mean(axis=1),
        ("miss_rate", ALL): divide(missed[:, tumours].sum(axis=1), support[:, tumours].sum(axis=1)),
    }
    for metric, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        found |= {(metric, label): values[:, index] for index, label in enumerate(LABELS)}
    miss = divide(missed, support)
    return found | {("miss_rate", label): miss[:, LABELS.index(label)] for label in TUMOURS}


def _count_metrics(
    weights: Floats, confusions: Floats, plans: list[Ranks], present: Booleans
) -> dict[Name, Floats]:
    """All metrics under `weights` [d, g]: one matrix product for counts, one pass a class for ranks."""
    counts = weights @ confusions.reshape(len(confusions), -1)
    found = measure_confusion(counts.reshape(-1, len(LABELS), len(LABELS)), present)
    if plans:
        by_group = np.ascontiguousarray(weights.T)
        areas = np.stack([plan.resample(by_group) for plan in plans])
        found |= {("roc_auc", label): areas[index] for index, label in enumerate(LABELS)}
        # With one class only there is no rest to rank against, and the mean is NaN like its one member.
        found["roc_auc", ALL] = areas[present].mean(axis=0)
    return found


def _score_variant(rows: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    first = rows.iloc[0]
    clean = first["variant"] == CLEAN
    answers = read_answers(rows)
    found = resample_metrics(answers, draws=draws, seed=protocol_seed(seed, first["protocol"]), ranks=clean)
    scored = pd.DataFrame(
        [
            (metric, label, value, *find_interval(sampled, answers.group_count))
            for (metric, label), (value, sampled) in found.items()
            if clean or (metric in VARIANT_METRICS and label == ALL)
        ],
        columns=["metric", "class", "value", "low", "high"],
    )
    constant = {name: first[name] for name in ("model_id", "recipe", "protocol", "seed", "variant")}
    counts = {"n": answers.size, "groups": answers.group_count}
    return scored.assign(**constant, **counts)[TABLES["metrics"].names]


def protocol_seed(seed: int, protocol: str) -> int:
    """The seed of a protocol's draws: test sets of two protocols are resampled independently."""
    return seed_for("bootstrap", seed, protocol)
