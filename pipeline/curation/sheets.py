"""Contact sheets of what curation found, drawn from the 128-pixel thumbnails: evidence for the eye."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.boxes import Box, compose, invert, read_transform
from pipeline.curation.thumbnails import SIDE, open_thumbnails
from pipeline.imaging.sheets import fit_sheet
from pipeline.labels import LABELS
from pipeline.tables import list_rows, map_cells

TILE = 112

Pixels = npt.NDArray[np.uint8]
Row = Mapping[Hashable, Any]
Thumbnails = pd.DataFrame | Callable[[Sequence[str]], pd.DataFrame]
"""Table `thumbnails`, or what gives its rows of the images named."""


def draw_labels(images: pd.DataFrame, thumbnails: Thumbnails, *, each: int = 8) -> bytes:
    """A row of examples for each label, the first by image_id, so that the choice is blind.

    Args:
        images: table `images`; those without a label are left out.
        thumbnails: table `thumbnails`, same image_ids.
        each: pictures a label.

    Raises:
        ValueError: no image has a label.
    """
    chosen = images.sort_values("image_id").groupby("label").head(each)
    chosen = chosen.assign(order=chosen["label"].map(LABELS.index)).sort_values(["order", "image_id"])
    captions = [f"{row['label']}\n{row['collection']}" for row in list_rows(chosen)]
    return fit_sheet(_open(thumbnails, list(chosen["image_id"])), captions, columns=each, tile=TILE)


def draw_copies(
    images: pd.DataFrame, pictures: pd.DataFrame, thumbnails: Thumbnails, *, count: int = 8
) -> bytes | None:
    """The joins with the lowest scores, each image above the one that it was proven against.

    These are the joins to doubt first. None where nothing was joined.

    Args:
        images, pictures, thumbnails: the tables, same image_ids.
        count: pairs shown.
    """
    joined = pictures[pictures["joined_to"] != pictures["image_id"]]
    weakest = list_rows(joined.sort_values(["score", "image_id"]).head(count))
    if not weakest:
        return None
    to = map_cells(pictures, "image_id", "transform")
    collection = map_cells(images, "image_id", "collection")
    upper = [f"{collection[row['image_id']]}\n{row['evidence']} {row['score']:.3f}" for row in weakest]
    lower = [
        f"{collection[row['joined_to']]}\n{describe_way(find_way(to[row['joined_to']], row['transform']))}"
        for row in weakest
    ]
    return _draw_pairs(thumbnails, weakest, "joined_to", upper, lower)


def draw_boxes(
    patients: pd.DataFrame, pictures: pd.DataFrame, thumbnails: Thumbnails, *, count: int = 8
) -> bytes | None:
    """Copies with the tumour's box that they inherited, each above its reference slice with its own box.

    Half of them are the copies that differ most from their slice (in turn, mirror, rotation, scale), half
    are blind: the first by image_id. None where no copy inherited a box.

    Args:
        patients, pictures, thumbnails: the tables, same image_ids.
        count: pairs shown.
    """
    boxed = patients[(patients["source"] == "copy") & patients["box_x"].notna()].sort_values("image_id")
    rows = list_rows(boxed)
    if not rows:
        return None
    to = map_cells(pictures, "image_id", "transform")
    ways = {row["image_id"]: find_way(to[row["reference_id"]], to[row["image_id"]]) for row in rows}
    odd = sorted(rows, key=lambda row: (-_measure_way(ways[row["image_id"]]), row["image_id"]))[: count // 2]
    taken = {row["image_id"] for row in odd}
    shown = odd + [row for row in rows if row["image_id"] not in taken][: count - len(odd)]
    upper = [f"copy\n{describe_way(ways[row['image_id']])}" for row in shown]
    lower = [
        f"{_say(row['patient_id'], 'patient unknown')}\n{_say(row['reference_label'], 'no label')}"
        for row in shown
    ]
    return _draw_pairs(thumbnails, shown, "reference_id", upper, lower, boxes=_read_boxes(patients))


def draw_conflicts(
    conflicts: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    thumbnails: Thumbnails,
    *,
    count: int = 8,
) -> bytes | None:
    """Images whose label is contradicted, each above the reference slice or the copy that contradicts it.

    One image a picture, taken in turn from the kinds `reference`, `copies` and `bytes`. None where there is
    no conflict.

    Args:
        conflicts: table `conflicts`.
        pictures, patients, thumbnails: the tables; they hold every image of `conflicts`.
        count: pairs shown.
    """
    order = {"reference": 0, "copies": 1, "bytes": 2}
    shown = map_cells(pictures, "image_id", "picture_id")
    ranked = conflicts.sort_values("image_id").assign(picture=conflicts["image_id"].map(shown))
    ranked = ranked.drop_duplicates(["kind", "picture"])
    ranked = ranked.assign(turn=ranked.groupby("kind").cumcount(), order=ranked["kind"].map(order))
    rows = list_rows(ranked.sort_values(["turn", "order"]).head(count))
    if not rows:
        return None
    reference = map_cells(patients, "image_id", "reference_id")
    other = _find_others(conflicts, pictures)
    for row in rows:
        slice_ = reference[row["image_id"]]
        row["against"] = slice_ if isinstance(slice_, str) else other[row["image_id"]]
    label = map_cells(conflicts, "image_id", "label")
    upper = [
        f"{row['kind']}: {_say(row['label'], '/'.join(row['labels']))}\n{_name_file(row)}" for row in rows
    ]
    there = [_say(row["reference_label"], _say(label.get(row["against"]), "?")) for row in rows]
    lower = [
        f"{said}\n-> {_say(row['resolved'], 'undecided')}" for said, row in zip(there, rows, strict=True)
    ]
    return _draw_pairs(thumbnails, rows, "against", upper, lower)


def draw_foreign(foreign: pd.DataFrame, thumbnails: Thumbnails, *, count: int = 24) -> bytes | None:
    """Images that do not look like a brain MR slice, in turn from each kind; None where there are none.

    Args:
        foreign: table `foreign`.
        thumbnails: table `thumbnails`; it holds every image of `foreign`.
        count: images shown.
    """
    ranked = foreign.sort_values("image_id")
    ranked = ranked.assign(turn=ranked.groupby("kind").cumcount())
    rows = list_rows(ranked.sort_values(["turn", "kind"]).head(count))
    if not rows:
        return None
    captions = [f"{row['kind']}{' (kept)' if row['kept'] else ''}\n{_name_file(row)}" for row in rows]
    tiles = _open(thumbnails, [row["image_id"] for row in rows])
    return fit_sheet(tiles, captions, columns=8, tile=TILE)


@dataclass(frozen=True)
class Way:
    """From one image to another: mirrored first, then turned, rotated (degrees counter-clockwise), scaled."""

    mirrored: bool
    turned: int
    rotated: float
    scaled: float


def find_way(start: Sequence[float], end: Sequence[float]) -> Way:
    """The way from one image to another, given both transforms from their picture's representative."""
    a, b, _, d, e, _ = compose(read_transform(end), invert(read_transform(start)))
    area = a * e - b * d
    mirrored = area < 0
    # The mirror undone is a, d with the other sign; y points down, so that the sine is b − d.
    cosine, sine = (e - a, b + d) if mirrored else (e + a, b - d)
    degrees = math.degrees(math.atan2(sine, cosine))
    quarters = round(degrees / 90)
    return Way(mirrored, quarters % 4 * 90, round(degrees - 90 * quarters, 6), round(math.sqrt(abs(area)), 6))


