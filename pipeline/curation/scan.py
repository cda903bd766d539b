"""Raw folders read once: each file's bytes to an MD5 and to what they tell, on all cores."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from pipeline.collections.files import read_whole
from pipeline.collections.reader import PATH_REASONS, FileRecord
from pipeline.curation.guard import Guard
from pipeline.curation.inspection import Findings
from pipeline.errors import DecodeError

PART = 8
"""Files that a thread takes at a time: each handing-over costs as much as digesting a file."""


@dataclass(frozen=True)
class Examined:
    """What one file turned out to be; `md5` is None where it was not read."""

    size: int
    md5: str | None = None
    found: Findings = field(default_factory=Findings)


class Scanner:
    """Examines files from any number of threads; bytes that were seen before are not decoded again."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._found: dict[tuple[str, bool], Findings] = {}
        self._locks: dict[tuple[str, bool], Lock] = {}

    def examine(self, folder: Path, record: FileRecord) -> Examined:
        """Read, digest, decode and measure one file; a function of its bytes alone.

        A link and what is no plain file are not opened; what the path sets aside is digested, not decoded.
        """
        path = os.path.join(folder, record.path)  # noqa: PTH118, a third of the time of making a Path
        if record.reason in ("link", "unreadable"):
            return Examined(0)
        try:
            data = read_whole(path)
        except DecodeError as error:
            return Examined(_find_size(path), found=Findings(reason=error.reason, detail=error.detail))
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if record.reason in PATH_REASONS:
            return Examined(len(data), md5)
        return Examined(len(data), md5, self._inspect(data, md5, describe=record.inside))

    def _inspect(self, data: bytes, md5: str, *, describe: bool) -> Findings:
        key = (md5, describe)
        with self._locks.setdefault(key, Lock()):  # another thread may be at the same bytes
            if key not in self._found:
                self._found[key] = self._guard.inspect(data, describe=describe)
        return self._found[key]


def examine_files(files: Sequence[tuple[Path, FileRecord]], *, workers: int) -> list[Examined]:
    """Examine files (folder, record) in `workers` threads; the answers are in the order of the questions.

    Pillow, OpenCV and MD5 work outside Python's lock, so that threads use all cores. They change only time.

    Raises:
        SourceError: a process that guards against risky formats cannot be started.
    """
    workers = max(1, workers)
    guards = min(workers, os.cpu_count() or 1)
    parts = [files[start : start + PART] for start in range(0, len(files), PART)]
    with Guard(guards) as guard, warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # decoders remark on broken files, which are accounted for here
        scanner = Scanner(guard)
        answers = pool.map(lambda part: [scanner.examine(*file) for file in part], parts)
        return [seen for part in answers for seen in part]


def _find_size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
