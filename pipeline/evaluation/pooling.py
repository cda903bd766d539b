"""Five folds as one test set: every image answered once, by the model that had not seen its patient.

The pooled figures are counted over all images at once, not averaged over folds, and the bootstrap draws from
all groups. ROC-AUC ranks the scores of five models among one another; scales that differ cost it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from pipeline.digests import digest_json
from pipeline.errors import TableError
from pipeline.evaluation.metrics import ALL, DRAWS, protocol_seed, score_predictions
from pipeline.evaluation.predictions import CLEAN, check_predictions
from pipeline.evaluation.subsets import THREE_CLASS, measure_subsets
from pipeline.protocols import FOLD, FOLDS
from pipeline.schemas import TABLES

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


def score_pooled(pooled: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Table `pooled`: every metric over all images, and the scores of the three tumours by themselves.

    The three-class figures (`pipeline.evaluation.subsets.split_answers`) stand beside those published on the
    reference collection, which has no other class; no_tumor images have no part in them.

    Args:
        pooled: as `pool_folds` returns them; one or more seeds.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.
    """
    parts = []
    for _, rows in pooled.groupby("model_id", sort=True):
        scored = score_predictions(rows, draws=draws, seed=seed)
        model = scored.loc[[0], ["model_id", "recipe", "protocol", "seed", "variant"]]
        found = pd.DataFrame(
            [
                (one.subset, one.metric, one.label, one.value, one.low, one.high, one.n, one.groups)
                for one in measure_subsets(rows, draws=draws, seed=protocol_seed(seed, POOLED))
                if one.subset == THREE_CLASS
            ],
            columns=["subset", "metric", "class", "value", "low", "high", "n", "groups"],
        )
        parts += [scored.assign(subset=ALL), model.merge(found, how="cross")]
    table = pd.concat(parts, ignore_index=True)
    return table[TABLES["pooled"].names].sort_values(list(TABLES["pooled"].key), ignore_index=True)


def tabulate_pooled(metrics: pd.DataFrame) -> list[str]:
    """A line for each headline figure of one recipe: mean over seeds, spread, the first seed's interval."""
    lines = []
    for subset, rows in metrics.groupby("subset", sort=True):
        if subset == THREE_CLASS:
            lines.append("the three tumours alone, no_tumor taken out of the answers:")
        counts: Mapping[str, int] = {name: int(rows[name].max()) for name in ("n", "groups")}
        lines += _tabulate_subset(rows)
        lines.append(f"{counts['n']:,} images in {counts['groups']:,} groups, each tested once")
    return lines


def _tabulate_subset(metrics: pd.DataFrame) -> list[str]:
    first = metrics["seed"].min()
    lines = []
    for name in SHOWN:
        rows = metrics[(metrics["metric"] == name) & (metrics["class"] == ALL)]
        if rows.empty:
            continue
        value, spread = rows["value"].mean(), rows["value"].std(ddof=1)
        one = rows[rows["seed"] == first].iloc[0]
        seeds = (
            ""
            if np.isnan(spread)
            else f" ± {spread:.3f} over {len(rows)} seeds; seed {first}: {one['value']:.3f}"
        )
        interval = "" if pd.isna(one["low"]) else f" [{one['low']:.3f}, {one['high']:.3f}]"
        lines.append(f"{name.replace('_', ' '):<18} {value:.3f}{seeds}{interval}")
    return lines


def _check_apart(frame: pd.DataFrame) -> None:
    for column, what in (("image_id", "image"), ("group_id", "group")):
        folds = frame.groupby(["seed", column])["protocol"].nunique()
        twice = folds[folds > 1]
        if len(twice):
            raise TableError(
                f"folds: {what} {twice.index[0][1]} is tested under {int(twice.iloc[0])} folds, and "
                f"{len(twice) - 1} more are; the folds are not those of one run: curate and train them again"
            )
