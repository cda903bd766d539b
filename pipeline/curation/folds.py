"""Five patient-disjoint folds, so that every patient is tested once by a model that has not seen it."""

import pandas as pd

from pipeline.curation.balance import assign_groups
from pipeline.curation.eligibility import list_entries, place_entries
from pipeline.curation.ledger import carry_forward, extend_ledger, recall_folds
from pipeline.errors import GateError
from pipeline.protocols import FOLDS
from pipeline.tables import find_table, list_rows

DRAWN = "one of five equal shares of the groups of its label"


def make_folds(
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    pictures: pd.DataFrame,
    ledger: pd.DataFrame | None = None,
    previous: pd.DataFrame | None = None,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    foreign: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table `folds`: whole groups in five equal shares, balanced in images and groups of each label.

    Folds are frozen as splits are: an image keeps its fold, newcomers join their group's, a newcomer that
    would connect two folds is left out, and where images of two folds turn out to be connected, those of the
    fold with fewer of them are left out (of two alike, the later fold).

    Args:
        images: table `images`.
        patients: table `patients`, same image_ids.
        groups: table `groups`, same image_ids.
        pictures: table `pictures`, same image_ids.
        ledger: table `ledger`: all folds ever given, also of images that are gone.
        previous: an earlier table `folds`, for assignments that the ledger lacks.
        conflicts: table `conflicts`; without it the rules of `list_conflicts` are applied here.
        keep_contradicted: for those rules: use images that the reference contradicts, under its label.
        foreign: table `foreign`: what does not look like a brain MR slice is left out, unless kept.

    Raises:
        GateError: a class has too few groups for every fold to hold it; the ledger contradicts itself, or
            `previous` contradicts it.
        TableError: the tables hold different images.
    """
    entries = list_entries(
        images,
        patients,
        groups,
        pictures,
        conflicts=conflicts,
        keep_contradicted=keep_contradicted,
        foreign=foreign,
    )
    if previous is not None:
        ledger = extend_ledger(ledger, pictures=pictures, patients=patients, folds=previous)
    homes = recall_folds(ledger, DRAWN)
    placed = carry_forward(entries, homes, strength=lambda _, count: count)
    free = [entry for entry in entries if entry.aside is None and entry.image_id not in placed]
    names = [str(number) for number in range(1, FOLDS + 1)]
    kept = {name: [one for one in entries if placed.get(one.image_id, ("",))[0] == name] for name in names}
    given = assign_groups(free, kept, dict.fromkeys(names, 1 / FOLDS), protocol="folds")
    placed |= {entry.image_id: (given[entry.group_id], DRAWN) for entry in free}
    placed |= {entry.image_id: ("left_out", entry.aside) for entry in entries if entry.aside is not None}
    rows = [
        (entry.image_id, *((int(fold), DRAWN) if fold in names else (None, why)))
        for entry in entries
        for fold, why in [placed[entry.image_id]]
    ]
    return pd.DataFrame(rows, columns=find_table("folds").names).astype({"fold": "Int64"})


def split_fold(
    folds: pd.DataFrame,
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    number: int,
    *,
    pictures: pd.DataFrame,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    looks: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Protocol `fold:<number>`: that fold tests, the next one (after 5 comes 1) is val, the rest trains.

    Args:
        folds: table `folds`.
        images, patients, groups, pictures, conflicts, keep_contradicted: what `folds` was made from.
        number: 1 to 5.
        looks: table `looks`, for the choice between the copies of a picture.
        foreign: table `foreign`: what does not look like a brain MR slice is left out, unless kept.

    Raises:
        GateError: there is no such fold, or an image that may be used has no row in `folds`.
        TableError: the tables hold different images.
    """
    if number not in range(1, FOLDS + 1):
        raise GateError(f"there is no fold {number}; folds are numbered 1 to {FOLDS}")
    entries = list_entries(
        images, patients, groups, pictures,
        conflicts=conflicts, keep_contradicted=keep_contradicted, looks=looks, foreign=foreign,
    )  # fmt: skip
    rows = {row["image_id"]: row for row in list_rows(folds)}
    missing = [entry for entry in entries if entry.aside is None and entry.image_id not in rows]
    if missing:
        raise GateError(
            f"{len(missing)} images have no row in `folds`, the first is {missing[0].collection}/"
            f"{missing[0].path}; materialise folds again, in one run with the images"
        )
    parts = {number: "test", number % FOLDS + 1: "val"}
    placed = {}
    for image_id, row in rows.items():
        fold = None if pd.isna(row["fold"]) else int(row["fold"])
        part = ("left_out", row["why"]) if fold is None else (parts.get(fold, "train"), f"fold {fold}")
        placed[image_id] = part
    return place_entries(entries, placed)
