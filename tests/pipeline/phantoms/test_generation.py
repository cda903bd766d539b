"""The whole world: same seed same bytes, every file in the key, nothing that the readers see otherwise."""

import hashlib
from pathlib import Path

import pytest

from pipeline.catalog import load_catalog
from pipeline.collections.figshare import describe_slice
from pipeline.collections.reader import add_entry, read_collection
from pipeline.digests import digest_file, digest_tree
from pipeline.errors import DecodeError, SettingsError
from pipeline.imaging.decode import decode_image
from pipeline.phantoms import Key, generate, read_key
from pipeline.phantoms.generation import plan_files

CATALOG = load_catalog()


def list_digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): digest_file(path) for path in root.rglob("*") if path.is_file()
    }


def test_same_seed_same_bytes_whatever_the_workers(root: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", scale=0.15, workers=2)
    assert digest_tree(list_digests(tmp_path / "again")) == digest_tree(list_digests(root))


def test_another_seed_shows_other_pictures(root: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", seed=1, scale=0.15)
    here, there = list_digests(root), list_digests(tmp_path / "other")
    images = {digest for path, digest in here.items() if path.endswith((".jpg", ".png", ".mat"))}
    empty = hashlib.sha256(b"").hexdigest()
    assert not (images & set(there.values())) - {empty}
    assert len(set(there) & set(here)) > 20, "names and layout stay"


def test_key_accounts_for_every_file_to_the_byte(root: Path, key: Key) -> None:
    told = {f"{file.collection}/{file.path}" for file in key.files}
    assert told | {"key.json"} == set(list_digests(root))
    assert len(told) == len(key.files)
    for file in key.files:
        data = (root / file.collection / file.path).read_bytes()
        assert (file.bytes, file.md5) == (len(data), hashlib.md5(data).hexdigest())


def test_key_is_sorted_and_reads_back(root: Path, key: Key) -> None:
    places = [(file.collection, file.path) for file in key.files]
    assert places == sorted(places)
    assert read_key(root / "key.json") == key


@pytest.mark.parametrize("name", sorted(CATALOG.collections))
def test_readers_see_what_the_key_says(root: Path, key: Key, name: str) -> None:
    planted = {file.path: file for file in key.files if file.collection == name}
    records = read_collection(root / name, CATALOG.collections[name])
    assert {record.path for record in records} == set(planted)
    for listed in records:
        record = listed
        file = planted[record.path]
        if record.inside:
            entry = describe_slice((root / name / record.path).read_bytes())
            record = add_entry(record, entry, CATALOG.collections[name])
        reason = record.reason
        if reason is None:
            try:
                decode_image((root / name / record.path).read_bytes(), record.path)
                said = (record.published_split, record.published_label, record.patient)
                assert said == (file.published_split, file.published_label, file.pid)
            except DecodeError as error:
                reason = error.reason
        assert reason == file.quarantine, record.path
        if record.box is not None:
            assert record.box == pytest.approx(file.box, abs=0.02)


@pytest.mark.parametrize("name", sorted(CATALOG.collections))
def test_labels_are_spelled_as_in_the_catalog(key: Key, name: str) -> None:
    spelled = CATALOG.collections[name].labels
    images = key.images(name)
    assert {file.published_label for file in images} <= set(spelled)
    assert {spelled[file.published_label or ""] for file in images} == set(spelled.values())
    for file in (image for image in images if not image.foreign):
        assert (spelled[file.published_label or ""] != file.label) == file.contradicts, file.path


def test_plans_do_not_depend_on_what_was_planned_before() -> None:
    first = plan_files(seed=3, scale=0.15)
    plan_files(seed=4, scale=0.15)
    assert plan_files(seed=3, scale=0.15) == first


def test_a_larger_world_is_larger() -> None:
    assert 1400 <= len(plan_files(seed=0, scale=1.0)) <= 1700


@pytest.mark.parametrize(("option", "value"), [("scale", 0.0), ("scale", 21.0), ("workers", 0)])
def test_options_out_of_range_are_refused(tmp_path: Path, option: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"phantoms: {option} is"):
        generate(tmp_path / "no", **{option: value})  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SettingsError, match="not empty"):
        generate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
