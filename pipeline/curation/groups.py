"""The smallest units that may never be split: what pictures and patients connect."""

from collections.abc import Iterable, Mapping

import pandas as pd

from pipeline.digests import digest_bytes
from pipeline.errors import TableError
from pipeline.tables import find_table, map_cells

Key = tuple[str, str]
"""What connects images: ('picture' or 'patient', its id)."""


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
    heads = map_cells(patients, "image_id", "patient_id")
    shown = zip(pictures["image_id"], pictures["picture_id"], strict=True)
    keys = {image_id: list_keys(picture, heads[image_id]) for image_id, picture in shown}
    components: dict[str, list[str]] = {}
    for image_id, component in connect(keys).items():
        components.setdefault(component, []).append(image_id)
    rows = []
    for component, ids in components.items():
        known = any(isinstance(heads[one], str) for one in ids)
        safety = "patient" if known else ("picture" if len(ids) > 1 else "image")
        group_id = digest_bytes(f"group:{component}".encode())[:16]
        rows += [(image_id, group_id, safety) for image_id in ids]
    return pd.DataFrame(sorted(rows), columns=find_table("groups").names)


def list_keys(picture_id: str, patient_id: object) -> tuple[Key, ...]:
    """What may not cross a split: the picture and, where it is known (a string), the patient."""
    patient = (("patient", patient_id),) if isinstance(patient_id, str) else ()
    return (("picture", picture_id), *patient)


def connect(keys: Mapping[str, Iterable[Key]]) -> dict[str, str]:
    """image_id -> the smallest image_id among those that shared keys connect it with, also through others."""
    parent = {image_id: image_id for image_id in keys}

    def root(image_id: str) -> str:
        while parent[image_id] != image_id:
            parent[image_id] = parent[parent[image_id]]
            image_id = parent[image_id]
        return image_id

    first: dict[Key, str] = {}
    for image_id in sorted(keys):
        for key in keys[image_id]:
            one, other = root(first.setdefault(key, image_id)), root(image_id)
            parent[max(one, other)] = min(one, other)
    return {image_id: root(image_id) for image_id in sorted(keys)}
