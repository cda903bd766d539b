"""Every file counted once: either a member of an image, or set aside with the reason."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.catalog import Collection
from pipeline.collections.files import read_whole
from pipeline.collections.reader import PATH_REASONS, FileRecord, read_collection
from pipeline.errors import DecodeError, GateError, SourceError
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.tables import find_table, from_arrow, to_arrow

THUMBNAIL_SIZE = 64

Key = tuple[str, str]


@dataclass
class Inventory:
    """What lies in the raw folders, as the tables of `pipeline.tables`.

    Attributes:
        files: every file, sorted by collection and path.
        records: what reference collections say of their slices; members of images only.
        thumbnails: 64 × 64 grey pixels of every image; the same image_ids as `list_images` gives.
    """

    files: pd.DataFrame
    records: pd.DataFrame
    thumbnails: pd.DataFrame


@dataclass(frozen=True)
class _Examined:
    size: int
    md5: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    thumbnail: bytes | None = None
    reason: str | None = None
    detail: str | None = None


def take_inventory(
    collections: Mapping[str, Collection], folders: Mapping[str, Path], *, workers: int
) -> Inventory:
    """Read and decode every file below `folders` once; the same bytes give the same frames, byte for byte.

    Args:
        collections: the catalog; each folder's collection must be in it.
        folders: collection -> its raw folder. A collection without a folder is left out.
        workers: threads; Pillow, OpenCV and MD5 work outside Python's lock. They change nothing but time.

    Raises:
        SourceError: a folder of an unknown collection, or one that cannot be listed or understood.
    """
    unknown = sorted(set(folders) - set(collections))
    if unknown:
        raise SourceError(f"folders of unknown collections {unknown}; known: {', '.join(collections)}")
    found = [
        (name, folders[name], record)
        for name in sorted(folders)
        for record in read_collection(folders[name], collections[name])
    ]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        examined = list(pool.map(lambda item: _examine(item[1], item[2]), found))
    rows = [
        _file_row(collections[name], record, seen)
        for (name, _, record), seen in zip(found, examined, strict=True)
    ]
    records = [
        _record_row(name, record)
        for (name, _, record), row in zip(found, rows, strict=True)
        if row["reason"] is None and record.slice is not None
    ]
    pixels = {
        row["md5"]: seen.thumbnail for row, seen in zip(rows, examined, strict=True) if not row["reason"]
    }
    thumbnails = [{"image_id": md5, "pixels": thumbnail} for md5, thumbnail in pixels.items()]
    return Inventory(
        _make_frame("files", rows), _make_frame("records", records), _make_frame("thumbnails", thumbnails)
    )


def list_quarantine(files: pd.DataFrame) -> pd.DataFrame:
    """The files set aside: table `quarantine`."""
    aside = files[files["reason"].notna()]
    return _make_frame("quarantine", aside[find_table("quarantine").names])


def list_images(files: pd.DataFrame, *, references: Sequence[str]) -> pd.DataFrame:
    """One row an MD5-distinct image: table `images`.

    The canonical member is of a reference collection where there is one, else the first by collection and
    path. The label is the one that all members give; where they differ, the one that the reference's members
    give; where those are none or differ too, null.

    Args:
        files: table `files`.
        references: names of the collections whose labels decide.
    """
    members = files[files["reason"].isna()]
    ordered = members.assign(_late=~members["collection"].isin(references)).sort_values(
        ["md5", "_late", "collection", "path"]
    )
    rows = [_image_row(image_id, list(group), set(references)) for image_id, group in _group_by_md5(ordered)]
    return _make_frame("images", rows)


def check_accounts(files: pd.DataFrame, quarantine: pd.DataFrame, images: pd.DataFrame) -> None:
    """Check that every file is either set aside or a member of one image, never both, never twice.

    Raises:
        GateError: naming the files that are missing, unknown or counted twice.
    """
    listed, aside = _list_keys(files.to_dict("records")), _list_keys(quarantine.to_dict("records"))
    members = _list_keys(member for group in images["members"] for member in group)
    faults: dict[str, set[Key]] = {
        "in neither": set(listed) - set(aside) - set(members),
        "set aside and a member": set(aside) & set(members),
        "listed twice in files": _find_repeats(listed),
        "set aside twice": _find_repeats(aside),
        "a member twice": _find_repeats(members),
        "not in files": (set(aside) | set(members)) - set(listed),
    }
    wrong = [f"{len(found)} {what}: {_show(found)}" for what, found in faults.items() if found]
    if wrong:
        raise GateError(
            f"the accounts do not balance: {len(listed)} files, {len(aside)} in quarantine, "
            f"{len(members)} members of images; " + "; ".join(wrong) + ". Materialise files, quarantine and "
            "images again, in one run"
        )


def _examine(folder: Path, record: FileRecord) -> _Examined:
    path = folder / record.path
    if record.reason in ("link", "unreadable"):
        return _Examined(0)
    try:
        data = read_whole(path)
    except DecodeError as error:
        return _Examined(_find_size(path), reason=error.reason, detail=error.detail)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if record.reason in PATH_REASONS:
        return _Examined(len(data), md5)
    try:
        decoded = decode_image(data, record.path)
    except DecodeError as error:
        return _Examined(len(data), md5, reason=error.reason, detail=error.detail)
    height, width = decoded.pixels.shape
    thumbnail = resize_grey(decoded.pixels, THUMBNAIL_SIZE).tobytes()
    return _Examined(len(data), md5, width, height, decoded.mode, decoded.format, thumbnail)


def _find_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _file_row(collection: Collection, record: FileRecord, seen: _Examined) -> dict[str, Any]:
    # What the path says outranks what the bytes say, and that outranks what the label says.
    by_path = record.reason in PATH_REASONS
    own = seen.reason is None or by_path
    return {
        "collection": collection.name,
        "path": record.path,
        "bytes": seen.size,
        "md5": seen.md5,
        "width": seen.width,
        "height": seen.height,
        "mode": seen.mode,
        "format": seen.format,
        "published_split": record.published_split,
        "published_label": record.published_label,
        "label": collection.labels.get(record.published_label or ""),
        "licence": collection.licence.stated,
        "reason": record.reason if own else seen.reason,
        "detail": record.detail if own else seen.detail,
    }


def _record_row(collection: str, record: FileRecord) -> dict[str, Any]:
    x, y, width, height = record.box or (None, None, None, None)
    return {
        "collection": collection,
        "path": record.path,
        "slice": record.slice,
        "patient": record.patient,
        "box_x": x,
        "box_y": y,
        "box_w": width,
        "box_h": height,
    }


def _group_by_md5(ordered: pd.DataFrame) -> Iterable[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = {}
    for row in ordered.itertuples():
        groups.setdefault(str(row.md5), []).append(row)
    return groups.items()


def _image_row(image_id: str, members: list[Any], references: set[str]) -> dict[str, Any]:
    first = members[0]
    labels = sorted({member.label for member in members})
    decisive = {member.label for member in members if member.collection in references}
    agreed = labels if len(labels) == 1 else sorted(decisive)
    return {
        "image_id": image_id,
        "collection": first.collection,
        "path": first.path,
        "label": agreed[0] if len(agreed) == 1 else None,
        "labels": labels,
        "width": first.width,
        "height": first.height,
        "members": sorted(
            (_member(member) for member in members), key=lambda member: (member["collection"], member["path"])
        ),
    }


def _member(row: Any) -> dict[str, Any]:
    split = row.published_split
    return {
        "collection": row.collection,
        "path": row.path,
        "published_split": None if pd.isna(split) else split,
        "label": row.label,
    }


def _make_frame(name: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    # Through Arrow and back: a frame made here and one read from the lake are then the same.
    table = find_table(name)
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=table.names)
    return from_arrow(name, to_arrow(name, frame))


def _list_keys(rows: Iterable[Mapping[Any, Any]]) -> list[Key]:
    return [(str(row["collection"]), str(row["path"])) for row in rows]


def _find_repeats(keys: list[Key]) -> set[Key]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _show(keys: set[Key]) -> str:
    shown = [f"{collection}/{path}" for collection, path in sorted(keys)[:5]]
    return ", ".join(shown) + (", …" if len(keys) > 5 else "")
