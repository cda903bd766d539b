"""The files below a raw folder, each exactly once, and their bytes; no link is ever followed."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DecodeError, SourceError

MAX_BYTES = 1 << 30
"""Larger files are set aside unread: no slice comes near."""


@dataclass(frozen=True)
class FoundFile:
    """One file: `path` is relative, `/` between parts; `reason` and `detail` say why it cannot be read."""

    path: str
    reason: str | None = None
    detail: str | None = None


def list_files(folder: Path) -> list[FoundFile]:
    """Everything below `folder` that is no folder, sorted by path; links to folders are files here.

    Raises:
        SourceError: a folder cannot be listed: its files would be lost without a word.
    """
    found, waiting = [], [""]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(folder / parent) as entries:
                children = list(entries)
        except OSError as error:
            raise SourceError(
                f"{folder / parent}: cannot be listed ({error.strerror}); make it readable, or remove it"
            ) from error
        for child in children:
            path = f"{parent}/{child.name}" if parent else child.name
            if child.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                found.append(_inspect(path, child))
    return sorted(found, key=lambda file: file.path)


def _inspect(path: str, entry: os.DirEntry[str]) -> FoundFile:
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if entry.is_symlink():
        return FoundFile(text, "link", "a symbolic link; put the file itself in its place")
    if text != path:
        return FoundFile(text, "unreadable", "its name is not UTF-8; rename the file")
    if not entry.is_file(follow_symlinks=False):
        return FoundFile(text, "unreadable", "a pipe, socket or device, not a file")
    return FoundFile(text)


def read_whole(path: str | Path) -> bytes:
    """The bytes of a plain file, following no link.

    Raises:
        DecodeError: `unreadable` where the file cannot be opened, is no plain file, or changed meanwhile;
            `too_large` above `MAX_BYTES`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise DecodeError("unreadable", "a pipe, socket or device, not a file")
            if before.st_size > MAX_BYTES:
                raise DecodeError("too_large", f"{before.st_size} bytes; at most {MAX_BYTES}")
            data = _read_up_to(handle, before.st_size + 1)  # one more, to see a file that grows
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise DecodeError("unreadable", f"cannot be read: {error.strerror or error}") from error
    if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (
        after.st_size,
        after.st_mtime_ns,
    ):
        raise DecodeError("unreadable", "it changed while it was read; fetch it again")
    return data


def _read_up_to(handle: int, most: int) -> bytes:
    """At most so many bytes; the look for one more is saved where all but one are there."""
    data = os.read(handle, most)
    while len(data) < most - 1 and (more := os.read(handle, most - len(data))):
        data += more
    return data
