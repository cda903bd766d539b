"""What challenger and champion score on the exam, and the paired difference, on the same draws of groups.

Group bootstrap as in `pipeline.evaluation.bootstrap`; both models are counted on the same draws, so that what
makes a draw easy for both leaves the difference alone. Shapes: d draws, g groups, n images, c = 4 classes, v
degraded variants.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import divide, find_interval
from pipeline.evaluation.findings import resample_sums
from pipeline.evaluation.metrics import ALL, measure_confusion, protocol_seed
from pipeline.evaluation.predictions import CLEAN, PROBABILITIES, Booleans, Floats, Integers
from pipeline.labels import LABELS
from pipeline.release.exam import NEWCOMER, SETTLED
from pipeline.release.rule import MEASURED

DRAWS = 2000
CELLS = len(LABELS) ** 2
KEY = ["variant", "collection", "path"]


@dataclass(frozen=True)
class Measure:
    """One figure with the 95 % interval of the group bootstrap; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measures:
    """What a challenger scores, how it differs from the champion, and what the exam was made of."""

    own: dict[str, Measure]
    """Clause -> the challenger's figure."""
    gain: dict[str, Measure]
    """Clause -> challenger minus champion; empty without a champion."""
    newcomers: Measure | None
    """The champion's accuracy on the newcomers; None where there are none."""
    groups: int
    """Groups of settled images."""
    new_groups: int
    """Groups of newcomers."""


def measure_challenger(
    challenger: pd.DataFrame, champion: pd.DataFrame | None, *, draws: int = DRAWS, seed: int = 0
) -> Measures:
    """Every measured figure of a challenger, and its difference from the champion.

    Args:
        challenger, champion: rows of table `exams` of one model each, on the same images and variants.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Raises:
        TableError: the two did not answer the same images, or there is no clean row.
    """
    first = _sort(challenger)
    sides = [first] if champion is None else [first, _sort(champion)]
    _check_sides(sides)
    groups = pd.factorize(first["group_id"])[0].astype(np.int64)
    variants = sorted(set(first["variant"]) - {CLEAN})
    present = [_find_present(first, parts) for parts in ((SETTLED,), (SETTLED, NEWCOMER))]
    sums = [_sum_groups(side, groups, variants) for side in sides]
    width = sums[0].shape[1]

    def measure(drawn: Floats) -> dict[str, Floats]:
        scored = [
            _measure_sums(drawn[:, index * width : (index + 1) * width], len(variants), *present)
            for index in range(len(sides))
        ]
        found = {f"own/{name}": values for name, values in scored[0].items()}
        for other in scored[1:]:
            found |= {f"gain/{name}": scored[0][name] - other[name] for name in MEASURED}
        found["champion/accuracy"] = _measure_newcomers(drawn[:, -width:])
        return found

    stream = protocol_seed(seed, "release")
    drawn = resample_sums(np.hstack(sums), measure, draws=draws, seed=stream)
    counted = {part: _count_groups(first, part) for part in (SETTLED, NEWCOMER)}
    judged = {"champion/accuracy": counted[NEWCOMER]}
    judged |= dict.fromkeys(
        ("own/with_newcomers", "gain/with_newcomers"), _count_groups(first, SETTLED, NEWCOMER)
    )
    found = {name: _as_measure(drawn[name], judged.get(name, counted[SETTLED])) for name in drawn}
    return Measures(
        own={name: found[f"own/{name}"] for name in MEASURED},
        gain={name: found[f"gain/{name}"] for name in MEASURED} if champion is not None else {},
        newcomers=found["champion/accuracy"] if champion is not None and counted[NEWCOMER] else None,
        groups=counted[SETTLED],
        new_groups=counted[NEWCOMER],
    )


