"""Table `robustness`: what is left of a model on poorer images, and which class goes first.

Corruption error after Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions
(ICLR 2019, arXiv 1903.12261): errors summed over the severities of a degradation, divided by those of a
reference model on the same images; the mean over degradations is the mCE. 1 is as good as the reference, less
is better. The paper's reference is AlexNet, here it is `cnn3`, and 1 stands for its 100 %.
Shapes: d draws, g groups, v variants, c = 4 classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import count_confusions, divide
from pipeline.evaluation.calibration import list_gaps, soften
from pipeline.evaluation.findings import Finding, find, resample_sums
from pipeline.evaluation.metrics import ALL, DRAWS, protocol_seed
from pipeline.evaluation.predictions import (
    CLEAN,
    Answers,
    Floats,
    check_predictions,
    read_answers,
)
from pipeline.labels import LABELS
from pipeline.schemas import TABLES

REFERENCE = "cnn3"
KEY = ["collection", "path"]

ROBUSTNESS = {
    "mean_accuracy": "accuracy, mean over the severities; `all`: then over the degradations",
    "worst_accuracy": "accuracy at the severity where it is lowest; `all`: of the worst degradation",
    "recall_drop": "recall on clean images minus mean recall over the severities; the largest breaks first",
    "ece_before": "expected calibration error, mean over the severities, as the model answers",
    "ece_after": "the same under the temperature that was fitted on clean val images",
    "corruption_error": "errors over all severities, divided by those of `cnn3`; `all` is the mean, the mCE",
}


@dataclass(frozen=True)
class Ladder:
    """One model's answers to the clean test images and to all degraded ones."""

    clean: Answers
    degraded: dict[str, list[Answers]]
    """Degradation -> answers, from the mildest severity on; images and groups in the order of `clean`."""


def climb(predictions: pd.DataFrame) -> Ladder:
    """The checked rows of one model, by degradation and severity, of the images that are degraded.

    Those may be fewer than the clean ones (`variants` has a limit); then the others are left out.

    Raises:
        TableError: no clean or no degraded row; two variants cover different images, or ones that the model
            has no clean answer to.
    """
    answers = {str(name): part for name, part in predictions.groupby("variant", sort=True)}
    model = predictions["model_id"].iloc[0]
    if CLEAN not in answers or len(answers) < 2:
        raise TableError(f"robustness: model {model} needs clean and degraded rows, it has {sorted(answers)}")
    first = next(name for name in answers if name != CLEAN)
    images = _list_images(answers[first])
    answers[CLEAN] = _choose(answers[CLEAN], images)
    for name, part in answers.items():
        if _list_images(part) != images:
            raise TableError(
                f"robustness: model {model} answered {len(part)} images of {name} and {len(images)} of "
                f"{first}, not the same; materialise predictions again"
            )
    degraded: dict[str, list[Answers]] = {}
    for name in sorted(set(answers) - {CLEAN}):
        degraded.setdefault(name.split(":")[0], []).append(read_answers(answers[name]))
    return Ladder(read_answers(answers[CLEAN]), degraded)


