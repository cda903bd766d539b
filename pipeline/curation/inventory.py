"""Every file counted once: either a member of an image, or set aside with the reason."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.catalog import Collection
from pipeline.collections.reader import PATH_REASONS, FileRecord, add_entry, read_collection
from pipeline.curation.inspection import Findings
from pipeline.curation.scan import Examined, examine_files
from pipeline.errors import GateError, SourceError, TableError
from pipeline.tables import find_table, from_arrow, list_rows, to_arrow

Key = tuple[str, str]


@dataclass
class Inventory:
    """What lies in the raw folders, as the tables of `pipeline.tables`.

    Attributes:
        files: every file, sorted by collection and path.
        records: what reference collections say of their slices; members of images only.
        thumbnails: 128 × 128 grey pixels of every image; the same image_ids as `list_images` gives.
        looks: cheap statistics of every image; the same image_ids.
    """

    files: pd.DataFrame
    records: pd.DataFrame
    thumbnails: pd.DataFrame
    looks: pd.DataFrame


def take_inventory(
    collections: Mapping[str, Collection],
    folders: Mapping[str, Path],
    *,
    workers: int,
    previous: Inventory | None = None,
    unchanged: Container[str] = (),
) -> Inventory:
    """Read and decode every file below `folders` once; the same bytes give the same frames, byte for byte.

    Args:
        collections: the catalog; each folder's collection must be in it.
        folders: collection -> its raw folder. A collection without a folder is left out.
        workers: threads; they change nothing but time.
        previous: an inventory taken before, by this code, whose rows may be used again.
        unchanged: collections whose raw files and whose catalog entry are those that `previous` saw. Their
            rows are taken from it and their folders are not opened; the frames are those of a full scan.

    Raises:
        SourceError: a folder of an unknown collection, or one that cannot be listed or understood.
        TableError: `previous` lacks the thumbnail or the looks of an image that it lists.
    """
    unknown = sorted(set(folders) - set(collections))
    if unknown:
        raise SourceError(f"folders of unknown collections {unknown}; known: {', '.join(collections)}")
    known = set() if previous is None else set(previous.files["collection"])
    reused = {name for name in folders if name in unchanged and name in known}
    fresh = _scan({name: folders[name] for name in folders if name not in reused}, collections, workers)
    return fresh if previous is None or not reused else _merge(fresh, previous, reused)


def _scan(folders: Mapping[str, Path], collections: Mapping[str, Collection], workers: int) -> Inventory:
    listed = [
        (collections[name], record)
        for name in sorted(folders)
        for record in read_collection(folders[name], collections[name])
    ]
    examined = examine_files([(folders[owner.name], record) for owner, record in listed], workers=workers)
    described = [
        (owner, add_entry(record, seen.found.entry, owner) if seen.found.entry else record, seen)
        for (owner, record), seen in zip(listed, examined, strict=True)
    ]
    rows = [_file_row(*item) for item in described]
    members = [
        (row, record, seen.found)
        for row, (_, record, seen) in zip(rows, described, strict=True)
        if row["reason"] is None
    ]
    images = {row["md5"]: found for row, _, found in members}
    return Inventory(
        _make_frame("files", rows),
        _make_frame("records", [_record_row(row, record) for row, record, _ in members if record.slice]),
        _make_thumbnails(images),
        _make_frame("looks", [_looks_row(*image) for image in images.items()]),
    )


def _merge(fresh: Inventory, previous: Inventory, reused: set[str]) -> Inventory:
    """`fresh` with the rows of the collections `reused`, and with the images that these rows need."""
    owned = previous.files["collection"].isin(reused)
    kept = set(previous.files.loc[owned & previous.files["reason"].isna(), "md5"])

    def join_images(name: str, new: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
        missing = sorted(kept - set(old["image_id"]))
        if missing:
            raise TableError(
                f"table {name!r} lacks {len(missing)} images that `files` lists, first {missing[0]}; "
                "materialise files, records, thumbnails and looks again, in one run"
            )
        return _join(name, new, old[old["image_id"].isin(kept - set(new["image_id"]))])

    return Inventory(
        _join("files", fresh.files, previous.files[owned]),
        _join("records", fresh.records, previous.records[previous.records["collection"].isin(reused)]),
        join_images("thumbnails", fresh.thumbnails, previous.thumbnails),
        join_images("looks", fresh.looks, previous.looks),
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
    listed, aside = _list_keys(list_rows(files)), _list_keys(list_rows(quarantine))
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


def _file_row(collection: Collection, record: FileRecord, seen: Examined) -> dict[str, Any]:
    # What the path says outranks what the bytes say, and that outranks what the label says.
    found = seen.found
    own = found.reason is None or record.reason in PATH_REASONS
    return {
        "collection": collection.name,
        "path": record.path,
        "bytes": seen.size,
        "md5": seen.md5,
        "width": found.width,
        "height": found.height,
        "mode": found.mode,
        "format": found.format,
        "published_split": record.published_split,
        "published_label": record.published_label,
        "label": collection.labels.get(record.published_label or ""),
        "licence": collection.licence.stated,
        "reason": record.reason if own else found.reason,
        "detail": record.detail if own else found.detail,
    }


def _record_row(row: Mapping[str, Any], record: FileRecord) -> dict[str, Any]:
    x, y, width, height = record.box or (None, None, None, None)
    return {
        "collection": row["collection"],
        "path": record.path,
        "slice": record.slice,
        "patient": record.patient,
        "box_x": x,
        "box_y": y,
        "box_w": width,
        "box_h": height,
    }


def _looks_row(image_id: str, found: Findings) -> dict[str, Any]:
    return {"image_id": image_id, **vars(found.looks)}


def _make_thumbnails(images: Mapping[str, Findings]) -> pd.DataFrame:
    # What `_make_frame` gives, without three copies of the pixels.
    image_ids = sorted(images)
    pixels = pd.Series([images[image_id].thumbnail for image_id in image_ids], dtype=object)
    return pd.DataFrame({"image_id": pd.Series(image_ids, dtype="str"), "pixels": pixels})


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


def _join(name: str, new: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
    both = pa.concat_tables([to_arrow(name, new), to_arrow(name, old)])
    return from_arrow(name, both.sort_by([(column, "ascending") for column in find_table(name).key]))


def _list_keys(rows: Iterable[Mapping[Any, Any]]) -> list[Key]:
    return [(str(row["collection"]), str(row["path"])) for row in rows]


def _find_repeats(keys: list[Key]) -> set[Key]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _show(keys: set[Key]) -> str:
    shown = [f"{collection}/{path}" for collection, path in sorted(keys)[:5]]
    return ", ".join(shown) + (", …" if len(keys) > 5 else "")
