"""Which of the copies of a picture stands for it, so that 35 copies do not weigh 35-fold."""

from collections.abc import Container, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.orientation import name_orientations
from pipeline.digests import seed_for
from pipeline.errors import TableError
from pipeline.tables import list_rows

# How far a copy may lie from the upright image's frame and still count as straight and whole: 5 % of the
# width or height, about the shift that 3 degrees of rotation give at the border.
STRAIGHT = 0.05
SMALL = 0.25  # share of the largest copy's pixels below which a copy has lost half of the resolution
COARSE = 4  # times the finest copy's JPEG quantisation: about quality 75 against 94
LOSSLESS = 64  # the quantisation table of the best JPEG: 64 ones

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Floats = npt.NDArray[np.float64]
Row = dict[Hashable, Any]


def rank_copies(
    images: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    *,
    looks: pd.DataFrame | None = None,
) -> "pd.Series[int]":
    """The place of each image among the copies of its picture: 0 stands for it, then 1, 2, …

    The rule, first difference first: neither mirrored nor turned against the picture's upright image;
    neither rotated nor cropped against it by more than `STRAIGHT`; no less than a quarter of the pixels of
    the picture's largest copy; no coarser than `COARSE` times its finest JPEG quantisation, where `looks`
    tells; then a draw by image_id. Upright is the reference's own slice where there is one, else the
    representative. The draw keeps copies of all collections: were the reference's or the largest copy
    preferred, every tumour would come from one collection and every `no_tumor` from another, and a network
    could learn the collections instead of the tumours.

    Args:
        images: table `images`.
        pictures: table `pictures`, same image_ids.
        patients: table `patients`, same image_ids; its `source` tells a reference's own slice.
        looks: table `looks`; without it compression does not count.

    Returns:
        The rank of each image, indexed by image_id and sorted by it. The order of rows changes nothing.

    Raises:
        TableError: an image is in none or several rows of a table.
    """
    return rank_rows(join_rows(images, pictures=pictures, patients=patients), looks)


def rank_rows(rows: list[Row], looks: pd.DataFrame | None = None) -> "pd.Series[int]":
    """`rank_copies` of rows that `join_rows` made of images, pictures and patients."""
    jpeg: dict[str, int] = {}
    if looks is not None:
        known = looks[looks["jpeg"].notna()]
        jpeg = dict(zip(known["image_id"], known["jpeg"].astype(int), strict=True))
    shown: dict[str, list[Row]] = {}
    for row in rows:
        shown.setdefault(row["picture_id"], []).append(row)
    ranks = {copies[0]["image_id"]: 0 for copies in shown.values() if len(copies) == 1}
    several = [copies for copies in shown.values() if len(copies) > 1]
    turned, straight = _tell_ways(several)
    for copies in several:
        order = _order_copies(copies, turned, straight, jpeg)
        ranks |= {image_id: rank for rank, image_id in enumerate(order)}
    return pd.Series(ranks, dtype="int64", name="copy_rank").rename_axis("image_id").sort_index()


def _tell_ways(several: list[list[Row]]) -> tuple[set[str], set[str]]:
    """Which copies are mirrored or turned against their picture's upright image, and which lie straight."""
    if not several:
        return set(), set()
    ids = [row["image_id"] for copies in several for row in copies]
    own = np.array([row["transform"] for copies in several for row in copies], np.float64)
    upright = np.array([_find_upright(copies)["transform"] for copies in several], np.float64)
    back = _square(np.repeat(upright, [len(copies) for copies in several], axis=0))
    ways = (_square(own) @ np.linalg.inv(back))[:, :2]
    mirrored, degrees = name_orientations(ways)
    off = np.abs(ways.round(6).reshape(-1, 6) - IDENTITY).max(axis=1).round(6)
    turned = {one for one, odd in zip(ids, mirrored | (degrees != 0), strict=True) if odd}
    return turned, {one for one, near in zip(ids, off <= STRAIGHT, strict=True) if near}


def _square(flat: Floats) -> Floats:
    """Transforms [n, 6] as matrices [n, 3, 3]."""
    last = np.broadcast_to([0.0, 0.0, 1.0], (len(flat), 1, 3))
    return np.concatenate([flat.reshape(-1, 2, 3), last], axis=1)


def _find_upright(copies: list[Row]) -> Row:
    own = [row for row in copies if row["source"] == "record"]
    return min(
        own or [row for row in copies if row["image_id"] == row["representative"]] or copies,
        key=lambda row: row["image_id"],
    )


def _order_copies(
    copies: list[Row], turned: Container[str], straight: Container[str], jpeg: dict[str, int]
) -> list[str]:
    largest = max(int(row["width"]) * int(row["height"]) for row in copies)
    finest = min(jpeg.get(row["image_id"], LOSSLESS) for row in copies)

    def place(row: Row) -> tuple[Any, ...]:
        return (
            row["image_id"] in turned,
            row["image_id"] not in straight,
            int(row["width"]) * int(row["height"]) < SMALL * largest,
            jpeg.get(row["image_id"], LOSSLESS) > COARSE * finest,
            seed_for("copy", row["image_id"]),
            row["image_id"],
        )

    return [row["image_id"] for row in sorted(copies, key=place)]


def join_rows(images: pd.DataFrame, **tables: pd.DataFrame) -> list[Row]:
    """Each image's row with those that every table has of it, as dicts, sorted by image_id.

    Raises:
        TableError: a table does not hold each image exactly once; names the table and one image.
    """
    rows = {row["image_id"]: row for row in sorted(list_rows(images), key=lambda row: row["image_id"])}
    for name, table in tables.items():
        found = {row["image_id"]: row for row in list_rows(table)}
        if found.keys() != rows.keys() or len(found) != len(table) or len(rows) != len(images):
            example = min(found.keys() ^ rows.keys(), default="one that comes twice")
            raise TableError(
                f"images ({len(images)} rows) and {name} ({len(table)} rows) do not both hold each image "
                f"once, as {example}; materialise both again, in one run"
            )
        rows = {image_id: found[image_id] | row for image_id, row in rows.items()}
    return list(rows.values())


def keep_one_copy(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of a table `splits`, the one with the lowest `copy_rank` of each picture in each split.

    A row without a picture_id stays: under `published` and `stratified` every file counts. Give the rows of
    the collections in use: what stands for a picture is then the best copy among them.
    """
    ordered = rows.sort_values(["copy_rank", "image_id"], kind="stable")
    again = ordered["picture_id"].notna() & ordered.duplicated(["split", "picture_id"])
    return rows.loc[~again.reindex(rows.index)]