def describe_way(way: Way) -> str:
    """A way in words: `mirrored, turned 90°, +7°, × 1.20`; `upright` where nothing shows."""
    parts = ["mirrored"] if way.mirrored else []
    parts += [f"turned {way.turned}°"] if way.turned else []
    parts += [f"{way.rotated:+.0f}°"] if abs(way.rotated) >= 0.5 else []
    parts += [f"× {way.scaled:.2f}"] if abs(way.scaled - 1) >= 0.015 else []
    return ", ".join(parts) or "upright"


def _measure_way(way: Way) -> float:
    """How odd a way is: a mirror, a turn and 10 degrees count alike."""
    odd = way.mirrored + (way.turned > 0) + abs(way.rotated) / 10 + 5 * abs(math.log(way.scaled))
    return round(odd, 6)


def _read_boxes(patients: pd.DataFrame) -> dict[str, Box]:
    known = patients[patients["box_x"].notna()]
    columns = (known[f"box_{side}"].astype(float) for side in "xywh")
    return dict(zip(known["image_id"], zip(*columns, strict=True), strict=True))


def _draw_pairs(
    thumbnails: Thumbnails,
    rows: Sequence[Row],
    against: str,
    upper: Sequence[str],
    lower: Sequence[str],
    *,
    boxes: Mapping[str, Box] | None = None,
) -> bytes:
    """Each row's image above the one that its column `against` names."""
    ids = [row["image_id"] for row in rows] + [row[against] for row in rows]
    tiles = _open(thumbnails, ids)
    if boxes is not None:
        tiles = [_outline(tile, boxes.get(name)) for tile, name in zip(tiles, ids, strict=True)]
    # Boxes are drawn on whole thumbnails: a tile of another size would blur their lines.
    return fit_sheet(tiles, [*upper, *lower], columns=len(rows), tile=TILE if boxes is None else SIDE)


def _outline(tile: Pixels, box: Box | None) -> Pixels:
    """The tile with the box drawn in white on black, so that it shows on any ground."""
    if box is None:
        return tile
    x, y, width, height = box
    side = len(tile)
    left, top = round((x - width / 2) * side), round((y - height / 2) * side)
    right, bottom = round((x + width / 2) * side), round((y + height / 2) * side)
    drawn = tile.copy()
    cv2.rectangle(drawn, (left - 1, top - 1), (right + 1, bottom + 1), (0,), 1)
    cv2.rectangle(drawn, (left, top), (right, bottom), (255,), 1)
    return drawn


def _find_others(conflicts: pd.DataFrame, pictures: pd.DataFrame) -> dict[str, str]:
    """For each conflict the first image of its picture with another label; itself where its files differ."""
    picture = map_cells(pictures, "image_id", "picture_id")
    members: dict[str, list[Row]] = {}
    for row in list_rows(conflicts.sort_values("image_id")):
        members.setdefault(picture[row["image_id"]], []).append(row)
    return {
        row["image_id"]: next(
            (one["image_id"] for one in rows if one["label"] != row["label"]), row["image_id"]
        )
        for rows in members.values()
        for row in rows
    }


def _name_file(row: Row) -> str:
    return str(row["path"]).rsplit("/", 1)[-1]


def _say(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise


def _open(thumbnails: Thumbnails, ids: Sequence[str]) -> list[Pixels]:
    """The thumbnails of the images named, in their order, repeats included."""
    if isinstance(thumbnails, pd.DataFrame):
        chosen = thumbnails[thumbnails["image_id"].isin(list(ids))]
    else:
        chosen = thumbnails(ids)
    pixels = dict(zip(chosen["image_id"], open_thumbnails(chosen), strict=True))
    return [pixels[name] for name in ids]
