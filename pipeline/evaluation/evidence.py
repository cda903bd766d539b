"""Table `evidence`: what a sceptic asks of a score. Calibration, abstention, conformal sets, subsets.

Whatever has to be fitted (a temperature, a threshold) is fitted on the val part of the same split, and
measured on the test part. Formulas and sources stand in the modules that count, and in docs/evaluation.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.abstention import measure_abstention
from pipeline.evaluation.calibration import calibrate, fit_temperature, measure_calibration
from pipeline.evaluation.conformal import fit_threshold, measure_sets
from pipeline.evaluation.findings import Finding
from pipeline.evaluation.metrics import ALL, DRAWS, protocol_seed
from pipeline.evaluation.predictions import Answers, check_predictions, read_answers, take_variant
from pipeline.evaluation.subsets import measure_subsets
from pipeline.labels import LABELS
from pipeline.schemas import TABLES

VAL = "val"

EVIDENCE = {
    "temperature": "what the logits are divided by; above 1 the model was too sure",
    "conformal_threshold": "labels of at least 1 minus this probability are in the set; null where all are",
    "nll_before": "mean negative log-likelihood of the true class, as the model answers",
    "nll_after": "the same after temperature scaling",
    "nll_change": "after minus before",
    "brier_before": "mean over images of the summed squared errors of the four probabilities, 0 to 2",
    "brier_after": "the same after temperature scaling",
    "brier_change": "after minus before",
    "ece_before": "expected calibration error: mean distance of confidence and accuracy, 15 bins",
    "ece_after": "the same after temperature scaling",
    "ece_change": "after minus before",
    "aurc": "area under risk against coverage: mean error share among the answers that are at least as sure",
    "risk_at_70": "share of wrong answers among the surest 70 %",
    "risk_at_80": "share of wrong answers among the surest 80 %",
    "risk_at_90": "share of wrong answers among the surest 90 %",
    "risk_at_95": "share of wrong answers among the surest 95 %",
    "coverage": "share of images whose conformal set holds the true class; 90 % is promised",
    "set_size": "mean number of labels in a conformal set",
    "single_sets": "share of images whose set is one label",
    "empty_sets": "share of images whose set is empty: nothing fits",
    "group_coverage": "mean over groups of the share of their images that are covered, each group one voice",
    "groups_short": "share of groups that are covered less than 90 %",
    "accuracy": "share of right answers in the subset",
    "balanced_accuracy": "mean of the classes' recalls in the subset",
    "macro_f1": "mean of the classes' F1 in the subset",
    "miss_rate": "of the tumour images in the subset, the share called no_tumor",
    **{f"called_{label}": f"of the images of the class, the share called {label}" for label in LABELS},
}


@dataclass(frozen=True)
class Fitted:
    """What was fitted on the val part of one model."""

    temperature: float
    threshold: float
    """Infinity where val has too few images to exclude a label."""
    n: int
    """Val images."""
    groups: int
    """Val groups."""


def fit_on_val(validations: pd.DataFrame) -> Fitted:
    """Temperature and conformal threshold from one model's rows of table `validations`.

    Raises:
        TableError: as `take_variant`.
    """
    answers = read_answers(take_variant(validations))
    return Fitted(fit_temperature(answers), fit_threshold(answers), answers.size, answers.group_count)


def weigh_evidence(
    predictions: pd.DataFrame, validations: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Table `evidence`: every figure of the clean test images, of one or several models.

    The draws are those of the metrics table, so that figures of both can be compared draw by draw.

    Args:
        predictions: rows of the predictions table; degraded variants are left aside.
        validations: the same models' rows of the val part.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Returns:
        Sorted by its key; NaN where a figure is undefined, or has too few groups for an interval.

    Raises:
        TableError: as `check_predictions`; a model has no val rows; an image is in val and in test.
    """
    tested, fitted = check_predictions(predictions), check_predictions(validations)
    parts = [
        _weigh_model(rows, _take_model(fitted, str(model), rows), draws, seed)
        for model, rows in tested.groupby("model_id", sort=True)
    ]
    return pd.concat(parts, ignore_index=True).sort_values(list(TABLES["evidence"].key), ignore_index=True)


def _take_model(validations: pd.DataFrame, model: str, tested: pd.DataFrame) -> pd.DataFrame:
    rows = validations[validations["model_id"] == model]
    if rows.empty:
        raise TableError(
            f"evidence: model {model} has test rows and no val rows, so nothing can be fitted; materialise "
            "`predictions` and `validations` of this recipe and protocol again"
        )
    shared = set(rows["collection"] + "/" + rows["path"]) & set(tested["collection"] + "/" + tested["path"])
    if shared:
        raise TableError(
            f"evidence: {len(shared)} files are in val and in test, the first is {min(shared)}; what is "
            "fitted on test images says nothing. Materialise `predictions` and `validations` again"
        )
    return rows


def _weigh_model(tested: pd.DataFrame, validations: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    rows = take_variant(tested)
    first, answers, fitted = rows.iloc[0], read_answers(rows), fit_on_val(validations)
    stream = protocol_seed(seed, first["protocol"])
    found = [
        *_describe_fit(fitted),
        *_measure_whole(answers, fitted, draws, stream),
        *measure_subsets(rows, draws=draws, seed=stream),
    ]
    frame = pd.DataFrame([vars(finding) for finding in found]).rename(columns={"label": "class"})
    constant = {name: first[name] for name in ("model_id", "recipe", "protocol", "seed")}
    return frame.assign(**constant)[TABLES["evidence"].names]


def _measure_whole(answers: Answers, fitted: Fitted, draws: int, seed: int) -> Iterator[Finding]:
    calibrated = calibrate(answers, fitted.temperature)
    yield from measure_calibration(answers, fitted.temperature, draws=draws, seed=seed)
    yield from measure_abstention(calibrated, draws=draws, seed=seed)
    yield from measure_sets(answers, fitted.threshold, draws=draws, seed=seed)


def _describe_fit(fitted: Fitted) -> Iterator[Finding]:
    undefined = float("nan")
    threshold = fitted.threshold if fitted.threshold <= 1 else undefined
    for metric, value in (("temperature", fitted.temperature), ("conformal_threshold", threshold)):
        yield Finding(metric, VAL, ALL, value, undefined, undefined, fitted.n, fitted.groups)
