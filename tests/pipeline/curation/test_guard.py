"""A decoder that crashes, hangs or eats memory costs one file, never the scan."""

import io
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from PIL import Image

from pipeline.curation import guard, inspection
from pipeline.curation.guard import RISKY, Guard
from pipeline.curation.inspection import inspect_bytes
from pipeline.errors import SourceError
from pipeline.imaging.decode import FORMATS

pytestmark = pytest.mark.filterwarnings("ignore")  # as in the scan and in the guarded process

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8)


def make_matlab(value: int = 0) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file["cjdata/image"] = PIXELS.T.astype(np.int16) + value
        file["cjdata/label"] = [[2.0]]
        file["cjdata/PID"] = np.array([[ord(code)] for code in "MR1"], np.uint16)
    return stream.getvalue()


def make_tiff() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "TIFF")
    return stream.getvalue()


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def misbehave(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Have the guarded process do something else wherever the bytes say so."""
    code = (
        "import os, time, numpy\n"
        "from pipeline.curation import guard\n"
        "inspect = guard.inspect_bytes\n"
        f"def misbehave(data, **options):\n    if b'misbehave' in data:\n        {how}\n"
        "    return inspect(data, **options)\n"
        "guard.inspect_bytes = misbehave\n"
        "guard.serve()\n"
    )
    monkeypatch.setattr(guard, "SERVE", code)


@pytest.mark.parametrize("data", [make_matlab(), make_tiff(), b"II*\0 broken", b"a text", b""])
def test_the_answer_is_that_of_this_process(data: bytes) -> None:
    with Guard(1) as guarded:
        assert guarded.inspect(data) == inspect_bytes(data)
        assert guarded.inspect(data, describe=True) == inspect_bytes(data, describe=True)


def test_a_slice_that_describes_itself_is_described() -> None:
    with Guard(1) as guarded:
        entry = guarded.inspect(make_matlab(), describe=True).entry
    assert entry is not None
    assert (entry.label, entry.patient) == ("2", "MR1")


def test_no_process_is_started_where_no_format_is_risky() -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    before = children()
    with Guard(2) as guarded:
        assert guarded.inspect(stream.getvalue()).format == "PNG"
        assert children() == before
        guarded.inspect(make_tiff())
        assert len(children()) == len(before) + 1
    assert children() == before


def test_risky_formats_are_formats() -> None:
    assert set(RISKY) < set(FORMATS)


def test_many_threads_share_few_processes() -> None:
    before = len(children())
    with Guard(2) as guarded, ThreadPoolExecutor(6) as pool:
        files = [make_matlab(value) for value in range(40)]
        answers = list(pool.map(guarded.inspect, files))
        assert len(children()) - before <= 2
    assert answers == [inspect_bytes(data) for data in files]


@pytest.mark.parametrize(
    ("how", "detail"),
    [
        ("os.kill(os.getpid(), 11)", r"TIFF: its decoder crashed (SIGSEGV)"),
        ("os._exit(7)", r"TIFF: its decoder crashed (exit status 7)"),
        ("raise SystemExit(3)", r"TIFF: its decoder crashed (exit status 3)"),
    ],
)
def test_a_crash_costs_one_file(monkeypatch: pytest.MonkeyPatch, how: str, detail: str) -> None:
    misbehave(monkeypatch, how)
    with Guard(1) as guarded:
        assert guarded.inspect(make_tiff()).format == "TIFF"
        found = guarded.inspect(b"II*\0 misbehave")
        assert (found.reason, found.detail) == ("corrupt", detail)
        assert guarded.inspect(make_tiff()) == inspect_bytes(make_tiff())


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    misbehave(
        monkeypatch,
        "guard.CPU_SECONDS = 1; guard._limit(guard.resource.RLIMIT_CPU, 1)\n        while True: pass",
    )
    with Guard(1) as guarded:
        found = guarded.inspect(b"II*\0 misbehave")
        assert found.reason == "corrupt"
        assert found.detail == f"TIFF: not decoded within {guard.CPU_SECONDS} s"
        assert guarded.inspect(make_tiff()).format == "TIFF"


@pytest.mark.slow
def test_the_time_limit_is_for_one_file_not_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    misbehave(
        monkeypatch, "begin = time.process_time()\n        while time.process_time() < begin + 0.7: pass"
    )
    monkeypatch.setattr(
        guard, "SERVE", guard.SERVE.replace("guard.serve()", "guard.CPU_SECONDS = 2; guard.serve()")
    )
    with Guard(1) as guarded:
        for _ in range(4):
            assert guarded.inspect(b"II*\0 misbehave") == inspect_bytes(b"II*\0 misbehave")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    misbehave(monkeypatch, "numpy.ones(guard.MEMORY_BYTES // 8)")
    with Guard(1) as guarded:
        found = guarded.inspect(b"II*\0 misbehave")
        assert found.detail == "TIFF: its decoder crashed (exit status 1)"  # its MemoryError


def test_a_process_that_was_killed_meanwhile_is_replaced() -> None:
    with Guard(1) as guarded:
        guarded.inspect(make_tiff())
        [child] = [child for child in children() if "guard" in " ".join(child.cmdline())]
        os.kill(child.pid, signal.SIGKILL)
        assert guarded.inspect(make_tiff()) == inspect_bytes(make_tiff())


def test_what_a_library_prints_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    misbehave(monkeypatch, "os.write(1, b'oh'); print('no')")
    with Guard(1) as guarded:
        assert guarded.inspect(b"II*\0 misbehave") == inspect_bytes(b"II*\0 misbehave")


def test_a_process_that_cannot_start_is_an_error_not_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SERVE", "raise SystemExit(5)")
    with Guard(1) as guarded:
        with pytest.raises(SourceError, match=r"TIFF, DICOM, MAT cannot be started \(exit status 5\).*run: "):
            guarded.inspect(make_tiff())
        with pytest.raises(SourceError):  # and the place is free again
            guarded.inspect(make_tiff())


def test_the_processes_end_where_the_scan_fails() -> None:
    before, seen = len(children()), threading.Event()
    with pytest.raises(KeyError), Guard(1) as guarded:
        guarded.inspect(make_tiff())
        seen.set()
        raise KeyError
    assert seen.is_set()
    assert len(children()) == before


def test_the_guarded_process_finds_this_code_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Guard(1) as guarded:
        assert guarded.inspect(make_tiff()).thumbnail == inspection.inspect_bytes(make_tiff()).thumbnail
