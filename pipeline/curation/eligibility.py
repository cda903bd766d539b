"""What a split is made of: each image with label, picture, patient and group, and why it may not be used."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.curation.conflicts import list_conflicts
from pipeline.curation.copies import join_rows, rank_rows
from pipeline.tables import find_table, list_rows

NO_LABEL = "its files carry different labels and no reference decides"

Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Entry:
    """One image that a split may use, or may not.

    Attributes:
        collection, path: its canonical file.
        collections: all collections that hold a file with its bytes.
        label: what it is trained on and scored against; None only where it is set aside.
        aside: why it is set aside; None where it may be used.
        copy_rank: its place among the copies of its picture; 0 stands for it.
    """

    image_id: str
    collection: str
    path: str
    collections: frozenset[str]
    label: str | None
    aside: str | None
    picture_id: str
    patient_id: str | None
    group_id: str
    copy_rank: int


def list_entries(
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    pictures: pd.DataFrame,
    *,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    looks: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> list[Entry]:
    """Every image, sorted by image_id.

    Args:
        conflicts: table `conflicts`, which says what is set aside and which label a rule decides on; without
            it the rules of `list_conflicts` are applied here.
        keep_contradicted: for those rules: images that the reference contradicts are used, under the label
            that the reference gives them, since the reference decides.
        looks: table `looks`, for the choice between copies.
        foreign: table `foreign`: what does not look like a brain MR slice is set aside, unless kept.

    Raises:
        TableError: the tables hold different images.
    """
    joined = join_rows(images, pictures=pictures, patients=patients, groups=groups)
    if conflicts is None:
        conflicts = list_conflicts(images, pictures, patients, keep_contradicted=keep_contradicted)
    judged = {row["image_id"]: row for row in list_rows(conflicts)}
    strange = _list_foreign(foreign)
    ranks = rank_rows(joined, looks)
    return [
        Entry(
            image_id=row["image_id"],
            collection=row["collection"],
            path=row["path"],
            collections=frozenset({row["collection"], *(one["collection"] for one in row["members"])}),
            label=label,
            aside=aside,
            picture_id=row["picture_id"],
            patient_id=row["patient_id"] if isinstance(row["patient_id"], str) else None,
            group_id=row["group_id"],
            copy_rank=int(rank),
        )
        for row, rank in zip(joined, ranks, strict=True)
        for label, aside in [_judge(row, judged.get(row["image_id"]), strange.get(row["image_id"]))]
    ]


def _list_foreign(foreign: pd.DataFrame | None) -> dict[str, str]:
    rows = [] if foreign is None else list_rows(foreign)
    return {row["image_id"]: f"foreign, {row['kind']}: {row['detail']}" for row in rows if not row["kept"]}


def _judge(row: Row, conflict: Row | None, strange: str | None) -> tuple[str | None, str | None]:
    """The label of an image, and why it is set aside."""
    label = row["label"] if isinstance(row["label"], str) else None
    if strange is not None:
        return label, strange
    if conflict is not None:
        if conflict["set_aside"]:
            return label, conflict["rule"]
        if isinstance(conflict["resolved"], str):
            label = conflict["resolved"]
    return label, None if label is not None else NO_LABEL


def place_entries(entries: Sequence[Entry], placed: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """A table `splits` with a row for each entry; set-aside ones are left out, with why.

    Args:
        placed: image_id -> (split, why) of every entry that is not set aside.
    """
    rows = []
    for entry in entries:
        split, why = ("left_out", entry.aside) if entry.aside is not None else placed[entry.image_id]
        rows.append(
            (
                *(entry.image_id, entry.collection, entry.path, entry.label),
                *(split, why, entry.picture_id, entry.copy_rank),
            )
        )
    return make_table(rows)


def make_table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """A table `splits`, sorted by its key."""
    table = find_table("splits")
    frame = pd.DataFrame(rows, columns=table.names).astype({"copy_rank": "Int64"})
    return frame.sort_values(list(table.key), ignore_index=True)
