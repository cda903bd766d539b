"""Shortcuts: how well things that are no anatomy predict the class.

A classifier that sees only an image's collection, its size, its border or its JPEG table should know nothing
about tumours. Where it beats chance, a network can beat chance in the same way, and its score says so much
less. Cross-validated over groups (no picture, no patient on both sides), one image for each collection and
picture, so that copies do not weigh; a control with labels shuffled between groups must end at chance.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.audit.counts import ALL
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Shortcut
from pipeline.audit.profile import join_looks
from pipeline.digests import seed_for
from pipeline.labels import LABELS

FEATURES: Mapping[str, Sequence[str]] = {
    "collection": ("collection",),
    "size": ("width", "height"),
    "file size": ("bytes",),
    "JPEG table, format, mode": ("jpeg", "format", "mode"),
    "border": ("border",),
    "background": ("dark",),
    "brightness": ("brightness", "contrast"),
    "colour": ("colour",),
}
TOGETHER = "all of these together"
FOLDS = 5
SHUFFLES = 5
DEPTH = 6  # deep enough for a few sizes and brightness bands, too shallow to learn images by heart
LEAF = 10

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Fold = tuple[Ints, Ints]


@dataclass(frozen=True)
class _Sample:
    """What is predicted from, n images.

    Attributes:
        table: the columns that features are made of, n rows.
        classes: the labels that there are.
        labels, groups: as integers, [n].
        folds: rows trained on and rows predicted, of each fold.
        why_not: why there are no folds.
    """

    table: pd.DataFrame
    classes: Sequence[str]
    labels: Ints
    groups: Ints
    folds: Sequence[Fold]
    why_not: str | None


def measure_shortcuts(evidence: Evidence, features: Mapping[str, Sequence[str]] = FEATURES) -> list[Shortcut]:
    """For each set of features, over all collections and within each: balanced accuracy on unseen groups.

    Deterministic: rows are sorted by image_id, folds and trees have fixed seeds.

    Args:
        evidence: the tables.
        features: name -> columns of `join_looks`; all of them together are measured too. Columns that hold
            the collection say nothing within one and are left out there.
    """
    table = _list_images(evidence)
    asked = []
    for scope in [ALL, *evidence.names]:
        sample = _draw_sample(table if scope == ALL else table[table["collection"] == scope])
        asked += [(scope, name, columns, sample) for name, columns in _feature_sets(scope, features)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # trees grow outside Python's lock
        return list(pool.map(lambda one: _measure(*one), asked))


def _feature_sets(scope: str, features: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    sets = {
        name: columns for name, columns in features.items() if scope == ALL or "collection" not in columns
    }
    yield from sets.items()
    if len(sets) > 1:
        yield TOGETHER, [column for columns in sets.values() for column in columns]


def _list_images(evidence: Evidence) -> pd.DataFrame:
    """One image for each collection and picture, with looks, file columns and group; sorted by image_id."""
    joined = join_looks(evidence).drop(columns="label")
    joined = joined.merge(evidence.usable[["image_id", "label"]], on="image_id")
    joined = joined.merge(evidence.groups[["image_id", "group_id"]], on="image_id")
    joined = joined.merge(evidence.pictures[["image_id", "picture_id"]], on="image_id")
    joined = joined.sort_values(["image_id", "collection"])
    return joined.drop_duplicates(["collection", "picture_id"], ignore_index=True)


def _draw_sample(table: pd.DataFrame) -> _Sample:
    from sklearn.model_selection import StratifiedGroupKFold

    classes = [label for label in LABELS if (table["label"] == label).any()]
    labels = np.array([classes.index(label) for label in table["label"]], np.int64)
    groups = np.unique(table["group_id"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    fewest = min((len(set(groups[labels == k])) for k in range(len(classes))), default=0)
    if len(classes) < 2 or fewest < 2:
        few = "classes" if len(classes) < 2 else "groups of a class"
        return _Sample(table, classes, labels, groups, (), f"fewer than two {few} here")
    folding = StratifiedGroupKFold(min(FOLDS, fewest))
    drawn = folding.split(np.zeros((len(table), 1)), labels, groups)
    folds = [(train, test) for train, test in drawn if len(train) and len(test)]
    return _Sample(table, classes, labels, groups, folds, None)


def _measure(scope: str, name: str, columns: Sequence[str], sample: _Sample) -> Shortcut:
    features = _encode(sample.table, columns)
    same = not sample.why_not and bool((features == features[:1]).all())
    why_not = "the same for every image" if same else sample.why_not
    result = {} if why_not else _cross_validate(sample, features)
    empty = dict.fromkeys(("balanced_accuracy", "low", "high", "permuted", "permuted_high"))
    return Shortcut(
        scope=scope,
        features=name,
        columns=list(columns),
        images=len(sample.table),
        groups=len(set(sample.groups)),
        classes=list(sample.classes),
        chance=round(1 / max(1, len(sample.classes)), 4),
        why_not=why_not,
        **({**empty, "recall": {}} | result),
    )


def _encode(table: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Numbers as they are (−1 for none), each text value as a column of its own: float64 [n, features]."""
    parts: list[Floats] = []
    for column in columns:
        values = table[column]
        if pd.api.types.is_numeric_dtype(values.dtype):
            parts.append(values.fillna(-1).to_numpy(np.float64))
        else:
            texts = values.fillna("").to_numpy(str)
            parts += [(texts == value).astype(np.float64) for value in sorted(set(texts))]
    return np.column_stack(parts)


