"""A bundle that may be passed on: hashes, labels, patients, splits of everything, pixels of what is free."""

import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.atomic import replacing_file, replacing_folder, write_text
from pipeline.audit.croissant import CROISSANT, describe_lake, dump_croissant
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Facts, dump_facts
from pipeline.audit.gathering import DISCLAIMERS
from pipeline.audit.licences import find_free_images, list_permitting, require_permission
from pipeline.audit.report import FACTS, REPORT, render_report
from pipeline.digests import digest_file
from pipeline.errors import FalxError, SourceError
from pipeline.protocols import split_table
from pipeline.tables import arrow_schema, find_table, list_rows, to_arrow

EVERYTHING = (
    "files", "quarantine", "images", "pictures", "pairs", "patients", "groups", "conflicts", "foreign",
    "looks", "folds",
)  # fmt: skip
"""Tables without a pixel; `review` and `decisions` stay here, since they name people."""
PIXELS = ("thumbnails", "variants")
CHECKSUMS, README = "SHA256SUMS", "README.md"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: no clock in the bytes


@dataclass(frozen=True)
class Bundle:
    """What was exported.

    Attributes:
        target: the folder or zip file.
        pixels: collections whose pixels are in it.
        thumbnails, variants, originals: how many of each are in it.
        withheld: images whose pixels stayed here.
    """

    target: Path
    pixels: tuple[str, ...]
    thumbnails: int
    variants: int
    originals: int
    withheld: int


def export_bundle(
    evidence: Evidence,
    target: Path,
    *,
    pixels: Sequence[str] | None = None,
    variants: Iterable[pd.DataFrame] = (),
    folders: Mapping[str, Path] | None = None,
    facts: Facts | None = None,
) -> Bundle:
    """Write a bundle of Parquet tables with README, checksums and Croissant description, whole or not at all.

    All rows leave with hashes, labels, patients, groups and splits. Thumbnails, variants and original files
    leave only where every collection that holds these bytes allows it (`licence.redistribute: "yes"`). The
    same evidence gives the same bytes.

    Args:
        evidence: the tables.
        target: a folder that does not exist yet, or a file that ends in `.zip`, which is replaced.
        pixels: collections whose pixels are asked for; None: all that allow it; empty: none.
        variants: parts of table `variants` in key order; filtered.
        facts: `gather_facts(evidence)`; adds `audit.json` and an `audit.html` with the free pictures alone.
        folders: collection -> raw folder, to add original files of collections in `pixels`; None adds none.

    Raises:
        LicenceError: pixels are asked for that may not leave.
        FalxError: the target folder exists.
        SourceError: an original file is gone or is no longer what was scanned.
    """
    if pixels is not None:
        require_permission(pixels, evidence.collections)
    allowed = sorted(pixels) if pixels is not None else list_permitting(evidence.collections)
    if target.suffix != ".zip" and target.exists():
        raise FalxError(
            f"{target} exists already, and what lies there may hold pixels of an older export; move it "
            "away or name another folder"
        )
    free = find_free_images(evidence.files, allowed) if allowed else set()
    if target.suffix != ".zip":
        with replacing_folder(target) as folder:
            return _fill(folder, target, evidence, allowed, free, variants, folders or {}, facts)
    with replacing_file(target) as archive:
        folder = archive.with_suffix(".folder")
        folder.mkdir()
        try:
            found = _fill(folder, target, evidence, allowed, free, variants, folders or {}, facts)
            _zip_folder(folder, archive, target.stem)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _fill(
    folder: Path,
    target: Path,
    evidence: Evidence,
    allowed: Sequence[str],
    free: set[str],
    variants: Iterable[pd.DataFrame],
    folders: Mapping[str, Path],
    facts: Facts | None,
) -> Bundle:
    rows: dict[str, int] = {}
    for name, frame in _list_tables(evidence, free):
        rows[name] = _write_table(folder, name, [frame])
    rows["variants"] = _write_table(
        folder, "variants", (part[part["image_id"].isin(free)] for part in variants)
    )
    originals = _copy_originals(
        folder, evidence.files, free, {name: folders[name] for name in allowed if name in folders}
    )
    found = Bundle(
        target, tuple(allowed), rows["thumbnails"], rows["variants"], originals,
        len(set(evidence.images["image_id"]) - free),
    )  # fmt: skip
    tables = {name: _place(folder, name) for name in rows if _place(folder, name).is_file()}
    write_text(folder / CROISSANT, dump_croissant(describe_lake(evidence, tables, folder)))
    if facts is not None:
        free_pictures = evidence.thumbnails[evidence.thumbnails["image_id"].isin(free)]
        page = render_report(replace(evidence, thumbnails=free_pictures), facts)
        write_text(folder / REPORT, page)
        write_text(folder / FACTS, dump_facts(facts))
    write_text(folder / README, _write_readme(evidence, found, rows))
    write_text(folder / CHECKSUMS, _list_checksums(folder))
    return found


