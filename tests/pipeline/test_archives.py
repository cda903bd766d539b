"""Hostile, broken and too large archives: refused whole, nothing left; honest ones unpack byte for byte."""

import contextlib
import io
import os
import resource
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pipeline.archives
from pipeline.archives import copy_exactly, find_name_problem, unpack_archive
from pipeline.errors import ArchiveError, SourceError

HONEST = {
    "Training/glioma/a (1).jpg": b"\xff\xd8 picture",
    "Training/glioma/b.jpg": b"",
    "README.txt": b"text",
}


def write_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip whose names stand in it exactly as given; zipfile would tidy some of them."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.compress_type = method
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return path


def write_entry(path: Path, mode: int, name: str = "odd", data: bytes = b"/etc/passwd") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, data)
    return path


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refuse(archive: Path, kind: type[SourceError] = ArchiveError, **limits: float) -> str:
    """Demand an error of exactly this kind that leaves nothing, and that an honest archive then works."""
    place = archive.parent / "raw"
    place.mkdir()
    with pytest.raises(SourceError) as caught:
        unpack_archive(archive, place / "collection", **limits)
    assert type(caught.value) is kind
    assert list(place.iterdir()) == []
    unpack_archive(write_zip(archive.parent / "honest.zip", HONEST), place / "collection")
    assert read_tree(place / "collection") == HONEST
    return str(caught.value)


def test_unpacks_every_byte_and_nothing_else(tmp_path: Path) -> None:
    unpack_archive(write_zip(tmp_path / "a.zip", HONEST), tmp_path / "raw" / "collection")
    assert read_tree(tmp_path / "raw" / "collection") == HONEST
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["collection"]


def test_keeps_names_in_any_script_and_empty_folders(tmp_path: Path) -> None:
    names = [
        "мозг/срез 1.png",
        "脳/腫瘍.png",
        "دماغ/صورة.png",
        "é/ñ…🧠.png",
        unicodedata.normalize("NFD", "ü.png"),
    ]
    entries = {name: name.encode() for name in names} | {"empty/": b""}
    unpack_archive(write_zip(tmp_path / "a.zip", entries), tmp_path / "out")
    assert read_tree(tmp_path / "out") == {name: name.encode() for name in names}
    assert (tmp_path / "out" / "empty").is_dir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "`..`"),
        ("a/../../evil", "`..`"),
        ("a/..", "`..`"),
        ("/etc/evil", "absolute"),
        ("//server/evil", "absolute"),
        ("C:evil", "drive letter"),
        ("c:/evil", "drive letter"),
        ("a\\..\\evil", "backslash"),
        ("\\evil", "backslash"),
        ("a\nb", "control"),
        ("a//b", "empty part"),
        ("./a", "empty part"),
        ("a/" + "脳" * 86, "longer than 255 bytes"),
    ],
)
def test_refuses_names_that_lead_elsewhere(tmp_path: Path, name: str, reason: str) -> None:
    message = refuse(write_zip(tmp_path / "a.zip", {"fine": b"1", name: b"2"}))
    assert reason in message
    assert "Nothing was unpacked" in message


def test_refuses_a_name_cut_by_a_null(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a!/../b": b"2"})
    archive.write_bytes(archive.read_bytes().replace(b"a!/../b", b"a\0/../b"))
    assert "control" in refuse(archive)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "a link"),
        (stat.S_IFIFO | 0o644, "neither a file nor a folder"),
        (stat.S_IFCHR | 0o644, "neither a file nor a folder"),
    ],
)
def test_refuses_links_and_devices(tmp_path: Path, mode: int, reason: str) -> None:
    assert reason in refuse(write_entry(tmp_path / "a.zip", mode))


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "A.PNG"),
        ("straße", "STRASSE"),
        (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
        ("d/", "D/"),
    ],
)
def test_refuses_names_that_are_one_on_another_system(tmp_path: Path, names: tuple[str, str]) -> None:
    entries = dict.fromkeys(names, b"")
    assert "two entries for one path" in refuse(write_zip(tmp_path / "a.zip", entries))


def test_refuses_one_name_twice(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"one": b"1", "two": b"2"})
    archive.write_bytes(archive.read_bytes().replace(b"two", b"one"))
    assert "two entries for one path" in refuse(archive)


@pytest.mark.parametrize(
    "entries", [{"a": b"1", "A/b": b"2"}, {"a/b": b"1", "a": b"2"}, {"a/": b"", "a": b"1"}]
)
def test_refuses_a_file_that_is_also_a_folder(tmp_path: Path, entries: dict[str, bytes]) -> None:
    assert "a file and a folder at once" in refuse(write_zip(tmp_path / "a.zip", entries))


def test_refuses_a_folder_that_carries_bytes(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"folder!": b"hidden"})
    archive.write_bytes(archive.read_bytes().replace(b"folder!", b"folder/"))
    assert "carries bytes" in refuse(archive)


def test_refuses_a_bomb_by_ratio(tmp_path: Path) -> None:
    assert "a bomb" in refuse(write_zip(tmp_path / "a.zip", {"zeros": bytes(20_000_000)}))


