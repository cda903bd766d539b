"""The key: counts by hand on a small one, and what the small world must hold."""

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import SourceError
from pipeline.labels import LABELS, TUMOURS
from pipeline.phantoms import Key, Planted, read_key
from pipeline.phantoms.hardening import HARD_STEPS
from pipeline.phantoms.key import (
    contradicting_images,
    count_leaks,
    known_pictures,
    patient_groups,
    picture_groups,
    planted_copies,
    planted_quarantine,
)
from pipeline.schemas import QUARANTINE_REASONS

KAGGLE = ("indk214", "masoudnickparvar", "sartajbhuvaji")


def plant(path: str, md5: str, picture: str, patient: str, **more: object) -> Planted:
    split = {"r": "train", "e": "test", "_": None}[path[0]]
    collection = more.pop("collection", "here")
    return Planted.model_validate(
        {
            "collection": collection,
            "path": path,
            "md5": md5,
            "bytes": 9,
            "picture": picture,
            "patient": patient,
        }
        | {"label": "glioma", "published_label": "x", "published_split": split}
        | more
    )


@pytest.fixture
def small() -> Key:
    files = (
        plant("r1", "a", "p1", "ann"),
        plant("r2", "b", "p2", "bob", mirrored=True),
        plant("r3", "c", "p3", "cat"),
        plant("r4", "z", "p9", "zoe", quarantine="hidden"),
        plant("e1", "a", "p1", "ann"),
        plant("e2", "d", "p2", "bob"),
        plant("e3", "e", "p4", "cat"),
        plant("e4", "f", "p5", "dan"),
        plant("e5", "f", "p5", "dan", contradicts=True),
        plant("e6", "g", "p9", "zoe"),
        plant("e7", "h", "p6", "eve", collection="there"),
        plant("r7", "i", "p5", "dan", collection="there"),
        plant("_1", "j", "p3", "cat", collection="named", pid="100"),
        plant("_2", "k", "p4", "cat", collection="named", pid="100"),
    )
    return Key(seed=0, scale=1, files=files)


def test_leaks_are_counted_within_a_collection(small: Key) -> None:
    assert count_leaks(small, "here").model_dump() == {
        "total": 5,
        "byte_identical": 1,
        "same_picture": 2,
        "only_mirrored": 1,
        "same_patient": 3,
        "known_patient": 1,
    }


def test_leaks_are_counted_across_collections_and_by_file(small: Key) -> None:
    leaks = count_leaks(small, "here", scope="all", unit="files")
    assert (leaks.total, leaks.same_picture, leaks.same_patient) == (6, 4, 5)


def test_quarantined_files_are_no_twins(small: Key) -> None:
    assert planted_quarantine(small) == {"hidden": 1}
    assert planted_quarantine(small, "there") == {}
    assert len(small.images("here")) == 9


def test_groups_by_picture_and_patient(small: Key) -> None:
    assert picture_groups(small)["p2"] == {"b", "d"}
    assert patient_groups(small)["dan"] == {"f", "i"}
    assert patient_groups(small, known_only=True) == {"cat": {"c", "e", "j", "k"}}
    assert known_pictures(small) == {"p3", "p4"}
    assert contradicting_images(small) == {"f"}
    assert small.collections == ["here", "named", "there"]


def test_a_missing_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="generate them again"):
        read_key(tmp_path / "key.json")


def test_a_file_that_is_no_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"seed": 0}')
    with pytest.raises(SourceError, match="not a key of phantoms"):
        read_key(tmp_path / "key.json")


def check_quirks(root: Path, key: Key) -> None:
    """Every kind of quirk that the phantoms promise."""
    assert key.collections == ["cheng_figshare", *KAGGLE]
    steps = {"original", "bytes", "re-encoded", "re-scaled", "mirrored", "re-brightened", "mask", "truncated"}
    assert steps | {"litter", "foreign", *HARD_STEPS} == set(planted_copies(key))
    wanted = {"empty", "truncated", "hidden", "not_an_image", "sidecar", "mask"}
    assert wanted == set(planted_quarantine(key)) <= set(QUARANTINE_REASONS)
    for name in ("masoudnickparvar", "sartajbhuvaji"):
        assert wanted - {"sidecar", "mask"} == set(planted_quarantine(key, name))
        assert any(file.path.endswith("/Thumbs.db") for file in key.files if file.collection == name)
        assert sum(file.contradicts for file in key.images(name)) >= 2
    check_copies(key)
    check_encodings(root, key)


def check_copies(key: Key) -> None:
    masoud = count_leaks(key, "masoudnickparvar")
    assert masoud.same_patient >= 0.5 * masoud.total
    assert min(masoud.byte_identical, masoud.only_mirrored, masoud.known_patient) >= 1
    everywhere = count_leaks(key, "masoudnickparvar", scope="all")
    assert everywhere.same_picture >= masoud.same_picture
    crossing = {"re-encoded", "re-scaled", "mirrored", "re-brightened", "bytes"}
    tests = [file for file in key.images("masoudnickparvar") if file.published_split == "test"]
    assert crossing <= {step for file in tests for step in file.how}
    labels = {(file.md5, file.published_label) for file in key.images("masoudnickparvar")}
    assert max(Counter(md5 for md5, _ in labels).values()) == 2, "one image, two labels"


def check_encodings(root: Path, key: Key) -> None:
    modes, sizes, false_names = set(), set(), 0
    for file in key.images():
        path = root / file.collection / file.path
        if path.suffix == ".mat":
            modes.add("MAT")
            continue
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            modes.add(image.mode)
            sizes.add(image.size)
            false_names += image.format == "PNG" and path.suffix == ".jpg"
    assert modes >= {"L", "RGB", "RGBA", "P", "I;16", "MAT"}
    assert (201, 233) in sizes
    assert min(min(size) for size in sizes) >= 128
    assert false_names >= 4


def check_people(key: Key) -> None:
    """Enough people a class for a split by group, and the reference's ids as the hospitals spelled them."""
    for name in key.collections:
        for label in TUMOURS if name == "cheng_figshare" else LABELS:
            people = {file.patient for file in key.images(name) if file.label == label}
            assert len(people) >= 8, (name, label)
    for name in KAGGLE:
        for split in ("train", "test"):
            found = {file.published_label for file in key.images(name) if file.published_split == split}
            assert len(found) == 4, (name, split)
    reference = key.images("cheng_figshare")
    spelled = {
        file.patient: {other.pid for other in reference if other.patient == file.patient}
        for file in reference
    }
    assert any(len(pids) > 1 for pids in spelled.values())
    assert all((file.pid or "").isdigit() for file in reference if file.label != "glioma")
    assert {(file.pid or "")[:2] == "MR" for file in reference if file.label == "glioma"} == {True, False}
    assert all(file.box is not None for file in reference)
    slices = Counter(file.patient for file in reference)
    assert 2 <= min(slices.values()) <= max(slices.values()) <= 8


def test_small_world_holds_every_quirk(root: Path, key: Key) -> None:
    check_quirks(root, key)
    check_people(key)


@pytest.mark.slow
def test_full_world_holds_every_quirk(full_root: Path) -> None:
    key = read_key(full_root / "key.json")
    check_quirks(full_root, key)
    check_people(key)
    assert 1400 <= len(key.files) <= 1700
