"""Twins in training: for each published test file, the training files that show the same thing.

The unit is a file, as published: byte-identical test files count each. A training file is a file of a
published training folder; files that are set aside count on neither side. A collection without published
folders is in no training.
"""

from collections.abc import Hashable, Iterable
from typing import Any, Literal, get_args

import pandas as pd

from pipeline.tables import list_rows

Twin = Literal["byte_identical", "same_picture", "turned", "same_patient", "none"]
TWINS: tuple[Twin, ...] = get_args(Twin)
"""From the strongest evidence to none; each test file is counted once, under the first that holds."""

TWIN_WORDS: dict[Twin, str] = {
    "byte_identical": "the same bytes",
    "same_picture": "the same picture, re-encoded, re-scaled or otherwise changed",
    "turned": "the same picture, only mirrored or turned",
    "same_patient": "the same patient, another picture",
    "none": "no known twin",
}

Whose = Literal["own", "any"]
WHOSE: tuple[Whose, ...] = get_args(Whose)

MEMBER_COLUMNS = (
    "collection", "path", "image_id", "label", "published_split", "picture_id", "mirrored", "turned",
    "patient_id",
)  # fmt: skip
TWIN_COLUMNS = (
    "path", "image_id", "label", "byte_identical", "same_picture", "only_turned", "same_patient", "twin",
    "twin_collection", "twin_path", "twin_image",
)  # fmt: skip

Row = dict[Hashable, Any]


def list_members(images: pd.DataFrame, pictures: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """One row a member file, with what it shows: `MEMBER_COLUMNS`, sorted by collection and path.

    Args:
        images, pictures, patients: the tables, same image_ids.
    """
    known = images[["image_id", "members"]].merge(
        pictures[["image_id", "picture_id", "mirrored", "turned"]], on="image_id"
    )
    known = known.merge(patients[["image_id", "patient_id"]], on="image_id")
    rows = [
        (
            member["collection"], member["path"], row["image_id"], _text(member["label"]),
            _text(member["published_split"]), row["picture_id"], bool(row["mirrored"]), int(row["turned"]),
            _text(row["patient_id"]),
        )
        for row in list_rows(known)
        for member in row["members"]
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(MEMBER_COLUMNS)).astype(
        dict.fromkeys(("label", "published_split", "patient_id"), object)
    )
    return frame.sort_values(["collection", "path"], ignore_index=True)


def find_twins(members: pd.DataFrame, collection: str, whose: Whose) -> pd.DataFrame:
    """One row a published test file of `collection`: `TWIN_COLUMNS`, sorted by path.

    `byte_identical` … `same_patient` say what holds; `twin` is the first of `TWINS` that does. `only_turned`:
    of the same picture, and every training file of that picture shows it in another orientation (mirrored,
    quarter turns). `twin_…` name one training file that proves `twin`: of the own collection where there is
    one, else the first by collection and path; null without a twin. Row order does not matter.

    Args:
        members: from `list_members`.
        collection: whose published test folder.
        whose: `own`: against that collection's own training folder; `any`: against all of them.
    """
    ordered = members.sort_values(["collection", "path"])
    tests = ordered[(ordered["collection"] == collection) & (ordered["published_split"] == "test")]
    training = ordered[ordered["published_split"] == "train"]
    own = training["collection"] == collection
    training = training[own] if whose == "own" else pd.concat([training[own], training[~own]])
    seen = _Seen(list_rows(training))
    rows = [_judge(row, seen) for row in list_rows(tests)]
    return pd.DataFrame(rows, columns=list(TWIN_COLUMNS))


def published_tests(members: pd.DataFrame) -> list[str]:
    """Collections that publish a test folder, sorted."""
    return sorted(set(members.loc[members["published_split"] == "test", "collection"]))


class _Seen:
    """The first training file for each thing that a test file can share with training."""

    def __init__(self, training: Iterable[Row]) -> None:
        self.by_bytes: dict[str, Row] = {}
        self.by_view: dict[tuple[str, bool, int], Row] = {}
        self.by_picture: dict[str, Row] = {}
        self.by_patient: dict[str, Row] = {}
        for row in training:
            self.by_bytes.setdefault(row["image_id"], row)
            self.by_view.setdefault(_view(row), row)
            self.by_picture.setdefault(row["picture_id"], row)
            if isinstance(row["patient_id"], str):
                self.by_patient.setdefault(row["patient_id"], row)


def _judge(row: Row, seen: _Seen) -> tuple[Any, ...]:
    found: dict[Twin, Row | None] = {
        "byte_identical": seen.by_bytes.get(row["image_id"]),
        "same_picture": seen.by_view.get(_view(row)),
        "turned": seen.by_picture.get(row["picture_id"]),
        "same_patient": seen.by_patient.get(row["patient_id"]),
    }
    twin: Twin = next((name for name in TWINS if found.get(name)), "none")
    proof = found.get(twin) or {}
    return (
        row["path"], row["image_id"], row["label"],
        found["byte_identical"] is not None, found["turned"] is not None,
        found["turned"] is not None and found["same_picture"] is None,
        found["same_patient"] is not None, twin,
        proof.get("collection"), proof.get("path"), proof.get("image_id"),
    )  # fmt: skip


def _view(row: Row) -> tuple[str, bool, int]:
    return row["picture_id"], row["mirrored"], row["turned"]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
