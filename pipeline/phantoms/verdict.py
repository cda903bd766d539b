"""What was planted beside what curation found: the demo's closing lines, and a sharp test."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from pipeline.phantoms.hardening import HARD_STEPS
from pipeline.phantoms.key import (
    Key,
    contradicting_images,
    hard_images,
    known_pictures,
    picture_groups,
    relate_files,
)


@dataclass(frozen=True)
class Verdict:
    """One kind of plant: how many there are, how many were found, how many were found that are none."""

    kind: str
    planted: int
    found: int
    false: int

    @property
    def exact(self) -> bool:
        """Whether all were found and nothing else."""
        return self.planted == self.found and self.false == 0

    def describe(self) -> str:
        """One line for a person."""
        false = f", {self.false} false" if self.false else ""
        return f"planted {self.planted:>4} {self.kind}; found {self.found}{false}"


def judge(
    key: Key,
    quarantine: pd.DataFrame,
    images: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    foreign: pd.DataFrame,
) -> list[Verdict]:
    """Compare the tables of curation with the key, file by file and image by image."""
    return [
        _judge_quarantine(key, quarantine),
        _judge_foreign(key, foreign),
        _judge_duplicates(key, images),
        _judge_copies(key, pictures),
        *(_judge_hard(key, pictures, step) for step in HARD_STEPS),
        _judge_orientations(key, pictures),
        _judge_mirrored_leaks(key, images, pictures),
        _judge_patients(key, patients),
        _judge_contradictions(key, images, patients),
    ]


def _compare(kind: str, planted: Iterable[object], found: Iterable[object]) -> Verdict:
    truth, claim = set(planted), set(found)
    return Verdict(kind, len(truth), len(truth & claim), len(claim - truth))


def _judge_quarantine(key: Key, quarantine: pd.DataFrame) -> Verdict:
    planted = [(file.collection, file.path, file.quarantine) for file in key.files if file.quarantine]
    found = zip(quarantine["collection"], quarantine["path"], quarantine["reason"], strict=True)
    return _compare("files to set aside (broken, empty, masks, litter)", planted, found)


def _judge_foreign(key: Key, foreign: pd.DataFrame) -> Verdict:
    planted = [(file.md5, file.foreign) for file in key.files if file.foreign]
    found = zip(foreign["image_id"], foreign["kind"], strict=True)
    return _compare("images that are no MR slice (photographs, screenshots, CT, …)", planted, found)


def _judge_duplicates(key: Key, images: pd.DataFrame) -> Verdict:
    seen: set[str] = set()
    planted = []
    for file in key.images():
        if file.md5 in seen:
            planted.append(file.md5)
        seen.add(file.md5)
    found = [row["image_id"] for row in images.to_dict("records") if len(row["members"]) > 1]
    return _compare("images with byte-identical files", planted, found)


def _judge_copies(key: Key, pictures: pd.DataFrame) -> Verdict:
    truth = {md5: picture for picture, members in picture_groups(key).items() for md5 in members}
    size = {picture: len(members) for picture, members in picture_groups(key).items()}
    claim = dict(zip(pictures["image_id"], pictures["picture_id"], strict=True))
    planted = [md5 for md5, picture in truth.items() if size[picture] > 1]
    together: dict[str, set[str]] = {}
    for md5, picture in truth.items():
        together.setdefault(claim.get(md5, md5), set()).add(picture)
    found = [md5 for md5 in planted if _is_whole(md5, truth, claim, picture_groups(key))]
    glued = sum(len(shown) - 1 for shown in together.values())
    return Verdict("images that are copies of another picture", len(planted), len(found), glued)


def _is_whole(
    md5: str, truth: dict[str, str], claim: dict[str, str], groups: dict[str, frozenset[str]]
) -> bool:
    return len({claim.get(member) for member in groups[truth[md5]]}) == 1


def _judge_hard(key: Key, pictures: pd.DataFrame, step: str) -> Verdict:
    """An image is found where its picture is that of another image of the same truth, of none of another."""
    truth = {md5: picture for picture, members in picture_groups(key).items() for md5 in members}
    claim = dict(zip(pictures["image_id"], pictures["picture_id"], strict=True))
    together: dict[str, list[str]] = {}
    for md5 in truth:
        together.setdefault(claim.get(md5, md5), []).append(md5)
    planted = hard_images(key, step)
    joined = {md5: {truth[one] for one in together[claim.get(md5, md5)] if one != md5} for md5 in planted}
    found = [md5 for md5, shown in joined.items() if truth[md5] in shown]
    false = sum(bool(shown - {truth[md5]}) for md5, shown in joined.items())
    return Verdict(f"images that are {step} copies", len(planted), len(found), false)


def _judge_orientations(key: Key, pictures: pd.DataFrame) -> Verdict:
    """Images that are mirrored or turned against the one that stands for their picture."""
    files = {file.md5: file for file in key.images()}
    planted, found = [], []
    for row in pictures.to_dict("records"):
        first, own = files.get(row["representative"]), files.get(row["image_id"])
        claim = (bool(row["mirrored"]), int(row["turned"]))
        if first is None or own is None or first.picture != own.picture:
            continue
        planted.append((own.md5, relate_files(first, own)))
        found.append((own.md5, claim))
    return _compare(
        "joined images that are mirrored or turned",
        (one for one in planted if one[1] != (False, 0)),
        (one for one in found if one[1] != (False, 0)),
    )


def _judge_mirrored_leaks(key: Key, images: pd.DataFrame, pictures: pd.DataFrame) -> Verdict:
    planted = []
    kept = key.images()
    for collection in key.collections:
        own = [file for file in kept if file.collection == collection]
        turns: dict[str | None, set[bool]] = {}
        for file in own:
            if file.published_split == "train":
                turns.setdefault(file.picture, set()).add(file.mirrored)
        planted += [
            (collection, file.md5)
            for file in own
            if file.published_split == "test" and turns.get(file.picture) == {not file.mirrored}
        ]
    return _compare(
        "published test images with only mirrored twins in training",
        planted,
        _find_mirrored(images, pictures),
    )


def _find_mirrored(images: pd.DataFrame, pictures: pd.DataFrame) -> list[tuple[str, str]]:
    shown = {
        row["image_id"]: (row["picture_id"], bool(row["mirrored"])) for row in pictures.to_dict("records")
    }
    members = [
        (member["collection"], member["published_split"], row["image_id"])
        for row in images.to_dict("records")
        for member in row["members"]
    ]
    turns: dict[tuple[str, str], set[bool]] = {}
    for collection, split, image_id in members:
        if split == "train":
            picture, mirrored = shown[image_id]
            turns.setdefault((collection, picture), set()).add(mirrored)
    return [
        (collection, image_id)
        for collection, split, image_id in members
        if split == "test" and turns.get((collection, shown[image_id][0])) == {not shown[image_id][1]}
    ]


def _judge_patients(key: Key, patients: pd.DataFrame) -> Verdict:
    known = known_pictures(key)
    planted = {file.md5 for file in key.images() if file.picture in known}
    return _compare(
        "images whose patient the reference knows",
        planted,
        patients.loc[patients["patient_id"].notna(), "image_id"],
    )


def _judge_contradictions(key: Key, images: pd.DataFrame, patients: pd.DataFrame) -> Verdict:
    known = known_pictures(key)
    planted = {file.md5 for file in key.images() if file.picture in known} & contradicting_images(key)
    reference = dict(zip(patients["image_id"], patients["reference_label"], strict=True))
    found = [
        row["image_id"]
        for row in images.to_dict("records")
        if isinstance(reference.get(row["image_id"]), str)
        and any(label != reference[row["image_id"]] for label in row["labels"])
    ]
    return _compare("images filed under another class than the reference's", planted, found)