def test_refuses_more_bytes_or_files_than_allowed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": os.urandom(2000), "b": os.urandom(2000)})
    assert "more than the 3,999 allowed" in refuse(archive, max_bytes=3999)
    other = tmp_path / "other"
    other.mkdir()
    assert "2 entries, more than the 1" in refuse(archive.rename(other / "a.zip"), max_files=1)


def test_refuses_an_entry_that_declares_less_than_it_holds(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"liar": bytes(5_000_000)})
    data = archive.read_bytes()
    assert data.count((5_000_000).to_bytes(4, "little")) == 2
    archive.write_bytes(data.replace((5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert "Bad CRC-32" in refuse(archive)


def test_refuses_an_entry_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"liar": b"x" * 3000})
    archive.write_bytes(
        archive.read_bytes().replace((3000).to_bytes(4, "little"), (3999).to_bytes(4, "little"))
    )
    assert "3,000 of the 3,999 bytes" in refuse(archive)


def test_copy_stops_at_the_first_byte_too_many() -> None:
    sink = io.BytesIO()
    with pytest.raises(zipfile.BadZipFile, match="more than the 10 bytes"):
        copy_exactly(io.BytesIO(b"x" * 11), sink, 10)
    assert sink.getvalue() == b""


def test_refuses_encrypted_entries(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"secret": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    assert "encrypted" in refuse(archive)


def test_refuses_methods_other_than_stored_and_deflated(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": b"1"}, zipfile.ZIP_BZIP2)
    assert "allowed: stored, deflated" in refuse(archive)


def test_names_what_a_file_is_that_is_no_zip(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"<!DOCTYPE html><p>Sign in</p>")
    assert "<!DOCTYPE html>" in refuse(archive)


def test_refuses_a_missing_archive(tmp_path: Path) -> None:
    assert "No such file" in refuse(tmp_path / "a.zip")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_refuses_a_truncated_archive(tmp_path: Path, share: float) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"{number}.png": os.urandom(500) for number in range(20)})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    assert "Fetch it again" in refuse(archive)


def test_refuses_a_flipped_byte(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": b"a" * 100, "b": os.urandom(1000)}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[900] ^= 1
    archive.write_bytes(data)
    assert "Bad CRC-32" in refuse(archive)


def test_never_writes_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError, match="move it away"):
        unpack_archive(write_zip(tmp_path / "a.zip", HONEST), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@contextlib.contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """The kernel refuses longer files meanwhile, as a quota or a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_hit_while_writing_leaves_nothing(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"small": b"1", "large": os.urandom(300_000)})
    place = tmp_path / "raw"
    place.mkdir()
    with limit_file_size(100_000), pytest.raises(SourceError) as caught:
        unpack_archive(archive, place / "collection")
    assert type(caught.value) is SourceError
    assert "300,001 bytes are needed" in str(caught.value)
    assert "FALX_HOME" in str(caught.value)
    assert list(place.iterdir()) == []
    unpack_archive(archive, place / "collection")
    assert (place / "collection" / "large").stat().st_size == 300_000


def test_asks_for_room_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", HONEST)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
        with pytest.raises(SourceError, match=r"14 bytes are needed, 5 are free") as caught:
            unpack_archive(archive, tmp_path / "raw" / "collection")
    assert type(caught.value) is SourceError
    assert not (tmp_path / "raw").exists()
    unpack_archive(archive, tmp_path / "raw" / "collection")


NAMES = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.lists(st.sampled_from(["..", ".", "", "a", "A", "b", "\\", "/", "C:", "\0", "é"]), max_size=5).map(
            "/".join
        ),
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(names=NAMES)
@example(names=["../evil"])
@example(names=["/evil"])
@settings(max_examples=150, deadline=None)
def test_no_name_is_ever_written_outside(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        entries = {name: str(number).encode() for number, name in enumerate(names)}
        try:
            archive = write_zip(root / "a.zip", entries)
        except (UnicodeEncodeError, ValueError):
            return
        with contextlib.suppress(ArchiveError):
            unpack_archive(archive, root / "raw" / "deep" / "collection")
        kept = read_tree(root)
        del kept["a.zip"]
        written = {f"raw/deep/collection/{name}": data for name, data in entries.items() if name[-1:] != "/"}
        assert kept in ({}, written)


@given(name=st.text(min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_name_without_a_problem_stays_inside(name: str) -> None:
    if find_name_problem(name) is None:
        assert os.path.normpath(f"/root/{name}").startswith("/root/")


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_an_archive_error_or_harmless(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        archive = write_zip(root / "a.zip", HONEST | {"c": b"abc" * 50})
        raw = bytearray(archive.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        archive.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
        try:
            unpack_archive(archive, root / "raw" / "collection")
        except ArchiveError:
            assert not (root / "raw").exists() or list((root / "raw").iterdir()) == []
        else:
            assert [path.name for path in (root / "raw").iterdir()] == ["collection"]
        assert {path.name for path in root.iterdir()} <= {"a.zip", "raw"}
