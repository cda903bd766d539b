"""Each file once, no link followed, nothing lost without a word."""

import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest

from pipeline.collections import files
from pipeline.collections.files import FoundFile, list_files, read_whole
from pipeline.errors import DecodeError, SourceError


def test_files_are_listed_once_sorted_by_path(tmp_path: Path) -> None:
    for path in ("b/2.jpg", "b/10.jpg", "a.jpg", "b-c/1.jpg", "é/1.jpg", ".git/x"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "empty").mkdir()
    found = [file.path for file in list_files(tmp_path)]
    assert found == [".git/x", "a.jpg", "b-c/1.jpg", "b/10.jpg", "b/2.jpg", "é/1.jpg"]


def test_links_are_recorded_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.jpg").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "file.jpg").symlink_to("real/1.jpg")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    found = {file.path: file.reason for file in list_files(tmp_path)}
    expected = dict.fromkeys(["folder", "loop", "file.jpg", "broken.jpg"], "link")
    assert found == expected | {"real/1.jpg": None}


def test_pipes_and_sockets_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    os.mkfifo("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        found = list_files(tmp_path)
    assert [(file.path, file.reason) for file in found] == [
        ("pipe.jpg", "unreadable"),
        ("socket.jpg", "unreadable"),
    ]
    with pytest.raises(DecodeError, match="a pipe, socket or device"):
        read_whole(tmp_path / "pipe.jpg")


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert list_files(tmp_path) == [
        FoundFile("caf\\xe9.jpg", "unreadable", "its name is not UTF-8; rename the file")
    ]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone.*cannot be listed \(No such file"):
        list_files(tmp_path / "gone")


def test_bytes_come_back_whole(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert read_whole(tmp_path / "x") == b"abc" * 1000


def test_a_link_or_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (tmp_path / "link").symlink_to("x")
    for name in ("link", "gone"):
        with pytest.raises(DecodeError) as caught:
            read_whole(tmp_path / name)
        assert caught.value.reason == "unreadable"


def test_a_file_whose_size_is_not_its_content_is_unreadable() -> None:
    path = Path("/proc/self/status")  # claims 0 bytes and gives more: as a file that grows does
    if not path.is_file():
        pytest.skip("no /proc here")
    with pytest.raises(DecodeError, match="changed while it was read") as caught:
        read_whole(path)
    assert caught.value.reason == "unreadable"


def test_a_file_that_grows_while_it_is_read_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    fstat, calls = os.fstat, []

    def grow(handle: int) -> os.stat_result:
        found = fstat(handle)
        if not calls:
            with (tmp_path / "x").open("ab") as stream:
                stream.write(b"d")
        calls.append(handle)
        return found

    monkeypatch.setattr(files.os, "fstat", grow)
    with pytest.raises(DecodeError, match="changed while it was read"):
        read_whole(tmp_path / "x")


def test_a_file_that_is_written_over_while_it_is_read_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    fstat, calls = os.fstat, []

    def write_over(handle: int) -> os.stat_result:
        if calls:
            (tmp_path / "x").write_bytes(b"xyz")
            os.utime(tmp_path / "x", ns=(0, 0))
        calls.append(handle)
        return fstat(handle)

    monkeypatch.setattr(files.os, "fstat", write_over)
    with pytest.raises(DecodeError, match="changed while it was read"):
        read_whole(tmp_path / "x")


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "x").chmod(0)
    if os.access(tmp_path / "x", os.R_OK):  # root reads everything: have the system say no

        def refuse(*_arguments: object) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(DecodeError, match="cannot be read: Permission denied") as caught:
        read_whole(tmp_path / "x")
    assert caught.value.reason == "unreadable"


def test_folders_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a"] * 400)
    deep.mkdir(parents=True)
    (deep / "1.jpg").write_bytes(b"abc")
    [found] = list_files(tmp_path)
    assert found == FoundFile("a/" * 400 + "1.jpg")
    assert read_whole(tmp_path / found.path) == b"abc"


def test_folders_deeper_than_any_path_are_an_error_not_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(25):  # 25 × 200 letters: more than the 4,096 that a path can have
        Path("a" * 200).mkdir()
        monkeypatch.chdir("a" * 200)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"cannot be listed \(File name too long\)"):
        list_files(tmp_path)
    subprocess.run(["rm", "-rf", "a" * 200], check=True)  # Python's own removal fails on it


def test_a_file_beyond_any_slice_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    (tmp_path / "ten").write_bytes(b"0" * 10)
    (tmp_path / "eleven").write_bytes(b"0" * 11)
    assert len(read_whole(tmp_path / "ten")) == 10
    with pytest.raises(DecodeError) as caught:
        read_whole(tmp_path / "eleven")
    assert (caught.value.reason, caught.value.detail) == ("too_large", "11 bytes; at most 10")
