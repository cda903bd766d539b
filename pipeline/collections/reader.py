"""A raw collection's folder to one record a file: what the publisher says of it, or why it is set aside."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.catalog import Collection
from pipeline.collections.class_folders import find_class
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
    records = [_set_aside(_record_file(found), collection) for found in list_files(folder)]
    if collection.layout.reader == "figshare":
        entries = read_entries(folder, [record.path for record in records if record.reason is None])
        return [
            record if record.reason else add_entry(record, entries[record.path], collection)
            for record in records
        ]
    _require_folders(folder, collection)
    return [_add_class(record, collection) for record in records]


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


def _record_file(found: FoundFile) -> FileRecord:
    return FileRecord(found.path, reason=found.reason, detail=found.detail)


def _set_aside(record: FileRecord, collection: Collection) -> FileRecord:
    if record.reason is not None:
        return record
    parts = record.path.split("/")
    dotted = [part for part in parts if part.startswith(".")]
    if dotted:
        return replace(record, reason="hidden", detail=f"{dotted[0]!r} starts with a dot")
    if collection.layout.is_sidecar(record.path):
        return replace(record, reason="sidecar", detail=f"one of {', '.join(collection.layout.sidecars)}")
    if collection.layout.is_mask(parts[-1]):
        return replace(record, reason="mask", detail=f"its name is of the form {collection.layout.masks}")
    return record


def _require_folders(folder: Path, collection: Collection) -> None:
    wanted = [part.path for part in collection.layout.folders]
    if not any((folder / path).is_dir() for path in wanted):
        raise SourceError(
            f"{collection.name}: {folder} has none of the layout's folders ({', '.join(wanted)}); it holds "
            f"{sorted(path.name for path in folder.iterdir())[:8]}. Unpack the archive so that they lie there"
        )


def _add_class(record: FileRecord, collection: Collection) -> FileRecord:
    if record.reason is not None:
        return record
    place = find_class(record.path, collection.layout)
    if place is None:
        wanted = ", ".join(f"{part.path}/<label>/" for part in collection.layout.folders)
        return replace(record, reason="unlabelled", detail=f"outside {wanted}")
    return _check_label(replace(record, published_split=place.split, published_label=place.label), collection)


def _check_label(record: FileRecord, collection: Collection) -> FileRecord:
    if record.published_label in collection.labels:
        return record
    allowed = ", ".join(collection.labels)
    return replace(
        record, reason="unmapped_label", detail=f"{record.published_label!r} is none of: {allowed}"
    )
