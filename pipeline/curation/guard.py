"""Formats whose decoders bad bytes can crash, hang or bloat are inspected in a process beside this one.

HDF5 2.0 ends in a segmentation fault on some broken MATLAB files. Libtiff, which prints to standard error,
and DICOM, which holds Python's lock, are kept with it. JPEG, PNG, GIF, BMP and WebP stay in this process: no
broken file of `benchmarks/fuzz.py` harmed it.
"""

import contextlib
import os
import pickle
import queue
import resource
import signal
import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import IO

import pipeline
from pipeline.curation.inspection import Findings, inspect_bytes
from pipeline.errors import SourceError
from pipeline.imaging.decode import sniff_format

RISKY = ("TIFF", "DICOM", "MAT")
CPU_SECONDS = 8
"""Of processor time for one file, so that a busy machine changes no verdict; a slice takes milliseconds."""
MEMORY_BYTES = 2 << 30
"""Of address space for one process, on top of what it starts with."""

SERVE = "from pipeline.curation.guard import serve; serve()"
READY = b"ready"
STATM = Path("/proc/self/statm")

Child = subprocess.Popen[bytes]

_HEADER = struct.Struct("<?Q")


class Guard:
    """Inspects bytes, those of a risky format in one of at most `most` processes, started when first needed.

    Use it as a context manager, from any number of threads: leaving it ends the processes.
    """

    def __init__(self, most: int) -> None:
        self._free: queue.LifoQueue[Child | None] = queue.LifoQueue()
        for _place in range(most):
            self._free.put(None)

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._free.empty():
            child = self._free.get()
            if child is not None:
                _end(child)

    def inspect(self, data: bytes, *, describe: bool = False) -> Findings:
        """As `inspect_bytes`; a file that ends its process twice, the second a fresh one, is `corrupt`.

        Raises:
            SourceError: a process cannot be started.
        """
        kind = "MAT" if describe else sniff_format(data)  # to describe is to let HDF5 search the bytes
        if kind not in RISKY:
            return inspect_bytes(data)
        child, code = self._free.get(), 0
        try:
            for _attempt in range(2):  # the first process may have been broken by an earlier file
                child = child or _start()
                with contextlib.suppress(EOFError, BrokenPipeError):
                    return _ask(child, data, describe)
                code, child = _end(child), None
        finally:
            self._free.put(child)
        return Findings(reason="corrupt", detail=f"{kind}: {_explain(code)}")


def serve() -> None:
    """Answer inspections on standard input and output until the input ends: what a guarded process runs."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints is no answer
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if STATM.exists():  # elsewhere than on Linux the address space is not told
        used = int(STATM.read_text().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, used + MEMORY_BYTES)
    _send(answers, READY)
    while header := questions.read(_HEADER.size):
        describe, size = _HEADER.unpack(header)
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + CPU_SECONDS)
        _send(answers, pickle.dumps(inspect_bytes(questions.read(size), describe=describe)))


def _start() -> Child:
    root = str(Path(pipeline.__path__[0]).parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    with contextlib.suppress(EOFError):
        if _receive(child) == READY:
            return child
    raise SourceError(
        f"the process that reads {', '.join(RISKY)} cannot be started (exit status {_end(child)}); "
        f"to see why, run: PYTHONPATH={root} {sys.executable} -c {SERVE!r}"
    )


def _ask(child: Child, data: bytes, describe: bool) -> Findings:
    assert child.stdin is not None
    child.stdin.write(_HEADER.pack(describe, len(data)) + data)
    child.stdin.flush()
    answer = pickle.loads(_receive(child))
    assert isinstance(answer, Findings)
    return answer


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(8, "little") + message)
    stream.flush()


def _receive(child: Child) -> bytes:
    assert child.stdout is not None
    head = child.stdout.read(8)
    size = int.from_bytes(head, "little")
    message = child.stdout.read(size)
    if len(head) < 8 or len(message) < size:
        raise EOFError
    return message


def _end(child: Child) -> int:
    for stream in (child.stdin, child.stdout):
        with contextlib.suppress(BrokenPipeError):
            assert stream is not None
            stream.close()
    try:
        return child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _explain(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"not decoded within {CPU_SECONDS} s"
    return f"its decoder crashed ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
