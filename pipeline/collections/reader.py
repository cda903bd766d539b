"""A raw collection's folder to one record a file: what the publisher says of it, or why it is set aside."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.catalog import Collection, Layout
from pipeline.collections.class_folders import Places
from pipeline.collections.figshare import Entry, read_entries
from pipeline.collections.files import FoundFile, list_files
from pipeline.errors import SourceError

PATH_REASONS = ("link", "unreadable", "hidden", "sidecar", "mask")
"""Reasons that the path alone gives: such a file is never decoded."""


@dataclass(frozen=True)
class FileRecord:
    """One file below a collection's folder.

    Attributes:
        path: relative to the collection's folder, `/` between parts; bytes that are no UTF-8 as `\\xNN`.
        published_split: train or test, where the layout's folders say so.
        published_label: the label as the collection spells it.
        slice: the reference collection's name of the slice.
        patient: patient id as the collection spells it.
        box: centre x, centre y, width, height of the tumour's box, fractions of the image.
        reason: why the file is set aside, one of `pipeline.tables.QUARANTINE_REASONS`.
        detail: what exactly was found; given where `reason` is.
        inside: whether label, patient and box stand in the file itself; `add_entry` puts them in.
    """

    path: str
    published_split: str | None = None
    published_label: str | None = None
    slice: str | None = None
    patient: str | None = None
    box: tuple[float, float, float, float] | None = None
    reason: str | None = None
    detail: str | None = None
    inside: bool = False


def read_collection(folder: Path, collection: Collection) -> list[FileRecord]:
    """Record every file below `folder` exactly once, sorted by path; no link is followed.

    Raises:
        SourceError: the folder is missing or cannot be listed, none of the layout's folders exists, or the
            collection's own tables are wrong.
    """
    if not folder.is_dir():
        raise SourceError(f"{collection.name}: {folder} is no folder; fetch the collection first")
    records = [_record_file(found, collection.layout) for found in list_files(folder)]
    if collection.layout.reader == "figshare":
        entries = read_entries(folder, [record.path for record in records if record.reason is None])
        return [
            record if record.reason else add_entry(record, entries[record.path], collection)
            for record in records
        ]
    _require_folders(folder, collection)
    places = Places(collection.layout)
    return [record if record.reason else _record_class(record.path, places, collection) for record in records]


def add_entry(record: FileRecord, entry: Entry, collection: Collection) -> FileRecord:
    """The record with what a reference collection says of the slice, its label checked.

    An entry that stands in the file leaves the rest open, until it comes from `describe_slice`.
    """
    if entry.reason is not None:
        return replace(record, reason=entry.reason, detail=entry.detail, inside=False)
    record = replace(
        record,
        published_label=entry.label,
        slice=entry.slice or record.slice,
        patient=entry.patient,
        box=entry.box,
        inside=entry.inside,
    )
    return record if entry.inside else _check_label(record, collection)


def _record_file(found: FoundFile, layout: Layout) -> FileRecord:
    reason, detail = (found.reason, found.detail) if found.reason else _judge_path(found.path, layout)
    return FileRecord(found.path, reason=reason, detail=detail)


def _judge_path(path: str, layout: Layout) -> tuple[str, str] | tuple[None, None]:
    """Why a path's file is never decoded, and what exactly was found; twice None where it may be."""
    if path.startswith(".") or "/." in path:
        dotted = next(part for part in path.split("/") if part.startswith("."))
        return "hidden", f"{dotted!r} starts with a dot"
    if layout.is_sidecar(path):
        return "sidecar", f"one of {', '.join(layout.sidecars)}"
    if layout.is_mask(path.rpartition("/")[2]):
        return "mask", f"its name is of the form {layout.masks}"
    return None, None


def _require_folders(folder: Path, collection: Collection) -> None:
    wanted = [part.path for part in collection.layout.folders]
    if not any((folder / path).is_dir() for path in wanted):
        raise SourceError(
            f"{collection.name}: {folder} has none of the layout's folders ({', '.join(wanted)}); it holds "
            f"{sorted(path.name for path in folder.iterdir())[:8]}. Unpack the archive so that they lie there"
        )


def _record_class(path: str, places: Places, collection: Collection) -> FileRecord:
    place = places.find(path)
    if place is None:
        wanted = ", ".join(f"{part.path}/<label>/" for part in collection.layout.folders)
        return FileRecord(path, reason="unlabelled", detail=f"outside {wanted}")
    return _check_label(FileRecord(path, place.split, place.label), collection)


def _check_label(record: FileRecord, collection: Collection) -> FileRecord:
    if record.published_label in collection.labels:
        return record
    allowed = ", ".join(collection.labels)
    return replace(
        record, reason="unmapped_label", detail=f"{record.published_label!r} is none of: {allowed}"
    )
