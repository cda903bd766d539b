"""A write that fails, or is killed, leaves the old file or the new one, never a part of either."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.atomic import replacing_file, replacing_folder, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_are_written_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "er" / "a", b"\x00\xff")
    write_text(tmp_path / "deep" / "b", "é\n")
    assert (tmp_path / "deep/er/a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "deep/b").read_bytes() == "é\n".encode()
    assert names(tmp_path / "deep") == ["b", "er"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError, match="half way"), replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("ne")
        assert (tmp_path / "a").read_text() == "old"
        raise RuntimeError("half way")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_block_that_writes_nothing_is_an_error_not_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


def test_the_temporary_file_lies_beside_its_target_and_is_hidden(tmp_path: Path) -> None:
    with replacing_file(tmp_path / "table.parquet") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".table.parquet.")
        assert temporary.suffix == ".part"


def test_many_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    texts = [str(number) * 50_000 for number in range(8)]
    writers = [threading.Thread(target=write_text, args=(tmp_path / "a", text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "a").read_text() in texts
    assert names(tmp_path) == ["a"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "raw") as temporary:
        (temporary / "1").write_text("x")
        assert not (tmp_path / "raw").exists()
    assert (tmp_path / "raw/1").read_text() == "x"
    assert names(tmp_path) == ["raw"]


def test_a_failed_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "raw") as temporary:
        (temporary / "1").write_text("x")
        raise RuntimeError("half way")
    assert names(tmp_path) == []


def test_a_folder_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/old").touch()
    with (
        pytest.raises(FileExistsError, match="exists already; it was left as it is"),
        replacing_folder(tmp_path / "raw") as temporary,
    ):
        (temporary / "new").touch()
    assert names(tmp_path) == ["raw"]
    assert names(tmp_path / "raw") == ["old"]


WRITER = """
import sys
from pathlib import Path
from pipeline.atomic import replacing_file

path, number = Path(sys.argv[1]), 0
print("ready", flush=True)
while True:
    number += 1
    with replacing_file(path) as temporary, temporary.open("wb") as stream:
        for _ in range(200):
            stream.write(str(number % 10).encode() * 10_000)
            stream.flush()
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03, 0.1])
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0" * 2_000_000)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    data = path.read_bytes()
    assert len(data) == 2_000_000
    assert data == data[:1] * 2_000_000, "bytes of two writes in one file"
    left = [name for name in names(tmp_path) if name != "a"]
    assert all(name.endswith(".part") and name.startswith(".") for name in left)
    write_text(path, "next")
    assert path.read_text() == "next"
