"""Small tables that hold everything the curation floor has to find: copies, patients, conflicts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from pipeline.catalog import Collection
from pipeline.curation.groups import form_groups
from pipeline.curation.patients import find_patients
from pipeline.curation.splits import split_patient
from pipeline.tables import find_table, from_arrow, to_arrow

Pixels = npt.NDArray[np.uint8]
BOX = (0.25, 0.4, 0.1, 0.2)


def paint(seed: int) -> Pixels:
    """A 64 × 64 head with its own texture, and no symmetry that a mirror would keep."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(64, 64)).astype(np.float32), (0, 0), 2.0)
    row, column = np.mgrid[-1:1:64j, -1:1:64j]
    inside = (row / 0.85) ** 2 + (column / 0.7) ** 2 < 1
    return np.clip((100 + 220 * noise) * inside, 0, 255).astype(np.uint8)


def reencode(pixels: Pixels, *, gain: float = 1.0, gamma: float = 1.0, quality: int = 85) -> Pixels:
    """The picture after a change of brightness and a trip through JPEG."""
    bright = np.clip(255 * (pixels / 255.0) ** gamma * gain, 0, 255).astype(np.uint8)
    large = cv2.resize(bright, (224, 224), interpolation=cv2.INTER_LINEAR)
    data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), (64, 64), interpolation=cv2.INTER_AREA)


def name_image(text: str) -> str:
    """An image_id: an MD5 in hex."""
    return hashlib.md5(text.encode()).hexdigest()