def _list_tables(evidence: Evidence, free: set[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in EVERYTHING:
        yield name, getattr(evidence, name)
    for protocol, split in sorted(evidence.splits.items()):
        yield split_table(protocol), split
    yield "thumbnails", evidence.thumbnails[evidence.thumbnails["image_id"].isin(free)]


def _place(folder: Path, name: str) -> Path:
    return folder / "tables" / f"{name}.parquet"


def _write_table(folder: Path, name: str, parts: Iterable[pd.DataFrame]) -> int:
    """Rows written; pixels of which none may leave make no table, any other table may be empty."""
    import pyarrow.parquet as pq

    path, rows, writer = _place(folder, name), 0, None
    try:
        for part in parts:
            if not len(part) and name in PIXELS:
                continue
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, arrow_schema(find_table(name)), compression="zstd")
            writer.write_table(to_arrow(name, part))
            rows += len(part)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _copy_originals(folder: Path, files: pd.DataFrame, free: set[str], folders: Mapping[str, Path]) -> int:
    """Original files of members, each checked against the MD5 of the scan."""
    from hashlib import md5

    members = files[
        files["reason"].isna() & files["md5"].isin(free) & files["collection"].isin(list(folders))
    ]
    for row in list_rows(members.sort_values(["collection", "path"])):
        source = folders[row["collection"]] / PurePosixPath(row["path"])
        try:
            data = source.read_bytes()
        except OSError as error:
            raise SourceError(
                f"{source} cannot be exported: {error.strerror}; run the curation again, then export"
            ) from error
        if md5(data, usedforsecurity=False).hexdigest() != row["md5"]:
            raise SourceError(
                f"{source} has changed since it was scanned, so the bundle would not hold what its tables "
                "say; run the curation again, then export"
            )
        place = folder / "originals" / row["collection"] / PurePosixPath(row["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return len(members)


def _write_readme(evidence: Evidence, found: Bundle, rows: Mapping[str, int]) -> str:
    parts = [
        "# Public brain-tumour MRI collections: copies, patients, splits",
        f"{len(evidence.files):,} files of {', '.join(evidence.names)}: hashes, labels, which images show "
        "one picture, known patients, groups and splits. Made by Falx from files that it does not own.",
        "## Pixels\n\n" + _say_pixels(found),
        "## Licences, as the sources state them",
        "\n".join(
            f"- **{name}**: {one.licence.stated}. Pixels may be passed on: {one.licence.redistribute}. "
            f"Cite: {one.citation}"
            for name, one in sorted(evidence.collections.items())
            if name in evidence.names
        ),
        "## Tables (Parquet)\n\n| table | a row is | rows |\n|---|---|--:|\n"
        + "\n".join(
            f"| `tables/{name}.parquet` | {find_table(name).row} | {count:,} |"
            for name, count in sorted(rows.items())
            if count or name not in PIXELS
        ),
        "Each column's meaning lies in its Parquet field metadata and in `croissant.json`. "
        "`image_id` is the MD5 of a file's bytes: with your own copy of a collection, it finds the pixels.",
        f"## Check\n\n`sha256sum -c {CHECKSUMS}`",
        "## Read this too\n\n" + "\n".join(f"- {line}" for line in DISCLAIMERS),
    ]
    return "\n\n".join(parts) + "\n"


def _say_pixels(found: Bundle) -> str:
    if not found.pixels:
        return f"None. The pixels of {found.withheld:,} images stay where they are."
    return (
        f"Of {', '.join(found.pixels)} only: {found.thumbnails:,} thumbnails, {found.variants:,} degraded "
        f"variants, {found.originals:,} original files. The pixels of {found.withheld:,} images stay where "
        "they are: their licence is unknown or forbids it, or they were not asked for."
    )


def _list_checksums(folder: Path) -> str:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{digest_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def _zip_folder(folder: Path, archive: Path, root: str) -> None:
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{root}/{path.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(name, _ZIP_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                with path.open("rb") as source, bundle.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink)
