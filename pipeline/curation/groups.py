"""The smallest units that may never be split: what pictures and patients connect."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from pipeline.digests import digest_bytes
from pipeline.errors import TableError
from pipeline.tables import find_table

Row = dict[Hashable, Any]


def form_groups(pictures: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """The table `groups`: connected components of `same picture` and `same patient`.

    `safety` says what the group is known by: `patient` where a patient of the group is known; `picture`
    where several images show one picture of an unknown patient; `image` where an image stands alone. An
    unknown patient is never counted as a distinct one: two such groups may be one head.

    Args:
        pictures: table `pictures`, one row an image.
        patients: table `patients`, the same image_ids.

    Raises:
        TableError: the two tables hold different images.
    """
    if sorted(pictures["image_id"]) != sorted(patients["image_id"]):
        raise TableError(
            f"pictures ({len(pictures)} rows) and patients ({len(patients)} rows) hold different images; "
            "materialise both again, in one run"
        )
    joined = pictures[["image_id", "picture_id"]].merge(patients[["image_id", "patient_id"]], on="image_id")
    rows = joined.sort_values("image_id").to_dict("records")
    components = _connect(rows)
    safety = {
        component: "patient"
        if any(isinstance(row["patient_id"], str) for row in rows_of)
        else ("picture" if len(rows_of) > 1 else "image")
        for component, rows_of in components.items()
    }
    return pd.DataFrame(
        sorted(
            (row["image_id"], digest_bytes(f"group:{component}".encode())[:16], safety[component])
            for component, rows_of in components.items()
            for row in rows_of
        ),
        columns=find_table("groups").names,
    )


def _connect(rows: list[Row]) -> dict[str, list[Row]]:
    """Components by their smallest image_id; `rows` sorted by image_id."""
    parent: dict[str, str] = {row["image_id"]: row["image_id"] for row in rows}

    def root(image_id: str) -> str:
        while parent[image_id] != image_id:
            parent[image_id] = parent[parent[image_id]]
            image_id = parent[image_id]
        return image_id

    first: dict[tuple[str, str], str] = {}
    for row in rows:
        for kind in ("picture_id", "patient_id"):
            if isinstance(row[kind], str):
                one = root(first.setdefault((kind, row[kind]), row["image_id"]))
                other = root(row["image_id"])
                parent[max(one, other)] = min(one, other)
    components: dict[str, list[Row]] = {}
    for row in rows:
        components.setdefault(root(row["image_id"]), []).append(row)
    return components
