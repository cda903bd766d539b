"""A small curation with a bit of everything: copies, a mirrored leak, patients, a conflict, faults."""

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.audit.evidence import Evidence
from pipeline.catalog import Collection
from pipeline.curation.groups import form_groups
from pipeline.labels import LABELS, TUMOURS
from pipeline.lock import LockEntry
from pipeline.tables import find_table, from_arrow, to_arrow

SIDE = 128
UPRIGHT, MIRROR = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
LICENCES = {
    "reference": ("CC BY 4.0", "yes"),
    "web_a": ("none <stated>", "unknown"),
    "web_b": ("no passing on", "no"),
}


def paint(name):
    """A head with its own texture."""
    rng = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16))
    noise = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)).astype(np.float32), (0, 0), 4.0)
    row, column = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return np.clip((90 + 400 * noise) * ((row / 0.85) ** 2 + (column / 0.7) ** 2 < 1), 0, 255).astype(
        np.uint8
    )


def name_image(text):
    """An image_id."""
    return hashlib.md5(text.encode()).hexdigest()


def draw_part(text):
    """A part of a split, by a hash."""
    return ("train", "train", "val", "test")[int(hashlib.sha256(text.encode()).hexdigest(), 16) % 4]


def cast(table, rows):
    """A frame as the lake gives it back."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=find_table(table).names)
    return from_arrow(table, to_arrow(table, frame))


def describe_collection(name, stated, redistribute):
    """A catalog entry."""
    return Collection.model_validate(
        {
            "name": name, "title": f"Title of {name} & co", "description": "made up",
            "citation": f"cite {name}",
            "source": {"manual": {"url": "https://example.org/x", "instructions": "get it"}},
            "licence": {"stated": stated, "redistribute": redistribute},
            "layout": {"reader": "figshare"}, "reference": name == "reference",
            "labels": {f"{label} there": label for label in LABELS},
        }
    )  # fmt: skip


COLLECTIONS = {name: describe_collection(name, *said) for name, said in LICENCES.items()}


@dataclass
class Builder:
    """Adds files one at a time, then casts every table."""

    files: list = field(default_factory=list)
    shown: dict = field(default_factory=dict)  # image_id -> (picture, mirrored, patient)
    looks: list = field(default_factory=list)
    thumbnails: list = field(default_factory=list)
    strange: list = field(default_factory=list)

    def add(
        self,
        collection,
        path,
        label,
        *,
        picture=None,
        mirrored=False,
        split=None,
        patient=None,
        bytes_of=None,
        reason=None,
        foreign=False,
    ):
        """A file; `bytes_of` gives it the bytes of another; returns its image_id."""
        image_id = name_image(bytes_of or f"{collection}/{path}")
        decoded = reason is None
        size = {"reference": 512, "web_a": 224, "web_b": 256}[collection]
        self.files.append(
            (
                collection, path, 1000 + len(self.files), image_id if reason != "link" else None,
                size if decoded else None, size if decoded else None, "L" if decoded else None,
                "JPEG" if decoded else None, split, f"{label} there", label, LICENCES[collection][0],
                reason, "what was found <b>" if reason else None,
            )
        )  # fmt: skip
        if decoded and image_id not in {row[0] for row in self.looks}:
            picture = picture or path
            pixels = paint(picture)[:, ::-1] if mirrored else paint(picture)
            bright = (
                40.0 + 40 * LABELS.index(label) + len(self.looks) % 7
                if collection == "web_a"
                else 60.0 + len(self.looks) % 23
            )
            self.looks.append(
                (image_id, bright, 40.0, 0.0, 0.5, 1.0, 1858 if collection == "web_a" else None)
            )
            self.thumbnails.append((image_id, np.ascontiguousarray(pixels).tobytes()))
            self.shown[image_id] = (picture, mirrored, patient)
        if foreign:
            self.strange.append((image_id, collection, path, "ct", "bright ring 0.9 > 0.5", False))
        return image_id

    def build(self):
        """The evidence."""
        files = cast("files", self.files)
        images = self._images(files)
        pictures = self._pictures()
        patients = self._patients(files, pictures)
        groups = cast("groups", form_groups(pictures, patients))
        aside = files[files["reason"].notna()]
        conflicts = self._conflicts(images, patients)
        pairs, review = self._pairs(images)
        splits = {
            name: self._split(name, files, images, groups, pictures)
            for name in ("published", "stratified", "patient")
        }
        patient = splits["patient"]
        folds = [
            (row["image_id"], None if row["split"] == "left_out" else index % 5 + 1, "a rule")
            for index, row in enumerate(patient.sort_values("picture_id").to_dict("records"))
        ]
        lock = {
            name: LockEntry(
                slug=name, version=3 if name == "web_a" else None, files=9, bytes=999, digest="ab" * 32,
                licence=LICENCES[name][0], citation=f"cite {name}",
            )
            for name in ("reference", "web_a")
        }  # fmt: skip
        return Evidence(
            files, cast("quarantine", aside[find_table("quarantine").names]), images, pictures, pairs, review,
            patients, groups, conflicts, cast("foreign", self.strange), cast("looks", self.looks),
            cast("thumbnails", self.thumbnails), splits, cast("folds", folds), lock, COLLECTIONS,
        )  # fmt: skip

    def _images(self, files):
        rows = []
        for image_id, own in files[files["reason"].isna()].groupby("md5"):
            members = own[["collection", "path", "published_split", "label"]].to_dict("records")
            labels = sorted(set(own["label"]))
            first = own.iloc[0]
            rows.append(
                (image_id, first["collection"], first["path"], labels[0] if len(labels) == 1 else None,
                 labels, int(first["width"]), int(first["height"]), members)
            )  # fmt: skip
        return cast("images", rows)

    def _pictures(self):
        first = {}
        for image_id in sorted(self.shown):
            first.setdefault(self.shown[image_id][0], image_id)
        rows = []
        for image_id, (picture, mirrored, _) in self.shown.items():
            turned = mirrored != self.shown[first[picture]][1]
            rows.append(
                (image_id, f"p-{picture}", first[picture], first[picture], turned, 0,
                 MIRROR if turned else UPRIGHT, 1.0, None, "self" if image_id == first[picture] else "ncc")
            )  # fmt: skip
        return cast("pictures", rows)

    def _patients(self, files, pictures):
        told = {
            picture: (patient, image_id) for image_id, (picture, _, patient) in self.shown.items() if patient
        }
        label = dict(zip(files["md5"], files["label"], strict=True))
        rows = []
        for image_id, (picture, mirrored, patient) in self.shown.items():
            if picture not in told:
                rows.append((image_id, None, "unknown", None, None, None, None, None, None))
                continue
            known, reference = told[picture]
            x = 0.75 if mirrored else 0.25
            source = "record" if patient else "copy"
            rows.append((image_id, known, source, reference, label[reference], x, 0.5, 0.2, 0.1))
        return cast("patients", rows)

    def _conflicts(self, images, patients):
        told = dict(zip(patients["image_id"], patients["reference_label"], strict=True))
        return cast(
            "conflicts",
            [
                (row["image_id"], row["collection"], row["path"], "reference", row["label"],
                 sorted({row["label"], told[row["image_id"]]}), told[row["image_id"]], told[row["image_id"]],
                 "the reference decides", True)
                for row in images.to_dict("records")
                if isinstance(told[row["image_id"]], str) and told[row["image_id"]] != row["label"]
            ],
        )  # fmt: skip

    def _pairs(self, images):
        by_picture = {}
        for image_id in sorted(self.shown):
            by_picture.setdefault(self.shown[image_id][0], []).append(image_id)
        rows = []
        for own in by_picture.values():
            for other in own[1:]:
                turned = self.shown[own[0]][1] != self.shown[other][1]
                score = 0.95 + (int(other[:4], 16) % 50) / 1000
                rows.append(
                    (
                        own[0],
                        other,
                        turned,
                        0,
                        MIRROR if turned else UPRIGHT,
                        score,
                        None,
                        "ncc",
                        "copy",
                        "high",
                    )
                )
        heads = sorted(own[0] for own in by_picture.values())
        for k, (first, second) in enumerate(pairwise(heads)):
            score = 0.84 if k < 2 else 0.30 + (int(second[:4], 16) % 480) / 1000
            verdict = "review" if k < 2 else "rejected"
            rows.append((first, second, False, 0, UPRIGHT, score, score - 0.1, "aligned", verdict, "low"))
        home = {row["image_id"]: f"{row['collection']}/{row['path']}" for row in images.to_dict("records")}
        review = [
            (
                row[0],
                row[1],
                home[row[0]],
                home[row[1]],
                "glioma",
                None,
                row[5],
                row[6],
                "reject" if k else None,
                None,
                None,
            )
            for k, row in enumerate(row for row in rows if row[8] == "review")
        ]
        return cast("pairs", rows), cast("review", review)

    def _split(self, name, files, images, groups, pictures):
        group = dict(zip(groups["image_id"], groups["group_id"], strict=True))
        shown = dict(zip(pictures["image_id"], pictures["picture_id"], strict=True))
        if name == "published":
            kept = files[files["reason"].isna() & files["published_split"].notna()]
            rows = [
                (row["md5"], row["collection"], row["path"], row["label"], row["published_split"],
                 "as published", None, None)
                for row in kept.to_dict("records")
            ]  # fmt: skip
            return cast("splits", rows)
        rows, seen = [], {}
        for row in images.to_dict("records"):
            image_id = row["image_id"]
            rank = seen[shown[image_id]] = seen.get(shown[image_id], -1) + 1
            place = draw_part(group[image_id] if name == "patient" else image_id)
            if name == "patient" and row["path"] == "contradicted.jpg":
                place = "left_out"
            rows.append(
                (
                    image_id,
                    row["collection"],
                    row["path"],
                    row["label"],
                    place,
                    "a rule",
                    shown[image_id],
                    rank,
                )
            )
        return cast("splits", rows)


def fill():
    """Twelve patients with copies, web images of unknown patients, one of each fault."""
    made = Builder()
    for label in TUMOURS:
        for head in range(4):
            for k in range(2):
                name = f"{label}{head}-{k}"
                made.add("reference", f"{name}.jpg", label, picture=name, patient=f"reference:{label}{head}")
                made.add("web_a", f"Training/{name}.jpg", label, picture=name, split="train", mirrored=k == 1)
    for k in range(24):
        label = LABELS[k % 4] if k > 11 else "no_tumor"
        made.add("web_a", f"Training/web{k}.jpg", label, split="train")
        made.add("web_b", f"b{k}.png", label)
    made.add("web_a", "Testing/bytes.jpg", "no_tumor", split="test", bytes_of="web_a/Training/web0.jpg")
    made.add("web_a", "Testing/same.jpg", "no_tumor", split="test", picture="Training/web1.jpg")
    made.add(
        "web_a", "Testing/turned.jpg", "no_tumor", split="test", picture="Training/web2.jpg", mirrored=True
    )
    made.add("reference", "glioma0-9.jpg", "glioma", picture="lonely", patient="reference:glioma0")
    made.add("web_a", "Testing/patient.jpg", "glioma", split="test", picture="lonely")
    made.add("web_a", "Testing/new.jpg", "pituitary", split="test")
    made.add("web_b", "contradicted.jpg", "pituitary", picture="glioma1-0")
    made.add("web_b", "broken <i>.jpg", "glioma", reason="truncated")
    made.add("web_b", "linked.jpg", "glioma", reason="link")
    made.add("web_b", "ct.jpg", "no_tumor", foreign=True)
    return made


@pytest.fixture(scope="session")
def evidence():
    """The evidence; not to be changed (`dataclasses.replace` makes another)."""
    return fill().build()


@pytest.fixture(scope="session")
def facts(evidence):
    """Its facts."""
    from pipeline.audit.gathering import gather_facts

    return gather_facts(evidence)


@pytest.fixture(scope="session")
def gallery(evidence):
    """Its gallery."""
    from pipeline.pages.gallery import Gallery

    return Gallery(evidence.thumbnails, evidence.pictures)


def shuffle(evidence, seed):
    """The same evidence with the rows of every table in another order."""
    tables = {
        name: value.sample(frac=1, random_state=seed)
        for name, value in vars(evidence).items()
        if isinstance(value, pd.DataFrame) and name in Evidence.__dataclass_fields__
    }
    splits = {
        name: split.sample(frac=1, random_state=seed)
        for name, split in sorted(evidence.splits.items(), reverse=True)
    }
    return replace(evidence, **tables, splits=splits)


@pytest.fixture(scope="session")
def kit():
    """What tests build with; a fixture, since test modules cannot import a conftest safely."""
    return SimpleNamespace(
        Builder=Builder, fill=fill, cast=cast, name_image=name_image, paint=paint, shuffle=shuffle,
        upright=UPRIGHT, mirror=MIRROR, collections=COLLECTIONS, describe_collection=describe_collection,
    )  # fmt: skip
