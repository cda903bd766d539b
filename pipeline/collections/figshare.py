"""The reference collection (figshare 1512427): MATLAB files that describe themselves, or `slices.csv`."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from pipeline.errors import DecodeError, SourceError
from pipeline.imaging.matlab import measure_matlab, open_matlab, read_matlab

TABLE = "slices.csv"
COLUMNS = ("slice", "file", "label", "pid", "box_x", "box_y", "box_w", "box_h")
MAX_PID_LENGTH = 64
MAX_OUTLINE = 1_000_000
MAX_MASK = 64_000_000

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Entry:
    """What the collection says of one slice.

    Attributes:
        label: digits as published (1 meningioma, 2 glioma, 3 pituitary), or None.
        slice: the collection's own name of the slice.
        patient: patient id as published.
        box: centre x, centre y, width, height of the tumour's box, fractions of the image.
        reason: why the file is set aside, one of `pipeline.tables.QUARANTINE_REASONS`.
        detail: what exactly was found; given where `reason` is.
        inside: whether the rest stands in the file itself, for `describe_slice` to read.
    """

    label: str | None = None
    slice: str | None = None
    patient: str | None = None
    box: Box | None = None
    reason: str | None = None
    detail: str | None = None
    inside: bool = False


def read_entries(folder: Path, paths: Sequence[str]) -> dict[str, Entry]:
    """One entry a path: from `slices.csv` where it lists the file; MATLAB files else describe themselves.

    Raises:
        SourceError: `slices.csv` has other columns, a wrong or repeated row, or lists a file that is absent.
    """
    table = folder / TABLE
    listed = _read_table(table) if table.is_file() and not table.is_symlink() else {}
    absent = sorted(set(listed) - set(paths))
    if absent:
        raise SourceError(
            f"{table}: lists {len(absent)} files that are not there as plain files, first {absent[0]!r}; "
            "fetch them, or take their rows out"
        )
    entries = {path: listed.get(path) or _find_entry(path) for path in paths}
    if not listed and not any(entry.inside for entry in entries.values()):
        raise SourceError(
            f"{folder} holds neither .mat files nor {TABLE} with rows; unpack the archives into it"
        )
    return entries


def describe_slice(data: bytes) -> Entry:
    """What a MATLAB file says of its own slice, from its bytes; its name is the slice's, and not in them."""
    try:
        with open_matlab(data) as group:
            return Entry(label=_read_label(group), patient=_read_patient(group), box=_read_box(group))
    except DecodeError as error:
        reason = "unlabelled" if error.reason == "not_an_image" else error.reason
        return Entry(reason=reason, detail=error.detail)
    except Exception as error:  # HDF5 raises whatever the bytes drive it into
        return Entry(reason="corrupt", detail=f"not readable as MATLAB v7.3: {error}".replace("\n", " "))


def find_box(mask: np.ndarray) -> Box | None:
    """The box around a mask [height, width]: centre x and y, width, height as fractions; None if empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    height, width = mask.shape
    left, right = columns[0] / width, (columns[-1] + 1) / width
    top, bottom = rows[0] / height, (rows[-1] + 1) / height
    return float(left + right) / 2, float(top + bottom) / 2, float(right - left), float(bottom - top)


def find_outline_box(points: np.ndarray, width: int, height: int) -> Box | None:
    """The box around an outline x1, y1, x2, y2, … in MATLAB's pixels, where 1 is the first pixel's centre.

    The order of x (column) and y (row) is that of the collection's README.
    """
    numbers = np.asarray(points, np.float64).ravel()
    if numbers.size < 2 or numbers.size % 2 or not np.isfinite(numbers).all():
        return None
    x, y = numbers[0::2], numbers[1::2]
    left, right = np.clip([(x.min() - 1) / width, x.max() / width], 0, 1)
    top, bottom = np.clip([(y.min() - 1) / height, y.max() / height], 0, 1)
    return float(left + right) / 2, float(top + bottom) / 2, float(right - left), float(bottom - top)


def _find_entry(path: str) -> Entry:
    if PurePosixPath(path).suffix.lower() == ".mat":
        return Entry(slice=PurePosixPath(path).stem, inside=True)
    return Entry(reason="unlabelled", detail=f"{TABLE} does not list it, and it is no .mat file")


def _read_label(group: h5py.Group) -> str:
    value = read_matlab(group, "label", 1).ravel()
    if value.size != 1 or not float(value[0]).is_integer():
        raise DecodeError("corrupt", f"cjdata/label is {value.tolist()}; one whole number is needed")
    return str(int(value[0]))


def _read_patient(group: h5py.Group) -> str | None:
    if "PID" not in group.keys():  # noqa: SIM118 `in group` would follow links into other files
        return None
    codes = read_matlab(group, "PID", MAX_PID_LENGTH).ravel()
    text = "".join(chr(int(code)) for code in codes)
    if not text.isprintable():
        raise DecodeError("corrupt", f"cjdata/PID is no text: {codes.tolist()}")
    return text.strip() or None


def _read_box(group: h5py.Group) -> Box | None:
    fields = set(group.keys())
    if not fields & {"tumorMask", "tumorBorder"}:
        return None
    sides = measure_matlab(group, "image")
    if len(sides) != 2 or not all(sides):
        raise DecodeError("corrupt", f"cjdata/image has shape {sides}; two sides are needed")
    if "tumorMask" not in fields:
        return find_outline_box(read_matlab(group, "tumorBorder", MAX_OUTLINE), sides[0], sides[1])
    mask = read_matlab(group, "tumorMask", MAX_MASK)
    if mask.shape != sides:
        raise DecodeError("corrupt", f"cjdata/tumorMask has shape {mask.shape}, cjdata/image has {sides}")
    return find_box(mask.T)


def _read_table(table: Path) -> dict[str, Entry]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table}: not readable as a UTF-8 table: {error}") from error
    header = lines[0] if lines else []
    if sorted(header) != sorted(COLUMNS):
        raise SourceError(f"{table}: has columns {header}; needed are {', '.join(COLUMNS)}, in any order")
    entries: dict[str, Entry] = {}
    slices: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{table}: row {number}"
        if len(line) != len(header):
            raise SourceError(f"{where}: has {len(line)} fields; the header has {len(header)}")
        row = {name: value.strip() for name, value in zip(header, line, strict=True)}
        if row["file"] in entries:
            raise SourceError(f"{where}: file {row['file']!r} is listed twice; keep one row")
        if row["slice"] in slices:
            raise SourceError(f"{where}: slice {row['slice']!r} stands in row {slices[row['slice']]} already")
        slices[row["slice"]] = number
        entries[row["file"]] = _parse_row(row, where)
    return entries


def _parse_row(row: dict[str, str], where: str) -> Entry:
    for name in ("slice", "file"):
        if not row[name]:
            raise SourceError(f"{where}: {name} is blank")
    if not row["label"]:
        return Entry(reason="unlabelled", detail=f"{TABLE} gives it no label")
    return Entry(row["label"], row["slice"], row["pid"] or None, _parse_box(row, where))


def _parse_box(row: dict[str, str], where: str) -> Box | None:
    names = COLUMNS[4:]
    if not any(row[name] for name in names):
        return None
    numbers = [_parse_fraction(row, name, where) for name in names]
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _parse_fraction(row: dict[str, str], name: str, where: str) -> float:
    try:
        number = float(row[name])
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise SourceError(f"{where}: {name} is {row[name]!r}; a fraction from 0 to 1 is needed")
    return number
