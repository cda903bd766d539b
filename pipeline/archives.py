"""Archives from strangers: checked before the first byte is written; a folder appears whole or not at all.

Only what a zip of files and folders needs is accepted. Links, devices, names that lead elsewhere, names that
are one name on another system, encryption and bombs are refused by rule, not repaired: an archive that needs
repair is not the one that was published.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from pipeline.atomic import replacing_folder
from pipeline.digests import CHUNK_BYTES
from pipeline.errors import ArchiveError, SourceError

MAX_BYTES = 50_000_000_000
MAX_FILES = 500_000
# Deflate reaches 1,032 at most; zips of JPEG and PNG stay below 2, of raw MATLAB files below 20.
MAX_RATIO = 100.0

METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
NAME_BYTES = 255
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What zipfile and zlib raise on bytes that they do not understand.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def unpack_archive(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    max_ratio: float = MAX_RATIO,
) -> None:
    """Unpack a zip into a temporary folder beside `folder`, renamed to it once every CRC-32 was right.

    Names are kept as written, in any script; times, owners and permissions are dropped. The same archive
    gives the same tree.

    Args:
        archive: the zip file; it is only read.
        folder: where its files go; must not exist.
        max_bytes: unpacked bytes at most.
        max_files: files and folders at most.
        max_ratio: unpacked bytes per byte of archive at most, over the whole archive.

    Raises:
        ArchiveError: broken, encrypted, unsafe, too large, or `folder` exists; nothing of it is kept.
        SourceError: the disk has no room for it; nothing of it is kept.
    """
    if os.path.lexists(folder):
        raise ArchiveError(f"{folder} exists already and is never written over; move it away, then run again")
    with _explaining_breakage(archive), zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        problem = find_problem(
            entries, archive.stat().st_size, max_bytes=max_bytes, max_files=max_files, max_ratio=max_ratio
        )
        if problem is not None:
            raise ArchiveError(
                f"{archive.name}: {problem}. Nothing was unpacked. Do not unpack it by hand: "
                "compare it with the source's own listing, and report it there if it stays so"
            )
        needed = sum(entry.file_size for entry in entries)
        require_space(folder.parent, needed, f"unpacking {archive.name}")
        with (
            explaining_full_disk(folder.parent, needed, f"unpacking {archive.name}"),
            replacing_folder(folder) as temporary,
        ):
            for entry in entries:
                _unpack_entry(opened, entry, temporary)


def find_problem(
    entries: Sequence[zipfile.ZipInfo],
    archive_bytes: int,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    max_ratio: float = MAX_RATIO,
) -> str | None:
    """The first reason to refuse an archive, from its directory alone; None if there is none."""
    if len(entries) > max_files:
        return f"{len(entries):,} entries, more than the {max_files:,} allowed"
    declared = sum(entry.file_size for entry in entries)
    if declared > max_bytes:
        return f"unpacks to {declared:,} bytes, more than the {max_bytes:,} allowed"
    if declared > max_ratio * max(archive_bytes, 1):
        return (
            f"unpacks to {declared:,} bytes from {archive_bytes:,}, "
            f"more than {max_ratio:g} times its size: a bomb"
        )
    for entry in entries:
        problem = _find_entry_problem(entry)
        if problem is not None:
            return f"entry {_shorten(entry.orig_filename)}: {problem}"
    return _find_collision(entries)


def find_name_problem(name: str) -> str | None:
    """The reason to refuse an entry's name as stored in the archive; None if it stays inside the folder."""
    parts = name.removesuffix("/").split("/")
    rules = {
        "a backslash in the name, which separates folders on some systems": "\\" in name,
        "a control character in the name": any(
            unicodedata.category(letter) in ("Cc", "Cs") for letter in name
        ),
        "an absolute name": name.startswith("/"),
        "a drive letter": re.match(r"[A-Za-z]:", name) is not None,
        "`..` in the name, which leads out of the folder": ".." in parts,
        "an empty part or `.` in the name": "" in parts or "." in parts,
        f"a part of the name is longer than {NAME_BYTES} bytes": any(
            len(part.encode(errors="replace")) > NAME_BYTES for part in parts
        ),
    }
    return next((reason for reason, broken in rules.items() if broken), None)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check before the first byte that the disk of `folder` has room.

    Raises:
        SourceError: it has not; with the bytes needed and free.
    """
    free = _count_free(folder)
    if needed > free:
        raise SourceError(_describe_full_disk(folder, needed, free, what))


@contextlib.contextmanager
def explaining_full_disk(folder: Path, needed: int, what: str) -> Iterator[None]:
    """Turn a disk, quota or file-size limit that is hit meanwhile into an error that says what to do.

    Raises:
        SourceError: no room was left while writing; other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        message = _describe_full_disk(folder, needed, _count_free(folder), what)
        raise SourceError(f"{message} ({os.strerror(error.errno)})") from error


