"""The same answers, part by part: each collection by itself, and the three tumours without `no_tumor`.

The plane of a slice would be another such part; no collection at hand states it, so there is no figure by
plane.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.evaluation.bootstrap import count_confusions, divide
from pipeline.evaluation.findings import CODES, Finding, find, resample_sums
from pipeline.evaluation.metrics import ALL, measure_confusion
from pipeline.evaluation.predictions import Answers, Floats, read_answers
from pipeline.labels import LABELS, TUMOURS

THREE_CLASS = "three_class"
COLLECTION = "collection:"
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "miss_rate")

Part = tuple[str, Answers]
"""Name of the subset, and its answers with groups numbered anew."""


@dataclass(frozen=True)
class Confusion:
    """What was called what in one subset."""

    subset: str
    counts: Floats
    """[c, c], true class × called class; under `three_class` the last row and column are empty."""
    groups: int


def split_answers(rows: pd.DataFrame) -> Iterator[Part]:
    """The subsets of one model's checked clean rows: collections by name, then the three tumours, if any.

    The three-class answers are those to images of a tumour, with the probability of `no_tumor` taken out
    and the others scaled to sum to 1: what the model would say where every image shows a tumour, as in the
    reference collection, which has no other class.
    """
    for name, part in rows.groupby("collection", sort=True):
        yield f"{COLLECTION}{name}", read_answers(part)
    tumours = rows[rows["label"].isin(TUMOURS)]
    if len(tumours):
        answers = read_answers(tumours)
        yield THREE_CLASS, replace(answers, scores=drop_no_tumor(answers.scores))


def drop_no_tumor(scores: Floats) -> Floats:
    """Probabilities [n, 4] given that there is a tumour: [n, 4], the last 0; thirds where nothing is left."""
    kept = scores.copy()
    kept[:, LABELS.index("no_tumor")] = 0
    total = kept.sum(axis=1, keepdims=True)
    even = np.array([1 / len(TUMOURS) if label in TUMOURS else 0.0 for label in LABELS])
    return np.where(total > 0, divide(kept, total), even)


def measure_subsets(rows: pd.DataFrame, *, draws: int, seed: int) -> list[Finding]:
    """Scores and confusion shares of every subset, each with the interval of its own groups.

    Args:
        rows: clean rows of one model, checked.
        draws: bootstrap draws.
        seed: of the draws.

    Returns:
        For each subset `SCORES`, and `called_<label>` for each true class that it has: the share of the
        class's images that were called so. `miss_rate` is left out of `three_class`, which offers no
        `no_tumor`.
    """
    return [
        finding
        for subset, answers in split_answers(rows)
        for finding in _measure_part(subset, answers, draws, seed)
    ]


def list_confusions(rows: pd.DataFrame) -> list[Confusion]:
    """The confusion counts of every subset of one model's checked clean rows."""
    return [
        Confusion(subset, count_confusions(answers).sum(axis=0), answers.group_count)
        for subset, answers in split_answers(rows)
    ]


def _measure_part(subset: str, answers: Answers, draws: int, seed: int) -> Iterator[Finding]:
    sums = count_confusions(answers).reshape(answers.group_count, -1)
    found = resample_sums(sums, lambda counts: _measure_counts(counts, answers), draws=draws, seed=seed)
    for name, drawn in found.items():
        metric, _, label = name.partition("/")
        offered = subset != THREE_CLASS or metric not in ("miss_rate", "called_no_tumor")
        if offered and (label == ALL or answers.present[CODES[label]]):
            yield find(metric, drawn, answers, subset=subset, label=label)


def _measure_counts(counts: Floats, answers: Answers) -> dict[str, Floats]:
    confusion = counts.reshape(-1, len(LABELS), len(LABELS))
    scores = measure_confusion(confusion, answers.present)
    found = {f"{metric}/{ALL}": scores[metric, ALL] for metric in SCORES}
    shares = divide(confusion, confusion.sum(axis=2, keepdims=True))
    for truth, called in np.ndindex(shares.shape[1:]):
        found[f"called_{LABELS[called]}/{LABELS[truth]}"] = shares[:, truth, called]
    return found
