"""Images whose label is contradicted: by their own files, by the reference, or by copies of their picture."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from pipeline.errors import TableError
from pipeline.tables import find_table, list_rows

UNDECIDED = "and no reference decides"

Row = Mapping[Hashable, Any]
Verdict = tuple[str, str | None, str, bool]
"""kind, resolved label, rule in words, set aside."""


def list_conflicts(
    images: pd.DataFrame, pictures: pd.DataFrame, patients: pd.DataFrame, *, keep_contradicted: bool = False
) -> pd.DataFrame:
    """The table `conflicts`: one row an image whose label is contradicted, with what the rules make of it.

    The rules, first match first:

    1. The reference decides. A slice of the reference carries the reference's label whatever its other files
       say (kind `bytes`), and is used. A copy of a reference slice whose own label is another (kind
       `reference`), or whose files differ (kind `bytes`), is set aside: what else is wrong with it is not
       known. `keep_contradicted` keeps it, under the reference's label.
    2. Where two reference slices of one picture differ, nothing decides: the whole picture is set aside.
    3. Without a reference nothing decides: an image whose files differ (kind `bytes`), and every image of a
       picture whose files differ (kind `copies`), is set aside. There is no vote: copies are not independent
       witnesses, thirty of them repeat one opinion.

    Args:
        images: table `images`.
        pictures: table `pictures`, the same image_ids.
        patients: table `patients`, the same image_ids.
        keep_contradicted: whether images that the reference contradicts are used, under its label.

    Raises:
        TableError: the three tables hold different images.
    """
    rows = _join_tables(images, pictures, patients)
    told: dict[str, set[str]] = {}
    decided: dict[str, set[str]] = {}
    for row in rows:
        told.setdefault(row["picture_id"], set()).update(row["labels"])
        if isinstance(row["reference_label"], str):
            decided.setdefault(row["picture_id"], set()).add(row["reference_label"])
    found = []
    for row in rows:
        seen, reference = told[row["picture_id"]], decided.get(row["picture_id"], set())
        verdict = _judge_image(row, seen, reference, keep_contradicted)
        if verdict:
            found.append(_describe(row, seen | reference, verdict))
    return pd.DataFrame(found, columns=find_table("conflicts").names)


def _describe(row: Row, labels: set[str], verdict: Verdict) -> tuple[object, ...]:
    kind, resolved, rule, aside = verdict
    label = row["label"] if isinstance(row["label"], str) else None
    reference = row["reference_label"] if isinstance(row["reference_label"], str) else None
    place = (row["image_id"], row["collection"], row["path"])
    return (*place, kind, label, sorted(labels), reference, resolved, rule, aside)


def _judge_image(row: Row, seen: set[str], reference: set[str], keep: bool) -> Verdict | None:
    own = sorted(row["labels"])
    if len(reference) > 1:
        rule = f"reference slices of this picture carry different labels: {_join(reference)}"
        return ("reference", None, rule, True)
    if reference:
        (decisive,) = reference
        if own == [decisive]:
            return None
        return _judge_referenced(row, own, decisive, keep)
    if len(own) > 1:
        return ("bytes", None, f"its files carry different labels {UNDECIDED}: {_join(own)}", True)
    if len(seen) > 1:
        return (
            "copies",
            None,
            f"copies of this picture carry different labels {UNDECIDED}: {_join(seen)}",
            True,
        )
    return None


def _judge_referenced(row: Row, own: list[str], decisive: str, keep: bool) -> Verdict:
    if len(own) > 1:
        kind, rule = "bytes", f"its files carry different labels: {_join(own)}; the reference says {decisive}"
    else:
        kind, rule = "reference", f"label contradicts reference: {own[0]} here, {decisive} there"
    if row["source"] == "record":
        return (kind, decisive, f"{rule}; it is the reference's own slice", False)
    return (kind, decisive, f"{rule}; {'kept under that label' if keep else 'set aside'}", not keep)


def _join(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels))


def _join_tables(images: pd.DataFrame, pictures: pd.DataFrame, patients: pd.DataFrame) -> list[Row]:
    ids = set(images["image_id"])
    for name, table in (("pictures", pictures), ("patients", patients)):
        differing = sorted(ids.symmetric_difference(table["image_id"]))
        if differing:
            raise TableError(
                f"images and {name} differ in {len(differing)} image_ids: {', '.join(differing[:3])}; "
                "materialise both again, in one run"
            )
    joined = images.merge(pictures[["image_id", "picture_id"]], on="image_id").merge(
        patients[["image_id", "source", "reference_label"]], on="image_id"
    )
    rows: list[Row] = [*list_rows(joined.sort_values("image_id"))]
    return rows
