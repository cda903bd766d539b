"""The predictions table, checked, and as the arrays that metrics are counted from."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import TableError
from pipeline.labels import LABELS
from pipeline.schemas import TABLES

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

CLEAN = "clean"
KEY = ["model_id", "variant", "collection", "path"]
PROBABILITIES = [f"p_{label}" for label in LABELS]

# A float32 softmax sums to 1 within 1e-6, a bfloat16 one within 1e-2: the latter is a defect to hear of.
SUM_TOLERANCE = 1e-4

_VARIANT = re.compile(r"clean|[a-z][a-z0-9_]*:[1-5]")


@dataclass(frozen=True)
class Answers:
    """What one model said of one variant of its test images; n images in g groups, c = 4 classes.

    Groups are numbered by their first image in the order of (collection, path), so that what is drawn
    depends neither on the order of the rows nor on how the groups are called.
    """

    truth: Integers
    """[n], index into LABELS."""
    scores: Floats
    """[n, c], probabilities in the order of LABELS."""
    groups: Integers
    """[n], 0 to g - 1."""

    @property
    def predicted(self) -> Integers:
        """[n], index into LABELS: the most probable class, the first of LABELS in a tie."""
        chosen: Integers = np.argmax(self.scores, axis=1)
        return chosen

    @property
    def size(self) -> int:
        """Images."""
        return len(self.truth)

    @property
    def group_count(self) -> int:
        """Groups."""
        return int(self.groups.max()) + 1

    @property
    def present(self) -> Booleans:
        """[c], whether the class has an image."""
        return np.bincount(self.truth, minlength=len(LABELS)) > 0


def check_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of the predictions table, sorted by (model_id, variant, collection, path), after every check.

    Raises:
        TableError: no rows; a column is missing or holds nulls; a label or variant is unknown; a probability
            is NaN, outside 0 to 1, or a row's do not sum to 1 within `SUM_TOLERANCE`; a key is repeated;
            a model has two recipes, protocols or seeds; an image lies in two groups.
    """
    missing = [name for name in TABLES["predictions"].names if name not in predictions.columns]
    if missing:
        raise TableError(f"predictions: missing columns {missing}; declared in pipeline/schemas")
    if predictions.empty:
        raise TableError(
            "predictions: the table has no rows, so there is nothing to score; materialise predictions again"
        )
    frame = predictions[TABLES["predictions"].names].sort_values(KEY, ignore_index=True)
    _check_cells(frame)
    _check_probabilities(frame)
    _check_identity(frame)
    return frame


def read_answers(rows: pd.DataFrame) -> Answers:
    """Checked rows of one model and one variant, as arrays."""
    rows = rows.sort_values(["collection", "path"], ignore_index=True)
    return Answers(
        truth=pd.Index(LABELS).get_indexer(pd.Index(rows["label"])).astype(np.int64),
        scores=rows[PROBABILITIES].to_numpy(dtype=np.float64),
        groups=pd.factorize(rows["group_id"])[0].astype(np.int64),
    )


def take_variant(predictions: pd.DataFrame, variant: str = CLEAN) -> pd.DataFrame:
    """The checked rows of one variant of the one model in `predictions`.

    Raises:
        TableError: as `check_predictions`; or there are several models, or no row of the variant.
    """
    frame = check_predictions(predictions)
    models = frame["model_id"].unique().tolist()
    if len(models) > 1:
        raise TableError(f"predictions: {len(models)} models, {models[:3]} …; give the rows of one")
    rows = frame[frame["variant"] == variant]
    if rows.empty:
        known = ", ".join(frame["variant"].unique())
        raise TableError(f"predictions: model {models[0]} has no rows of variant {variant!r}; it has {known}")
    return rows.reset_index(drop=True)


def _check_cells(frame: pd.DataFrame) -> None:
    names = [name for name in frame.columns if name not in PROBABILITIES]
    nulls = {name: int(count) for name, count in frame[names].isna().sum().items() if count}
    if nulls:
        raise TableError(f"predictions: nulls where none may stand, column: rows = {nulls}")
    _refuse(frame, ~frame["label"].isin(LABELS), "label", f"labels are {', '.join(LABELS)}")
    good = {name: bool(_VARIANT.fullmatch(str(name))) for name in frame["variant"].unique()}
    _refuse(
        frame,
        ~frame["variant"].map(good).to_numpy(dtype=bool),
        "variant",
        "a variant is clean or <degradation>:<1 to 5>",
    )


def _check_probabilities(frame: pd.DataFrame) -> None:
    try:
        scores = frame[PROBABILITIES].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"predictions: {', '.join(PROBABILITIES)} must be numbers: {error}") from error
    finite = np.isfinite(scores).all(axis=1)
    _refuse(frame, ~finite, PROBABILITIES, "a probability is a number; the model diverged or a row is broken")
    inside = ((scores >= 0) & (scores <= 1)).all(axis=1)
    _refuse(frame, ~inside, PROBABILITIES, "a probability lies between 0 and 1; logits need a softmax first")
    whole = np.abs(scores.sum(axis=1) - 1) <= SUM_TOLERANCE
    _refuse(frame, ~whole, PROBABILITIES, f"a row's probabilities sum to 1 within {SUM_TOLERANCE}")


def _check_identity(frame: pd.DataFrame) -> None:
    repeated = frame.duplicated(KEY)
    _refuse(frame, repeated, "variant", "a model answers once for each collection, path and variant")
    models = frame[["model_id", "recipe", "protocol", "seed"]].drop_duplicates()
    twice = models.loc[models["model_id"].duplicated(), "model_id"]
    if len(twice):
        raise TableError(
            f"predictions: model {twice.iloc[0]} stands under two recipes, protocols or seeds; "
            "a model_id is the digest of these, so two tables were mixed"
        )
    homes = frame[["model_id", "image_id", "group_id"]].drop_duplicates()
    split = homes.loc[homes.duplicated(["model_id", "image_id"]), "image_id"]
    if len(split):
        raise TableError(
            f"predictions: image {split.iloc[0]} lies in two groups; a group is never split, "
            "so predictions and groups are of different runs: materialise predictions again"
        )


def _refuse(frame: pd.DataFrame, bad: npt.ArrayLike, shown: str | list[str], rule: str) -> None:
    """Raise with the number of bad rows and the first of them, named."""
    mask = np.asarray(bad, dtype=bool)
    if not mask.any():
        return
    first = frame[mask].iloc[0]
    found = first[shown].tolist() if isinstance(shown, list) else repr(first[shown])
    raise TableError(
        f"predictions: {int(mask.sum())} of {len(frame)} rows are wrong: {rule}. First: model "
        f"{first['model_id']}, {first['collection']}/{first['path']}, variant {first['variant']}: {found}"
    )
