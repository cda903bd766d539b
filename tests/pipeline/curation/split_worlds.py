"""Small worlds for the tests of splits: shots of heads, and the tables that curation would make of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.curation.gate import enforce_gate, inspect_split
from pipeline.curation.groups import form_groups
from pipeline.labels import LABELS

UPRIGHT = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


@dataclass(frozen=True)
class Shot:
    """One image of the world; `take` tells byte-different encodings of one shot apart."""

    name: str
    collection: str
    label: str
    picture: str
    patient: str | None = None
    take: int = 0

    @property
    def image_id(self) -> str:
        return hashlib.md5(f"{self.collection}/{self.name}/{self.take}".encode()).hexdigest()

    def reencoded(self) -> "Shot":
        return replace(self, take=self.take + 1)


@dataclass(frozen=True)
class Tables:
    """What curation makes of a world."""

    images: pd.DataFrame
    patients: pd.DataFrame
    groups: pd.DataFrame
    pictures: pd.DataFrame

    @property
    def evidence(self) -> tuple[pd.DataFrame, ...]:
        """As the gate takes it."""
        return self.images, self.pictures, self.patients, self.groups

    @property
    def three(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        return self.images, self.patients, self.groups

    def shuffled(self, seed: int) -> "Tables":
        frames = (self.images, self.patients, self.groups, self.pictures)
        return Tables(*(frame.sample(frac=1, random_state=seed) for frame in frames))


def tabulate(
    shots: Iterable[Shot],
    *,
    folder: str = "",
    same: Mapping[str, str] | None = None,
    reference: Mapping[str, str] | None = None,
) -> Tables:
    """The tables of a world.

    Args:
        folder: where the files lie; another one, and all paths are others.
        same: picture or patient -> the one that it was proven to be.
        reference: picture -> label that the reference gives it.
    """
    alias, told = dict(same or {}), dict(reference or {})
    shots = sorted(shots, key=lambda shot: shot.image_id)
    first: dict[str, str] = {}
    heads: dict[str, set[str]] = {}
    for shot in shots:
        picture = _resolve(shot.picture, alias)
        first.setdefault(picture, shot.image_id)
        if shot.patient is not None:
            heads.setdefault(picture, set()).add(_resolve(shot.patient, alias))
    images, pictures, patients = [], [], []
    for shot in shots:
        picture, path = _resolve(shot.picture, alias), f"{folder}{shot.name}"
        own = {"collection": shot.collection, "path": path, "published_split": None, "label": shot.label}
        images.append(
            {
                "image_id": shot.image_id, "collection": shot.collection, "path": path, "label": shot.label,
                "labels": [shot.label], "width": 64, "height": 64, "members": [own],
            }
        )  # fmt: skip
        pictures.append(
            {
                "image_id": shot.image_id, "picture_id": f"picture-{first[picture]}",
                "representative": first[picture], "joined_to": first[picture], "mirrored": False,
                "turned": 0, "transform": UPRIGHT, "score": 1.0, "worst": None, "evidence": "ncc",
            }
        )  # fmt: skip
        patient = min(heads.get(picture, {""})) or None
        patients.append(
            {
                "image_id": shot.image_id, "patient_id": patient,
                "source": "record" if shot.patient else "copy" if patient else "unknown",
                "reference_id": None, "reference_label": told.get(shot.picture),
                "box_x": None, "box_y": None, "box_w": None, "box_h": None,
            }
        )  # fmt: skip
    frames = [pd.DataFrame(rows) for rows in (images, patients, pictures)]
    return Tables(frames[0], frames[1], form_groups(frames[2], frames[1]), frames[2])


def _resolve(name: str, alias: Mapping[str, str]) -> str:
    while name in alias:
        name = alias[name]
    return name


def single_shots(count: int, collection: str = "base", labels: Sequence[str] = LABELS) -> list[Shot]:
    """`count` images a label, each of a picture of its own and of unknown patient."""
    return [
        Shot(f"{label}-{index}", collection, label, f"{collection}-{label}-{index}")
        for label in labels
        for index in range(count)
    ]


def head_shots(heads: int, slices: int, collection: str, copies: Sequence[str] = ()) -> list[Shot]:
    """`heads` patients a tumour label with `slices` pictures each, and copies of all in other collections."""
    own = [
        Shot(f"{label}-{head}-{k}", collection, label, f"{label}-{head}-{k}", f"{label}{head}")
        for label in LABELS[:3]
        for head in range(heads)
        for k in range(slices)
    ]
    return own + [replace(shot, collection=other, patient=None) for other in copies for shot in own]


def pass_gate(split: pd.DataFrame, tables: Tables, protocol: str) -> None:
    """Fail where the gate would."""
    findings = inspect_split(split, *tables.evidence, protocol=protocol)
    assert enforce_gate(findings, protocol) == "passed"