def cast(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """A frame as the lake gives it back: checked, sorted by key, with its nulls and types."""
    return from_arrow(table, to_arrow(table, frame))


@dataclass
class Corpus:
    """Tables that are built one file at a time."""

    files: list[dict[str, object]] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)  # image_id -> picture, where not alone
    mirrored: set[str] = field(default_factory=set)
    records: list[dict[str, object]] = field(default_factory=list)

    def add(
        self,
        name: str,
        label: str | None = "glioma",
        *,
        collection: str = "kaggle_a",
        split: str | None = "train",
        picture: str | None = None,
        mirrored: bool = False,
        patient: str | None = None,
        md5: str | None = None,
    ) -> str:
        """Add a file; a `patient` makes it a slice of the reference. Returns its image_id."""
        image_id = md5 or name_image(name)
        if patient is not None:
            collection, split = "reference", None
            box = dict(zip(("box_x", "box_y", "box_w", "box_h"), BOX, strict=True))
            row = {"collection": collection, "path": name, "slice": name, "patient": patient}
            self.records.append(row | box)
        self.files.append(
            {
                "collection": collection, "path": name, "bytes": 9, "md5": image_id, "width": 224,
                "height": 224, "mode": "L", "format": "JPEG", "published_split": split,
                "published_label": label, "label": label, "licence": "CC0", "reason": None, "detail": None,
            }
        )  # fmt: skip
        self.pictures[image_id] = picture or self.pictures.get(image_id, image_id)
        if mirrored:
            self.mirrored.add(image_id)
        return image_id

    def tables(self) -> "Tables":
        """All tables, cast as the lake would."""
        images = self._images()
        pictures = self._pictures()
        columns = find_table("records").names
        records = cast("records", pd.DataFrame(self.records, columns=columns))
        patients = cast("patients", find_patients(pictures, images, records, COLLECTIONS))
        groups = cast("groups", form_groups(pictures, patients))
        files = cast("files", pd.DataFrame(self.files))
        return Tables(files, images, records, pictures, patients, groups)

    def _images(self) -> pd.DataFrame:
        rows = []
        for image_id, group in pd.DataFrame(self.files).groupby("md5"):
            first = group.sort_values(["collection", "path"]).iloc[0]
            labels = sorted({label for label in group["label"] if isinstance(label, str)})
            told = group.loc[group["collection"] == "reference", "label"]
            label = labels[0] if len(labels) == 1 else (told.iloc[0] if len(told) else None)
            members = [
                {key: row[key] for key in ("collection", "path", "published_split", "label")}
                for row in group.sort_values(["collection", "path"]).to_dict("records")
            ]
            rows.append(
                {
                    "image_id": image_id, "collection": first["collection"], "path": first["path"],
                    "label": label, "labels": labels, "width": 224, "height": 224, "members": members,
                }
            )  # fmt: skip
        return cast("images", pd.DataFrame(rows))

    def _pictures(self) -> pd.DataFrame:
        first: dict[str, str] = {}
        for image_id in sorted(self.pictures):
            first.setdefault(self.pictures[image_id], image_id)
        rows = [
            {
                "image_id": one, "picture_id": f"picture-{first[picture]}", "representative": first[picture],
                "joined_to": first[picture], "score": 1.0, "worst": None, "turned": 0,
                "mirrored": (mirrored := (one in self.mirrored) != (first[picture] in self.mirrored)),
                "transform": [-1.0, 0.0, 1.0, 0.0, 1.0, 0.0] if mirrored else [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                "evidence": "self" if one == first[picture] else "ncc",
            }
            for one, picture in self.pictures.items()
        ]  # fmt: skip
        return cast("pictures", pd.DataFrame(rows))


@dataclass(frozen=True)
class Tables:
    """The tables of one corpus."""

    files: pd.DataFrame
    images: pd.DataFrame
    records: pd.DataFrame
    pictures: pd.DataFrame
    patients: pd.DataFrame
    groups: pd.DataFrame

    @property
    def evidence(self) -> tuple[pd.DataFrame, ...]:
        """What the gate recomputes from: images, pictures, patients, groups."""
        return self.images, self.pictures, self.patients, self.groups


def describe_collection(name: str, *, reference: bool = False) -> Collection:
    """A catalog entry; labels are spelled as ours."""
    return Collection.model_validate(
        {
            "name": name, "title": name, "description": name, "citation": name,
            "source": {"manual": {"url": "https://example.org", "instructions": "download it"}},
            "licence": {"stated": "CC0", "redistribute": "yes"},
            "layout": {"reader": "figshare"}, "labels": {"1": "glioma"},
            "reference": reference, "patient_suffix": "[A-Z]$" if reference else None,
        }
    )  # fmt: skip


COLLECTIONS: Mapping[str, Collection] = {
    name: describe_collection(name, reference=name == "reference")
    for name in ("kaggle_a", "kaggle_b", "reference")
}


def fill(
    corpus: Corpus, labels: Sequence[str], *, heads: int = 8, slices: int = 3, singles: int = 20
) -> None:
    """Patients with slices and copies for each tumour label, single images of unknown patients for each."""
    for label in labels:
        for head in range(heads if label != "no_tumor" else 0):
            for k in range(slices):
                name = f"{label}-{head}-{k}"
                corpus.add(f"ref/{name}", label, patient=f"{label}{head}", picture=name)
                corpus.add(f"a/{name}", label, picture=name, split="test" if k == 0 else "train")
        for k in range(singles):
            corpus.add(f"b/{label}-{k}", label, collection="kaggle_b", split="train" if k % 4 else "test")


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """What tests build with; a fixture, since test modules cannot import a conftest safely."""
    return SimpleNamespace(
        paint=paint, reencode=reencode, name_image=name_image, cast=cast, fill=fill, Corpus=Corpus,
        collections=COLLECTIONS, box=BOX,
    )  # fmt: skip


@pytest.fixture
def corpus() -> Corpus:
    """Four labels, reference patients with copies, unknown singles; nothing in conflict."""
    made = Corpus()
    fill(made, ("glioma", "meningioma", "pituitary", "no_tumor"))
    return made


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The tables of an unchanged `corpus`; not to be changed."""
    made = Corpus()
    fill(made, ("glioma", "meningioma", "pituitary", "no_tumor"))
    return made.tables()


@pytest.fixture(scope="session")
def split(tables: Tables) -> pd.DataFrame:
    """Protocol `patient` on `tables`; not to be changed."""
    return split_patient(tables.images, tables.patients, tables.groups, pictures=tables.pictures)
