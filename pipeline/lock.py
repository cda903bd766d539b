"""The lock file: what each raw collection was when it was first trusted, and whether it still is that.

One JSON file holds an entry a collection. Beside it, in `<lock>.files/`, lies one list of files a collection
(`path<TAB>sha256` lines), so that a difference is named by its files. The entry is written last: its presence
means trusted.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.atomic import write_text
from pipeline.catalog import Collection, Counts
from pipeline.digests import digest_bytes, digest_file, digest_tree
from pipeline.errors import LockError, SourceError

MEASURES = ("slug", "version", "files", "bytes", "digest")
NAMED_FILES = 5


class LockEntry(BaseModel):
    """A collection as measured: what pins it (`MEASURES`), and what its source states about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: str = Field(
        description="owner/name at the source, or the collection's name where nothing was fetched"
    )
    version: int | None = Field(description="the source's version; null where nothing was fetched")
    files: int = Field(ge=1)
    bytes: int = Field(ge=0)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="pipeline.digests.digest_tree of all files")
    licence: str = Field(description="as stated by the source")
    citation: str
    listing: dict[str, str] = Field(
        default_factory=dict,
        exclude=True,
        repr=False,
        description="path -> SHA-256; kept beside the lock file",
    )


def measure_folder(folder: Path, collection: Collection, *, fetched: bool = False) -> LockEntry:
    """Read every file below `folder` once and sum it up; the order of the directory does not matter.

    A symbolic link counts as a file that holds its target's name and is never followed.

    Args:
        folder: the collection's raw folder.
        collection: its catalog entry; gives slug, version, licence and citation.
        fetched: whether the bytes came from the collection's source under its pinned version. A folder that a
            person put there is measured under the collection's name, without a version.

    Raises:
        SourceError: no such folder, no file in it, a file that cannot be read, or a name that is no text.
    """
    paths = list(_find_files(folder))
    if not paths:
        raise SourceError(
            f"{folder}: no file in it; put the collection {collection.name!r} there, or move it away"
        )
    try:
        listing = {_name_file(path, folder): _digest_entry(path) for path in paths}
        total = sum(path.lstat().st_size for path in paths)
    except OSError as error:
        raise SourceError(
            f"{error.filename}: cannot be read: {error.strerror}; make it readable, then run again"
        ) from error
    kaggle = collection.source.kaggle if fetched else None
    return LockEntry(
        slug=kaggle.slug if kaggle else collection.name,
        version=kaggle.version if kaggle else None,
        files=len(listing),
        bytes=total,
        digest=digest_tree(listing),
        licence=collection.licence.stated,
        citation=collection.citation,
        listing=listing,
    )


def read_lock(path: Path) -> dict[str, LockEntry]:
    """The entries of a lock file by collection; none where there is no file yet.

    Raises:
        LockError: the file cannot be understood.
    """
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, LockEntry]).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LockError(
            f"{path}: not a lock file that Falx wrote: {where}: {first['msg']}. Restore it from a "
            "backup or from version control; if there is none, remove it, which trusts the folders in place"
        ) from error


def trust_or_verify(lock_path: Path, name: str, entry: LockEntry) -> Literal["trusted", "verified"]:
    """Write `entry` if `name` is not yet in the lock file, else demand that it equals what stands there.

    Safe to call from several processes at once.

    Raises:
        LockError: the bytes differ from the trusted ones, saying in what, by which files, and what to do.
    """
    with _alone(lock_path):
        entries = read_lock(lock_path)
        pinned = entries.get(name)
        if pinned is not None:
            differences = compare_entries(pinned, entry)
            if differences:
                raise LockError(_describe_mismatch(lock_path, name, differences, pinned, entry))
            return "verified"
        write_text(list_path(lock_path, name), _render_list(entry.listing))
        write_text(lock_path, _render_lock(entries | {name: entry}))
        return "trusted"


def forget(lock_path: Path, name: str) -> None:
    """Remove the entry of a collection, so that its present bytes can be trusted anew; none is no error."""
    with _alone(lock_path):
        entries = read_lock(lock_path)
        if entries.pop(name, None) is not None:
            write_text(lock_path, _render_lock(entries))


def compare_entries(pinned: LockEntry, found: LockEntry) -> list[str]:
    """What differs in the pinned measures, a phrase each; licence and citation are statements, not bytes."""
    return [
        f"{field} {_show(getattr(pinned, field))} pinned, {_show(getattr(found, field))} found"
        for field in MEASURES
        if getattr(pinned, field) != getattr(found, field)
    ]