def _find_entry_problem(entry: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "neither a file nor a folder"
    if entry.flag_bits & ENCRYPTED_FLAGS:
        return "encrypted; Falx has no password for public data"
    if entry.compress_type not in METHODS:
        return f"compression method {entry.compress_type}; allowed: {', '.join(METHODS.values())}"
    if _is_folder(entry) and entry.file_size:
        return "a folder that carries bytes"
    return find_name_problem(entry.orig_filename)


def _find_collision(entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """Two entries for one path, also where case and Unicode form are not told apart, or file and folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        name = entry.orig_filename.removesuffix("/")
        taken = folders if _is_folder(entry) else files
        if _fold(name) in taken:
            first, second = _shorten(taken[_fold(name)]), _shorten(name)
            return f"two entries for one path: {first} and {second}"
        taken[_fold(name)] = name
    parents = {
        "/".join(parts[:count])
        for path in (*files, *folders)
        for parts in [path.split("/")]
        for count in range(1, len(parts))
    }
    clash = sorted(set(files) & (parents | set(folders)))
    return f"{_shorten(files[clash[0]])} is a file and a folder at once" if clash else None


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    # By the name as stored: zipfile's own cuts it at a null, and fails on an empty one.
    return entry.orig_filename.endswith("/")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _unpack_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path) -> None:
    target = root / entry.orig_filename
    if _is_folder(entry):
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source, target.open("xb") as sink:
        copy_exactly(source, sink, entry.file_size)


def copy_exactly(source: IO[bytes], sink: IO[bytes], size: int) -> None:
    """Copy `size` bytes in constant memory, and stop at the first that is too many.

    Raises:
        zipfile.BadZipFile: `source` holds more or fewer.
    """
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        copied += len(chunk)
        if copied > size:
            raise zipfile.BadZipFile(f"an entry holds more than the {size:,} bytes that it declares")
        sink.write(chunk)
    if copied < size:
        raise zipfile.BadZipFile(f"an entry holds {copied:,} of the {size:,} bytes that it declares")


@contextlib.contextmanager
def _explaining_breakage(archive: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise ArchiveError(
            f"{archive.name}: broken or no zip: {error or type(error).__name__} (it begins with "
            f"{_read_start(archive)!r}). Nothing was unpacked. Fetch it again; if it stays so, "
            "report it at the source"
        ) from error
    except OSError as error:
        raise ArchiveError(
            f"{archive}: cannot be unpacked: {error.strerror or error}. Nothing was unpacked. "
            "Check that the file is there, whole, and that the folder beside it can be written"
        ) from error


def _read_start(archive: Path) -> bytes:
    with archive.open("rb") as stream:
        return stream.read(16)


def _count_free(folder: Path) -> int:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def _describe_full_disk(folder: Path, needed: int, free: int, what: str) -> str:
    return (
        f"{what}: the disk of {folder} has no room: {needed:,} bytes are needed, {free:,} are free. "
        "Free some, or set FALX_HOME to a folder on a larger disk, then run again"
    )


def _shorten(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:79] + "…")
