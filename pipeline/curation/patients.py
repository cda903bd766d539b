"""Whose head an image shows: by its own record, or as a copy of a reference slice."""

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pipeline.catalog import Collection
from pipeline.curation.boxes import Box, compose, invert, map_box, read_transform
from pipeline.errors import TableError
from pipeline.tables import find_table, list_rows

NO_BOX = (None, None, None, None)


@dataclass(frozen=True)
class _Slice:
    """What the reference says of one of its images."""

    image_id: str
    patient_id: str | None
    label: str | None
    box: Box | None


def find_patients(
    pictures: pd.DataFrame,
    images: pd.DataFrame,
    records: pd.DataFrame,
    collections: Mapping[str, Collection],
) -> pd.DataFrame:
    """The table `patients`: every image with its patient, where one is known.

    An image whose bytes a record describes has its patient from that record. An image that shows the same
    picture inherits patient, label and box: of the slice that it was proven against, else of the picture's
    slice with the smallest image_id. The box is mapped into the copy's own pixels, through the way from the
    slice to the representative and from there to the copy; see `map_box` for what becomes of it. Ids that
    differ in a collection's suffix are one patient, and so are patients whose records describe the same
    bytes. Row order does not matter.

    Args:
        pictures: table `pictures`.
        images: table `images`.
        records: table `records`, what reference collections say of their slices.
        collections: the catalog, for each collection's `patient_suffix`.

    Raises:
        TableError: a record names a file that no image has, or a collection that the catalog lacks; a
            transform cannot be undone.
    """
    slices = _read_slices(images, records, collections)
    shown = pictures.set_index("image_id")
    by_picture: dict[str, list[str]] = {}
    for image_id in sorted(slices):
        by_picture.setdefault(str(shown.at[image_id, "picture_id"]), []).append(image_id)
    rows = []
    for row in list_rows(pictures.sort_values("image_id")):
        image_id = row["image_id"]
        known = by_picture.get(row["picture_id"], [])
        if image_id in slices:
            rows.append(_describe(image_id, "record", slices[image_id], slices[image_id].box))
        elif known:
            source = slices[row["joined_to"] if row["joined_to"] in slices else known[0]]
            box = _carry_box(source.box, shown.at[source.image_id, "transform"], row["transform"])
            rows.append(_describe(image_id, "copy", source, box))
        else:
            rows.append((image_id, None, "unknown", None, None, *NO_BOX))
    return pd.DataFrame(rows, columns=find_table("patients").names)


def merge_suffix(patient: str, suffix: str | None) -> str:
    """A patient id without the suffix that marks a repeat scan; the id itself if nothing would be left."""
    return (re.sub(suffix, "", patient) if suffix else patient) or patient


def _carry_box(box: Box | None, to_slice: Any, to_copy: Any) -> Box | None:
    """A slice's box in a copy's pixels, both given by their way from the representative."""
    way = compose(read_transform(to_copy), invert(read_transform(to_slice)))
    return map_box(box, way)


def _read_slices(
    images: pd.DataFrame, records: pd.DataFrame, collections: Mapping[str, Collection]
) -> dict[str, _Slice]:
    """Reference slices by image_id; of byte-identical slices the first by path speaks."""
    members = {
        (member["collection"], member["path"]): (row["image_id"], member["label"])
        for row in list_rows(images)
        for member in row["members"]
    }
    told: dict[str, list[_Slice]] = {}
    for record in list_rows(records.sort_values(["collection", "path"])):
        collection, path = record["collection"], record["path"]
        if collection not in collections or (collection, path) not in members:
            raise TableError(
                f"the record of {collection}/{path} belongs to no image of a known collection; "
                "materialise files, records and images again, in one run"
            )
        image_id, label = members[collection, path]
        patient = None
        if isinstance(record["patient"], str):
            stem = merge_suffix(record["patient"], collections[collection].patient_suffix)
            patient = f"{collection}:{stem}"
        slice_ = _Slice(image_id, patient, label if isinstance(label, str) else None, _read_box(record))
        told.setdefault(image_id, []).append(slice_)
    merged = _merge_patients([{one.patient_id for one in same if one.patient_id} for same in told.values()])
    slices = {}
    for image_id, same in told.items():
        known = [merged[one.patient_id] for one in same if one.patient_id]
        slices[image_id] = replace(same[0], patient_id=known[0] if known else None)
    return slices


def _merge_patients(shared: Iterable[set[str]]) -> dict[str, str]:
    """The smallest name of each patient, given sets of names that are one head each."""
    merged: dict[str, str] = {}
    for names in shared:
        roots = {merged.setdefault(name, name) for name in names}
        if len(roots) > 1:
            merged |= {name: min(roots) for name, root in merged.items() if root in roots}
    return merged


def _read_box(record: Mapping[Hashable, Any]) -> Box | None:
    x, y, width, height = (float(record[f"box_{side}"]) for side in "xywh")
    return None if pd.isna(x + y + width + height) else (x, y, width, height)


def _describe(image_id: str, source: str, slice_: _Slice, box: Box | None) -> tuple[object, ...]:
    return (image_id, slice_.patient_id, source, slice_.image_id, slice_.label, *(box or NO_BOX))