def _sort(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(KEY, ignore_index=True)


def _check_sides(sides: list[pd.DataFrame]) -> None:
    if not (sides[0]["variant"] == CLEAN).any():
        raise TableError(
            "exams: a model has no clean answer, so nothing can be weighed; materialise release again"
        )
    if len(sides) == 1:
        return
    shared = [*KEY, "image_id", "label", "group_id", "part"]
    if not sides[0][shared].equals(sides[1][shared]):
        names = [str(side["model_id"].iloc[0])[:12] for side in sides]
        raise TableError(
            f"exams: models {names[0]} and {names[1]} did not answer the same images, so their difference "
            "would be that of two exams; materialise release again"
        )


def _find_present(rows: pd.DataFrame, parts: tuple[str, ...]) -> Booleans:
    """[c], whether the class has a clean image in these parts."""
    labels = set(rows.loc[(rows["variant"] == CLEAN) & rows["part"].isin(parts), "label"])
    return np.array([label in labels for label in LABELS])


def _count_groups(rows: pd.DataFrame, *parts: str) -> int:
    """Groups with a clean image in one of these parts."""
    judged = (rows["variant"] == CLEAN) & rows["part"].isin(parts)
    return int(rows.loc[judged, "group_id"].nunique())


def _sum_groups(rows: pd.DataFrame, groups: Integers, variants: list[str]) -> Floats:
    """Sums by group [g, (3 + v)·c² + 2]: settled, all, newcomers, degraded; then Brier score and images."""
    truth = pd.Index(LABELS).get_indexer(pd.Index(rows["label"]))
    scores = rows[PROBABILITIES].to_numpy(np.float64)
    clean = (rows["variant"] == CLEAN).to_numpy()
    settled = (rows["part"] == SETTLED).to_numpy()
    cells = np.eye(CELLS)[truth * len(LABELS) + scores.argmax(axis=1)]
    brier = ((scores - np.eye(len(LABELS))[truth]) ** 2).sum(axis=1)
    counted = [clean & settled, clean, clean & ~settled]
    counted += [(rows["variant"] == variant).to_numpy() & settled for variant in variants]
    terms = np.hstack(
        [
            *(cells * mask[:, None] for mask in counted),
            (brier * counted[0])[:, None],
            counted[0][:, None].astype(np.float64),
        ]
    )
    sums: Floats = np.zeros((groups.max() + 1, terms.shape[1]))
    np.add.at(sums, groups, terms)
    return sums


def _measure_sums(sums: Floats, variants: int, settled: Booleans, every: Booleans) -> dict[str, Floats]:
    """The measured clauses of each draw, [d] each."""
    confusions = _shape(sums, 3 + variants)
    clean = measure_confusion(confusions[:, 0], settled)
    recalls = [clean["recall", label] for label, there in zip(LABELS, settled, strict=True) if there]
    degraded = [
        measure_confusion(confusions[:, 3 + index], settled)["macro_f1", ALL] for index in range(variants)
    ]
    nothing = np.full(len(sums), np.nan)
    return {
        "macro_f1": clean["macro_f1", ALL] if settled.any() else nothing,
        "with_newcomers": measure_confusion(confusions[:, 1], every)["macro_f1", ALL],
        "worst_class_recall": np.min(recalls, axis=0) if recalls else nothing,
        "worst_degradation": np.min(degraded, axis=0) if degraded else nothing,
        "brier": divide(sums[:, -2], sums[:, -1]),
    }


def _measure_newcomers(sums: Floats) -> Floats:
    newcomers = sums[:, 2 * CELLS : 3 * CELLS].reshape(-1, len(LABELS), len(LABELS))
    return divide(np.trace(newcomers, axis1=1, axis2=2), newcomers.sum(axis=(1, 2)))


def _shape(sums: Floats, count: int) -> Floats:
    return sums[:, : count * CELLS].reshape(len(sums), count, len(LABELS), len(LABELS))


def _as_measure(drawn: tuple[float, Floats], groups: int) -> Measure:
    return Measure(drawn[0], *find_interval(drawn[1], groups))
