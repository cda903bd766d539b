"""A standing: one recipe under one protocol, averaged over the seeds of its trainings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.metrics import ALL, protocol_seed, resample_metrics
from pipeline.evaluation.predictions import CLEAN, Floats, check_predictions, read_answers


@dataclass(frozen=True)
class Standing:
    """One recipe under one protocol; each score is the mean over the seeds."""

    recipe: str
    protocol: str
    seeds: int
    accuracy: float
    macro_f1: float
    macro_f1_spread: float
    """Standard deviation over the seeds (n - 1 below the line); NaN with one."""
    miss_rate: float
    """NaN where the test set has no tumour."""
    draws: Floats
    """Macro-F1 under each draw of the test groups: [d], NaN where a draw lacks a class."""
    n: int
    """Test images."""
    groups: int
    """Test groups."""


def measure_standings(predictions: pd.DataFrame, *, draws: int, seed: int) -> list[Standing]:
    """The standings of all recipes and protocols, from the clean rows; sorted by recipe and protocol.

    The seeds of a recipe share the draws, so that the draws of their mean are those of one test set.

    Raises:
        TableError: as `check_predictions`; no clean row; two models of one recipe, protocol and seed; seeds
            of a recipe that were tested on different images.
    """
    frame = check_predictions(predictions)
    frame = frame[frame["variant"] == CLEAN]
    if frame.empty:
        raise TableError("leaderboard: the predictions hold degraded variants only; clean rows are ranked")
    _check_models(frame)
    return [_measure(rows, draws, seed) for _, rows in frame.groupby(["recipe", "protocol"])]


def _measure(rows: pd.DataFrame, draws: int, seed: int) -> Standing:
    _check_same_images(rows)
    recipe, protocol = str(rows["recipe"].iloc[0]), str(rows["protocol"].iloc[0])
    answers = [read_answers(part) for _, part in rows.groupby("seed")]
    stream = protocol_seed(seed, protocol)
    found = [resample_metrics(one, draws=draws, seed=stream, ranks=False) for one in answers]
    figures = {
        metric: [one[metric, ALL][0] for one in found] for metric in ("accuracy", "macro_f1", "miss_rate")
    }
    means = {metric: float(np.mean(values)) for metric, values in figures.items()}
    return Standing(
        recipe=recipe,
        protocol=protocol,
        seeds=len(answers),
        **means,
        macro_f1_spread=float(np.std(figures["macro_f1"], ddof=1)) if len(found) > 1 else float("nan"),
        draws=np.mean([one["macro_f1", ALL][1] for one in found], axis=0),
        n=answers[0].size,
        groups=answers[0].group_count,
    )


def _check_models(frame: pd.DataFrame) -> None:
    models = frame[["recipe", "protocol", "seed", "model_id"]].drop_duplicates()
    twice = models[models.duplicated(["recipe", "protocol", "seed"])]
    if len(twice):
        recipe, protocol, seed, _ = twice.iloc[0]
        raise TableError(
            f"leaderboard: two models of recipe {recipe}, protocol {protocol}, seed {seed}; "
            "give the predictions of the current one only"
        )


def _check_same_images(rows: pd.DataFrame) -> None:
    columns = ["collection", "path", "image_id", "label", "group_id"]
    sets: Mapping[str, frozenset[object]] = {
        str(seed): frozenset(part[columns].itertuples(index=False, name=None))
        for seed, part in rows.groupby("seed")
    }
    (first, images), *others = sets.items()
    for seed, found in others:
        if found != images:
            raise TableError(
                f"leaderboard: recipe {rows['recipe'].iloc[0]}, protocol {rows['protocol'].iloc[0]}: seeds "
                f"{first} and {seed} were tested on different images, labels or groups "
                f"({len(found ^ images)} rows differ), so their mean says nothing; "
                "materialise the predictions of the stale one again"
            )