def compare_lists(pinned: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What was added, removed and changed between two lists of files, with the first few names of each."""
    kinds = {
        "added": sorted(found.keys() - pinned.keys()),
        "removed": sorted(pinned.keys() - found.keys()),
        "changed": sorted(path for path in pinned.keys() & found.keys() if pinned[path] != found[path]),
    }
    return [f"{len(paths):,} {kind}: {_name_some(paths)}" for kind, paths in kinds.items() if paths]


def list_path(lock_path: Path, name: str) -> Path:
    """Where the list of a collection's files lies: `path<TAB>sha256` lines, sorted by path."""
    return lock_path.with_suffix(".files") / f"{name}.tsv"


def read_list(path: Path) -> dict[str, str]:
    """A list of files as written by `trust_or_verify`: path -> SHA-256; empty where there is none."""
    lines = path.read_bytes().decode().split("\n")[:-1] if path.exists() else []
    return dict(line.rsplit("\t", 1) for line in lines if "\t" in line)


def count_images(folder: Path, collection: Collection) -> Counts:
    """Image files of a raw folder as its reader sees them: published training, published test, all."""
    from pipeline.collections.reader import read_collection

    splits = [
        record.published_split for record in read_collection(folder, collection) if record.reason is None
    ]
    return Counts(train=splits.count("train"), test=splits.count("test"), total=len(splits))


def check_counts(collection: Collection, found: Counts) -> list[str]:
    """Where the images found differ from those that the catalog asserts, a sentence each.

    An error where the bytes were fetched under a pinned version, a warning where a person put them there:
    the caller decides.
    """
    fields = {"train": "training images", "test": "test images", "total": "images in all"}
    wanted = {field: getattr(collection.counts, field) for field in fields}
    return [
        f"{collection.name}: {getattr(found, field) or 0:,} {noun} found, where the catalog asserts "
        f"{wanted[field]:,} (counts.{field})."
        for field, noun in fields.items()
        if wanted[field] is not None and wanted[field] != getattr(found, field)
    ]


def _find_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    for root, folders, files in os.walk(folder, onerror=_raise):
        yield from (Path(root) / name for name in files)
        yield from (Path(root) / name for name in folders if (Path(root) / name).is_symlink())


def _raise(error: OSError) -> None:
    raise SourceError(
        f"{error.filename}: cannot be listed: {error.strerror}; make it readable, then run again"
    )


def _name_file(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    # Surrogates stand for bytes that are not UTF-8; neither a list nor a table can hold them.
    if any(letter == "\n" or "\ud800" <= letter <= "\udfff" for letter in name):
        raise SourceError(
            f"{name!r} in {folder}: the name is no text on one line; rename the file, then run again"
        )
    return name


def _digest_entry(path: Path) -> str:
    if path.is_symlink():
        return digest_bytes(f"link\0{path.readlink()}".encode())
    if not path.is_file():
        raise SourceError(f"{path}: neither a file nor a folder; move it away, then run again")
    return digest_file(path)


@contextlib.contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Collections are trusted side by side: reading and writing again must not interleave."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock_path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _describe_mismatch(
    lock_path: Path, name: str, differences: Sequence[str], pinned: LockEntry, found: LockEntry
) -> str:
    trusted = read_list(list_path(lock_path, name))
    # A list that does not belong to the entry would name the wrong files.
    known = bool(trusted) and digest_tree(trusted) == pinned.digest
    files = compare_lists(trusted, found.listing) if known and found.listing else []
    lines = [f"{name}: the bytes are not those that {lock_path} pins:"]
    lines += [f"  - {line}" for line in (*differences, *files)]
    catalog = f"name the new version in catalog/datasets/{name}.yaml (source.kaggle.version), "
    fetched = catalog + "move the old folder away, " if pinned.version else ""
    lines += [
        "A raw folder never changes. If it was damaged, move it away and bring the right bytes back. "
        f"If the change is meant, {fetched}remove the entry {name!r} from {lock_path} and run again: "
        f"the new bytes are then trusted (`make trust COLLECTION={name}` does both)."
    ]
    return "\n".join(lines)


def _name_some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED_FILES:,} more" if len(paths) > NAMED_FILES else ""
    return ", ".join(paths[:NAMED_FILES]) + more


def _show(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) < 64 else text[:12] + "…"


def _render_list(listing: Mapping[str, str]) -> str:
    return "".join(f"{path}\t{listing[path]}\n" for path in sorted(listing))


def _render_lock(entries: Mapping[str, LockEntry]) -> str:
    plain = {name: entry.model_dump() for name, entry in entries.items()}
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