def _cross_validate(sample: _Sample, features: Floats) -> dict[str, object]:
    folds = sample.folds
    predicted = _predict(features, sample.labels, folds)
    recalls = _recall(sample.labels, predicted, len(sample.classes))
    by_fold = [
        np.nanmean(_recall(sample.labels[test], predicted[test], len(sample.classes))) for _, test in folds
    ]
    shuffled = [_score_shuffled(sample, features, k) for k in range(SHUFFLES)]
    return {
        "balanced_accuracy": round(float(recalls.mean()), 4),
        "low": round(float(min(by_fold)), 4),
        "high": round(float(max(by_fold)), 4),
        "permuted": round(float(np.mean(shuffled)), 4),
        "permuted_high": round(float(max(shuffled)), 4),
        "recall": {name: round(float(value), 4) for name, value in zip(sample.classes, recalls, strict=True)},
    }


def _predict(features: Floats, labels: Ints, folds: Sequence[Fold]) -> Ints:
    """Out-of-fold classes; the trees weigh classes equally, so that a frequent one is no safe guess."""
    from sklearn import config_context
    from sklearn.tree import DecisionTreeClassifier

    predicted = np.full(len(labels), -1, np.int64)
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0)
    single: Singles = features.astype(np.float32)  # as a tree sees them: else each fit makes them anew
    with config_context(assume_finite=True, skip_parameter_validation=True):  # a thousand small fits
        for train, test in folds:
            own = labels[train]
            fitted = tree.fit(single[train], own, sample_weight=_weigh(own))
            predicted[test] = fitted.predict(single[test])
    return predicted


def _weigh(labels: Ints) -> Floats:
    """What `class_weight="balanced"` weighs each image by, in a tenth of its time."""
    sizes = np.bincount(labels)
    weights: Floats = (len(labels) / (np.count_nonzero(sizes) * sizes.astype(np.float64)[labels])).astype(
        np.float64
    )
    return weights


def _score_shuffled(sample: _Sample, features: Floats, shuffle: int) -> float:
    """Balanced accuracy where whole groups have exchanged their labels: what no shortcut can reach by itself.

    A group takes the label of the first image of the group that it drew.
    """
    first = np.unique(sample.groups, return_index=True)[1]
    drawn = np.random.default_rng(seed_for("shortcuts", shuffle)).permutation(sample.labels[first])
    labels = drawn[sample.groups]
    recalls = _recall(labels, _predict(features, labels, sample.folds), len(sample.classes))
    return float(np.nanmean(recalls))


def _recall(labels: Ints, predicted: Ints, classes: int) -> Floats:
    """Recall of each class; NaN where it has no image."""
    of_class = np.bincount(labels, minlength=classes).astype(np.float64)
    right = np.bincount(labels[labels == predicted], minlength=classes)
    recalls: Floats = np.divide(right, of_class, out=np.full(classes, np.nan), where=of_class > 0)
    return recalls
