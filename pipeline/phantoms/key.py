"""The key: what was planted where, so that tests and the demo can say how much of it was found."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import SourceError
from pipeline.labels import Label
from pipeline.phantoms.distortions import IDENTITY, Transform

Unit = Literal["images", "files"]
Scope = Literal["own", "all"]

KEY_NAME = "key.json"


class Planted(BaseModel):
    """One file that was written, and the truth about it.

    Args:
        md5: of the file's bytes, in hex: the image it is.
        picture: the rendered slice that it shows; several files can show one. None for litter; a foreign
            image has one of its own.
        patient: the true person, also where the collection does not tell; None for litter and foreign images.
        pid: patient id as the collection spells it, where it tells.
        label: true label, None for litter and foreign images; published_label: as the collection spells it.
        mirrored: left to right, against the picture as it was rendered.
        turned: then turned counter-clockwise against it: 0, 90, 180 or 270 degrees.
        transform: (x, y) of the rendered picture lies at (ax + by + c, dx + ey + f) in the file; fractions.
        how: original (the picture's first file), or what was done to the file that it was copied from: bytes,
            re-encoded, re-scaled, mirrored, re-brightened, truncated, and the hard ones: rotated, cropped,
            bordered, turned, equalised, blurred; mask, litter and foreign are no slices.
        box: the tumour's box in the file's own pixels: centre x, centre y, width, height, as fractions.
        quarantine: the reason for which curation has to set it aside, one of QUARANTINE_REASONS.
        contradicts: filed under a class that is not the true one.
        foreign: what an image that is no MR slice shows: photograph, screenshot, noise, blank, ct.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str
    path: str
    md5: str
    bytes: int
    picture: str | None = None
    patient: str | None = None
    pid: str | None = None
    label: Label | None = None
    published_label: str | None = None
    published_split: Literal["train", "test"] | None = None
    mirrored: bool = False
    turned: int = 0
    transform: Transform = IDENTITY
    how: tuple[str, ...] = ("original",)
    box: tuple[float, float, float, float] | None = None
    quarantine: str | None = None
    contradicts: bool = False
    foreign: str | None = None


class Key(BaseModel):
    """All files of all collections, sorted by collection and path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    scale: float
    files: tuple[Planted, ...]

    @property
    def collections(self) -> list[str]:
        """Names of the collections, sorted."""
        return sorted({file.collection for file in self.files})

    def images(self, collection: str | None = None) -> list[Planted]:
        """Files that curation has to keep as images, foreign ones included, of one collection or of all."""
        return [
            file for file in self.files if file.quarantine is None and collection in (None, file.collection)
        ]


def read_key(path: Path) -> Key:
    """Read `key.json`.

    Raises:
        SourceError: the file is missing, or is no key.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no key of phantoms; `generate` writes it last, so generate them again")
    try:
        return Key.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SourceError(f"{path}: not a key of phantoms: {error}") from error


class Leaks(BaseModel):
    """Published test images of a collection, and how many have a twin among published training images.

    Args:
        only_mirrored: of `same_picture`, those whose every twin is mirrored against them.
        same_patient: a training image shows the same person, whether or not anything tells so.
        known_patient: as `same_patient`, where both show a picture of the reference, which names patients.
    """

    model_config = ConfigDict(frozen=True)

    total: int
    byte_identical: int
    same_picture: int
    only_mirrored: int
    same_patient: int
    known_patient: int


def count_leaks(key: Key, collection: str, *, scope: Scope = "own", unit: Unit = "images") -> Leaks:
    """Count what a published test set shares with published training sets.

    Args:
        scope: compare with the training folders of the same collection (own) or of all collections.
        unit: count MD5-distinct images (the default) or files.
    """
    kept = key.images()
    tests = [file for file in kept if file.collection == collection and file.published_split == "test"]
    trains = [
        file
        for file in kept
        if file.published_split == "train" and (scope == "all" or file.collection == collection)
    ]
    if unit == "images":
        tests = list({file.md5: file for file in tests}.values())
    md5s = {file.md5 for file in trains}
    turns = defaultdict(set)
    for file in trains:
        turns[file.picture].add(file.mirrored)
    people = {file.patient for file in trains} - {None}
    known = known_pictures(key)
    known_people = {file.patient for file in trains if file.picture in known}
    copied = [file for file in tests if file.picture in turns]
    return Leaks(
        total=len(tests),
        byte_identical=sum(file.md5 in md5s for file in tests),
        same_picture=len(copied),
        only_mirrored=sum(file.mirrored not in turns[file.picture] for file in copied),
        same_patient=sum(file.patient in people for file in tests),
        known_patient=sum(file.picture in known and file.patient in known_people for file in tests),
    )


def known_pictures(key: Key) -> set[str | None]:
    """Pictures whose patient can be known: a file of a collection that names patients shows them."""
    return {file.picture for file in key.images() if file.pid is not None}


def planted_quarantine(key: Key, collection: str | None = None) -> dict[str, int]:
    """Files that curation has to set aside, by reason, of one collection or of all."""
    reasons: Iterable[str] = (
        file.quarantine
        for file in key.files
        if file.quarantine is not None and collection in (None, file.collection)
    )
    return dict(sorted(Counter(reasons).items()))


def planted_copies(key: Key) -> dict[str, int]:
    """Files by what was done to them; a file to which two things were done counts under both."""
    return dict(sorted(Counter(step for file in key.files for step in file.how).items()))


def picture_groups(key: Key) -> dict[str, frozenset[str]]:
    """Picture -> MD5s of all images that show it: what the search for pictures has to find."""
    groups: dict[str, set[str]] = defaultdict(set)
    for file in key.images():
        if file.picture is not None:
            groups[file.picture].add(file.md5)
    return {picture: frozenset(members) for picture, members in sorted(groups.items())}


def hard_images(key: Key, step: str) -> frozenset[str]:
    """MD5s of images to which a hard step (see `hardening.HARD_STEPS`) was done."""
    return frozenset(file.md5 for file in key.images() if step in file.how)


def relate_files(first: Planted, second: Planted) -> tuple[bool, int]:
    """How `second` is turned against `first`: mirrored left–right, then so many degrees counter-clockwise."""
    mirrored = first.mirrored != second.mirrored
    # A mirror between them turns the other way round.
    back = first.turned if mirrored else -first.turned
    return mirrored, (second.turned + back) % 360


def patient_groups(key: Key, *, known_only: bool = False) -> dict[str, frozenset[str]]:
    """Person -> MD5s of all images of them; `known_only` leaves out what no reference slice gives away."""
    known = known_pictures(key)
    groups: dict[str, set[str]] = defaultdict(set)
    for file in key.images():
        if file.patient is not None and (not known_only or file.picture in known):
            groups[file.patient].add(file.md5)
    return {patient: frozenset(members) for patient, members in sorted(groups.items())}


def contradicting_images(key: Key) -> frozenset[str]:
    """MD5s of images of which at least one file is filed under a class that is not the true one."""
    return frozenset(file.md5 for file in key.images() if file.contradicts)
