"""The lock file: first trust, verification ever after, and differences that are named by their files."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog import Collection, Counts
from pipeline.errors import LockError, SourceError
from pipeline.lock import (
    LockEntry,
    check_counts,
    compare_entries,
    compare_lists,
    count_images,
    list_path,
    measure_folder,
    read_list,
    read_lock,
    trust_or_verify,
)


def make_collection(name: str = "small", version: int = 3, **counts: int) -> Collection:
    return Collection.model_validate(
        {
            "name": name,
            "title": "Small",
            "description": "for tests",
            "source": {"kaggle": {"slug": f"owner/{name}", "version": version}},
            "licence": {"stated": "CC0-1.0", "redistribute": "yes"},
            "citation": "Somebody. Small. 2026.",
            "layout": {
                "reader": "class_folders",
                "folders": [{"path": "Training", "split": "train"}, {"path": "Testing", "split": "test"}],
            },
            "labels": {"glioma": "glioma"},
            "counts": counts,
        }
    )


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


FILES = {
    "Training/glioma/b.jpg": b"two",
    "Training/glioma/a.jpg": b"one",
    ".hidden": b"",
    "срез 脳.png": b"4",
}


def test_measures_every_file(tmp_path: Path) -> None:
    entry = measure_folder(fill(tmp_path / "raw", FILES), make_collection(), fetched=True)
    assert (entry.slug, entry.version, entry.files, entry.bytes) == ("owner/small", 3, 4, 7)
    assert (entry.licence, entry.citation) == ("CC0-1.0", "Somebody. Small. 2026.")
    lines = sorted(f"{name}\t{hashlib.sha256(data).hexdigest()}\n" for name, data in FILES.items())
    assert entry.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_digest_does_not_drift(tmp_path: Path) -> None:
    entry = measure_folder(fill(tmp_path / "raw", {"a.jpg": b"one", "b/c.jpg": b"two"}), make_collection())
    assert entry.digest == "496904962de8c92bbf04f76089c57cb7126fffbf7b452eedf58320c50326cc88"


def test_a_folder_that_nobody_fetched_claims_no_version(tmp_path: Path) -> None:
    entry = measure_folder(fill(tmp_path / "raw", FILES), make_collection())
    assert (entry.slug, entry.version) == ("small", None)


@given(order=st.permutations(list(FILES)))
@settings(max_examples=20, deadline=None)
def test_measure_depends_on_content_alone(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    folder = fill(tmp_path_factory.mktemp("any"), {name: FILES[name] for name in order})
    first = fill(tmp_path_factory.mktemp("other"), FILES)
    assert measure_folder(folder, make_collection()) == measure_folder(first, make_collection())


def test_links_are_measured_and_never_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", {"big.jpg": b"x" * 100})
    folder = fill(tmp_path / "raw", {"a": b"1"})
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to("a")
    entry = measure_folder(folder, make_collection())
    assert sorted(entry.listing) == ["a", "file", "folder"]
    (folder / "file").unlink()
    (folder / "file").symlink_to("b")
    assert measure_folder(folder, make_collection()).digest != entry.digest


def test_refuses_what_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        measure_folder(tmp_path / "raw", make_collection())
    (tmp_path / "raw" / "empty").mkdir(parents=True)
    with pytest.raises(SourceError, match="no file in it; put the collection 'small' there"):
        measure_folder(tmp_path / "raw", make_collection())
    os.mkfifo(tmp_path / "raw" / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        measure_folder(tmp_path / "raw", make_collection())


@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9.jpg"])
def test_refuses_names_that_no_list_can_hold(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "raw").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "raw") + b"/" + name)).write_bytes(b"1")
    with pytest.raises(SourceError, match="rename the file"):
        measure_folder(tmp_path / "raw", make_collection())


def test_trusts_once_and_verifies_ever_after(tmp_path: Path) -> None:
    lock = tmp_path / "home" / "raw.lock.json"
    entry = measure_folder(fill(tmp_path / "raw", FILES), make_collection(), fetched=True)
    assert trust_or_verify(lock, "small", entry) == "trusted"
    written = lock.read_bytes()
    assert trust_or_verify(lock, "small", entry) == "verified"
    assert lock.read_bytes() == written
    assert read_lock(lock)["small"].model_dump() == entry.model_dump()
    assert read_list(list_path(lock, "small")) == entry.listing
    assert sorted(path.name for path in lock.parent.iterdir()) == ["raw.lock.files", "raw.lock.json"]


def test_lock_file_is_sorted_json_without_the_list(tmp_path: Path) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    for name in ("zebra", "ant"):
        trust_or_verify(lock, name, measure_folder(folder, make_collection(name)))
    data = json.loads(lock.read_text())
    assert list(data) == ["ant", "zebra"]
    assert list(data["ant"]) == ["bytes", "citation", "digest", "files", "licence", "slug", "version"]


def test_a_mismatch_names_fields_files_and_the_way_out(tmp_path: Path) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    trust_or_verify(lock, "small", measure_folder(folder, make_collection(), fetched=True))
    before = lock.read_bytes()
    (folder / ".hidden").unlink()
    fill(folder, {"Training/glioma/a.jpg": b"changed"} | {f"new{number}.jpg": b"" for number in range(7)})
    with pytest.raises(LockError) as caught:
        trust_or_verify(lock, "small", measure_folder(folder, make_collection(version=4), fetched=True))
    message = str(caught.value)
    for phrase in (
        "version 3 pinned, 4 found",
        "files 4 pinned, 10 found",
        "bytes 7 pinned, 11 found",
        "digest ",
        "7 added: new0.jpg, new1.jpg, new2.jpg, new3.jpg, new4.jpg and 2 more",
        "1 removed: .hidden",
        "1 changed: Training/glioma/a.jpg",
        str(lock),
        "catalog/datasets/small.yaml",
        "remove the entry 'small'",
    ):
        assert phrase in message
    assert lock.read_bytes() == before


def test_a_changed_byte_is_found_where_counts_and_sizes_agree(tmp_path: Path) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    trust_or_verify(lock, "small", measure_folder(folder, make_collection()))
    fill(folder, {"Training/glioma/a.jpg": b"onE"})
    with pytest.raises(LockError) as caught:
        trust_or_verify(lock, "small", measure_folder(folder, make_collection()))
    assert "1 changed: Training/glioma/a.jpg" in str(caught.value)
    assert "files 4 pinned" not in str(caught.value)
    assert "source.kaggle.version" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["remove", "change"])
def test_a_list_that_does_not_belong_to_the_entry_names_no_files(tmp_path: Path, spoil: str) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    trust_or_verify(lock, "small", measure_folder(folder, make_collection()))
    listed = list_path(lock, "small")
    listed.unlink() if spoil == "remove" else listed.write_text(f"other.jpg\t{'0' * 64}\n")
    fill(folder, {"more.jpg": b"1"})
    with pytest.raises(LockError, match="files 4 pinned, 5 found") as caught:
        trust_or_verify(lock, "small", measure_folder(folder, make_collection()))
    assert "added" not in str(caught.value)


def test_another_licence_text_is_no_other_collection(tmp_path: Path) -> None:
    entry = measure_folder(fill(tmp_path / "raw", FILES), make_collection())
    assert compare_entries(entry, entry.model_copy(update={"licence": "other"})) == []
    assert compare_entries(entry, entry.model_copy(update={"bytes": 8})) == ["bytes 7 pinned, 8 found"]


def test_accepting_on_purpose_works_as_the_message_says(tmp_path: Path) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    trust_or_verify(lock, "small", measure_folder(folder, make_collection()))
    trust_or_verify(lock, "other", measure_folder(folder, make_collection("other")))
    changed = measure_folder(fill(folder, {"more.jpg": b"1"}), make_collection())
    data = json.loads(lock.read_text())
    del data["small"]
    lock.write_text(json.dumps(data))
    assert trust_or_verify(lock, "small", changed) == "trusted"
    assert trust_or_verify(lock, "small", changed) == "verified"
    assert set(read_lock(lock)) == {"small", "other"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"small": {"slug": "a"}}', '{"small": {"files": "many"}}'])
def test_refuses_a_lock_file_that_it_did_not_write(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "raw.lock.json"
    lock.write_text(text)
    with pytest.raises(LockError, match="Restore it from a backup"):
        read_lock(lock)


def test_collections_are_trusted_side_by_side(tmp_path: Path) -> None:
    lock = tmp_path / "raw.lock.json"
    folder = fill(tmp_path / "raw", FILES)
    names = [f"collection{number}" for number in range(16)]
    entries = [measure_folder(folder, make_collection(name)) for name in names]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda name, entry: trust_or_verify(lock, name, entry), names, entries))
    assert verdicts == ["trusted"] * 16
    assert sorted(read_lock(lock)) == sorted(names)


PATHS = st.dictionaries(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from("abc"),
    max_size=6,
)


@given(listing=PATHS)
@settings(max_examples=30, deadline=None)
def test_lists_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, listing: dict[str, str]
) -> None:
    lock = tmp_path_factory.mktemp("home") / "raw.lock.json"
    entry = LockEntry(
        slug="small",
        version=None,
        files=1,
        bytes=0,
        digest="0" * 64,
        licence="",
        citation="",
        listing=listing,
    )
    trust_or_verify(lock, "small", entry)
    assert read_list(list_path(lock, "small")) == listing


@given(pinned=PATHS, found=PATHS)
def test_lists_differ_exactly_where_they_are_unequal(pinned: dict[str, str], found: dict[str, str]) -> None:
    assert (compare_lists(pinned, found) == []) == (pinned == found)


def test_counts_are_compared_where_the_catalog_asserts_them() -> None:
    collection = make_collection(train=5712, total=7023)
    assert check_counts(collection, Counts(train=5712, test=9, total=7023)) == []
    assert check_counts(collection, Counts(train=5708, test=9, total=7023)) == [
        "small: 5,708 training images found, where the catalog asserts 5,712 (counts.train)."
    ]
    assert len(check_counts(collection, Counts())) == 2
    assert check_counts(make_collection(), Counts(train=1, test=2, total=3)) == []


def test_counts_images_as_the_reader_sees_them(tmp_path: Path) -> None:
    files = {
        "Training/glioma/a.jpg": b"1",
        "Training/glioma/b.jpg": b"2",
        "Testing/glioma/c.jpg": b"3",
        ".x": b"",
    }
    found = count_images(fill(tmp_path / "raw", files), make_collection())
    assert (found.train, found.test, found.total) == (2, 1, 3)
