"""Five folds as one test set: every image answered once, by the model that had not seen its patient.

The pooled figures are counted over all images at once, not averaged over folds, and the bootstrap draws from
all groups. ROC-AUC ranks the scores of five models among one another; scales that differ cost it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from pipeline.digests import digest_json
from pipeline.errors import TableError
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.predictions import CLEAN, check_predictions
from pipeline.protocols import FOLD, FOLDS

POOLED = "folds"
SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "miss_rate", "roc_auc")


def find_missing(protocols: Iterable[str]) -> list[str]:
    """The folds that are not among some protocols: fold:1 to fold:5, in their order."""
    present = set(protocols)
    return [f"{FOLD}{number}" for number in range(1, FOLDS + 1) if f"{FOLD}{number}" not in present]


def pool_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """One recipe's clean answers under the five folds, as predictions of one model a seed.

    Args:
        predictions: rows of the predictions table: one recipe, protocols fold:1 to fold:5, one or more seeds.

    Returns:
        Table `predictions` under the protocol `folds`; a model id is the digest of its five models' ids.

    Raises:
        TableError: as `check_predictions`; there are several recipes or other protocols; a fold, or a seed
            under a fold, is missing; an image is tested, or a group lies, in two folds.
    """
    frame = check_predictions(predictions)
    frame = frame[frame["variant"] == CLEAN]
    recipes = sorted(frame["recipe"].unique())
    if len(recipes) != 1:
        raise TableError(
            f"folds: one recipe is pooled at a time, found {', '.join(recipes) or 'no clean row'}"
        )
    for seed, rows in frame.groupby("seed"):
        missing = find_missing(rows["protocol"])
        if missing:
            raise TableError(
                f"folds: {recipes[0]}, seed {seed}, has no predictions under {', '.join(missing)}; figures "
                f"over all patients need all five: make folds RECIPE={recipes[0]}"
            )
    _check_apart(frame)
    names = {
        seed: digest_json(sorted(rows["model_id"].unique()))[:24] for seed, rows in frame.groupby("seed")
    }
    pooled = frame.assign(protocol=POOLED, model_id=frame["seed"].map(names))
    return check_predictions(pooled)


def tabulate_pooled(metrics: pd.DataFrame) -> list[str]:
    """A line for each headline figure of one recipe: mean over seeds, spread, the first seed's interval."""
    first = metrics["seed"].min()
    lines = []
    for name in SHOWN:
        rows = metrics[(metrics["metric"] == name) & (metrics["class"] == ALL)]
        value, spread = rows["value"].mean(), rows["value"].std(ddof=1)
        one = rows[rows["seed"] == first].iloc[0]
        seeds = (
            ""
            if np.isnan(spread)
            else f" ± {spread:.3f} over {len(rows)} seeds; seed {first}: {one['value']:.3f}"
        )
        interval = "" if pd.isna(one["low"]) else f" [{one['low']:.3f}, {one['high']:.3f}]"
        lines.append(f"{name.replace('_', ' '):<18} {value:.3f}{seeds}{interval}")
    counts: Mapping[str, int] = {name: int(metrics[name].max()) for name in ("n", "groups")}
    return [*lines, f"{counts['n']:,} images in {counts['groups']:,} groups, each tested once"]


def _check_apart(frame: pd.DataFrame) -> None:
    for column, what in (("image_id", "image"), ("group_id", "group")):
        folds = frame.groupby(["seed", column])["protocol"].nunique()
        twice = folds[folds > 1]
        if len(twice):
            raise TableError(
                f"folds: {what} {twice.index[0][1]} is tested under {int(twice.iloc[0])} folds, and "
                f"{len(twice) - 1} more are; the folds are not those of one run: curate and train them again"
            )