def measure_robustness(
    predictions: pd.DataFrame,
    temperature: float,
    reference: pd.DataFrame | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows of table `robustness` of one model.

    Args:
        predictions: its rows of the predictions table, clean and degraded.
        temperature: fitted on its clean val images.
        reference: rows of the reference model; without them there is no corruption error, and likewise
            where it answered other images or not all of the degradations.
        draws: bootstrap draws, those of the metrics table.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Raises:
        TableError: as `check_predictions` and `climb`.
    """
    frame = check_predictions(predictions)
    ladder, first = climb(frame), frame.iloc[0]
    stream = protocol_seed(seed, first["protocol"])
    terms = [*_list_sums(ladder, temperature), *_list_reference(frame, ladder, reference)]
    widths = np.cumsum([0, *(term.shape[1] for term in terms)])

    def measure(sums: Floats) -> dict[str, Floats]:
        return _measure(ladder, [sums[:, a:b] for a, b in pairwise(widths)])

    found = resample_sums(np.hstack(terms), measure, draws=draws, seed=stream)
    rows = [vars(_find(name, drawn, ladder.clean)) for name, drawn in found.items()]
    constant = {name: first[name] for name in ("model_id", "recipe", "protocol", "seed")}
    table = pd.DataFrame(rows).rename(columns={"label": "class", "subset": "degradation"}).assign(**constant)
    return table[TABLES["robustness"].names].sort_values(list(TABLES["robustness"].key), ignore_index=True)


def tell_robustness(robustness: pd.DataFrame) -> Iterator[str]:
    """A sentence for each model: mean and worst accuracy, the class that breaks first, the mCE."""
    for _, rows in robustness.groupby(["protocol", "recipe", "seed"], sort=True):
        whole = rows[rows["degradation"] == ALL].set_index(["metric", "class"])["value"]
        drops = whole["recall_drop"].dropna()
        worst = rows[rows["metric"] == "worst_accuracy"].set_index("degradation")["value"].drop(ALL)
        first = rows.iloc[0]
        said = (
            f"`{first['recipe']}`, {first['protocol']}, seed {first['seed']}: accuracy "
            f"{whole['mean_accuracy', ALL]:.3f} on average, {worst.min():.3f} under {worst.idxmin()} at its "
            f"worst; {drops.idxmax()} breaks first, recall down by {drops.max():.3f}"
        )
        error = whole.get(("corruption_error", ALL), float("nan"))
        yield (
            f"{said}; mCE {error:.3f}"
            if not np.isnan(error)
            else f"{said}; no mCE: `{REFERENCE}` has not answered these"
        )


def _choose(rows: pd.DataFrame, images: list[tuple[str, ...]]) -> pd.DataFrame:
    """The rows of some images, as `_list_images` names them."""
    wanted = pd.MultiIndex.from_tuples([image[: len(KEY)] for image in images])
    return rows[pd.MultiIndex.from_frame(rows[KEY]).isin(wanted)]


def _list_images(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return sorted(rows[[*KEY, "label", "group_id"]].itertuples(index=False, name=None))


def _list_sums(ladder: Ladder, temperature: float) -> list[Floats]:
    """Sums by group: clean confusion [g, c²], those of all variants [g, v·c²], gaps before and after."""
    variants = [answers for kind in ladder.degraded.values() for answers in kind]
    softened = [Answers(one.truth, soften(one.scores, temperature), one.groups) for one in variants]
    return [
        _flatten([ladder.clean]),
        _flatten(variants),
        np.hstack([list_gaps(one) for one in variants]),
        np.hstack([list_gaps(one) for one in softened]),
    ]


def _list_reference(frame: pd.DataFrame, ladder: Ladder, reference: pd.DataFrame | None) -> list[Floats]:
    """Confusion of the reference on all variants [g, v·c²]; nothing where it cannot be compared."""
    if reference is None:
        return []
    other = check_predictions(reference)
    other = other[other["variant"].isin(frame["variant"])]
    degraded = [rows.loc[rows["variant"] != CLEAN].drop_duplicates(KEY) for rows in (frame, other)]
    alike = _list_images(degraded[0]) == _list_images(degraded[1])
    if not alike or set(other["variant"]) != set(frame["variant"]):
        return []
    steps = climb(other).degraded
    return [_flatten([one for name in ladder.degraded for one in steps[name]])]


def _flatten(answers: list[Answers]) -> Floats:
    return np.hstack([count_confusions(one).reshape(one.group_count, -1) for one in answers])


def _measure(ladder: Ladder, sums: list[Floats]) -> dict[str, Floats]:
    """Every figure of d draws from their sums, named metric/degradation/class."""
    classes = len(LABELS)
    clean, degraded = (part.reshape(len(part), -1, classes, classes) for part in sums[:2])
    images = clean.sum(axis=(2, 3))
    accuracy = _count_right(degraded) / images
    drop = _recall(clean) - _recall(degraded)
    gaps = [np.abs(part.reshape(len(part), accuracy.shape[1], -1)).sum(axis=2) / images for part in sums[2:4]]
    steps = _slice(ladder)
    found: dict[str, Floats] = {}
    for name, part in steps.items():
        found[f"mean_accuracy/{name}/{ALL}"] = accuracy[:, part].mean(axis=1)
        found[f"worst_accuracy/{name}/{ALL}"] = accuracy[:, part].min(axis=1)
        for state, gap in zip(("before", "after"), gaps, strict=True):
            found[f"ece_{state}/{name}/{ALL}"] = gap[:, part].mean(axis=1)
        for code in np.flatnonzero(ladder.clean.present):
            found[f"recall_drop/{name}/{LABELS[code]}"] = drop[:, part, code].mean(axis=1)
        if len(sums) > 4:
            other = sums[4].reshape(len(clean), -1, classes, classes)[:, part]
            wrong = [
                one.sum(axis=(1, 2, 3)) - _count_right(one).sum(axis=1) for one in (degraded[:, part], other)
            ]
            found[f"corruption_error/{name}/{ALL}"] = divide(wrong[0], wrong[1])
    return found | _average(found, list(steps))


def _average(found: dict[str, Floats], kinds: list[str]) -> dict[str, Floats]:
    """Each figure over all degradations: the mean, and of the worst accuracy the worst."""
    names = {tuple(name.split("/")[::2]) for name in found}
    over = {}
    for metric, label in sorted(names):
        values = np.stack([found[f"{metric}/{kind}/{label}"] for kind in kinds])
        worst = metric == "worst_accuracy"
        over[f"{metric}/{ALL}/{label}"] = values.min(axis=0) if worst else values.mean(axis=0)
    return over


def _slice(ladder: Ladder) -> dict[str, slice]:
    ends = np.cumsum([len(steps) for steps in ladder.degraded.values()]).tolist()
    return {
        name: slice(end - len(ladder.degraded[name]), end)
        for name, end in zip(ladder.degraded, ends, strict=True)
    }


def _count_right(confusion: Floats) -> Floats:
    right: Floats = np.trace(confusion, axis1=2, axis2=3)
    return right


def _recall(confusion: Floats) -> Floats:
    """Recall of each class: [d, v, c, c] -> [d, v, c], NaN where a draw lacks the class."""
    return divide(np.diagonal(confusion, axis1=2, axis2=3), confusion.sum(axis=3))


def _find(name: str, drawn: tuple[float, Floats], answers: Answers) -> Finding:
    metric, degradation, label = name.split("/")
    return find(metric, drawn, answers, subset=degradation, label=label)
