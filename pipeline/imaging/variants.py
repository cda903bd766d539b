"""Degraded copies of the test images, as rows of the `variants` table, in bounded memory.

A row says all that makes its pixels: image, kind, value and seed. Kinds that the catalog marks `stored` have
them as PNG as well; those of the others are made when they are needed, by the same function.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.catalog import Degradation
from pipeline.digests import seed_for
from pipeline.errors import TableError
from pipeline.imaging.cache import ImageCache
from pipeline.imaging.degrade import apply_kind
from pipeline.tables import find_table
from pipeline.threads import one_torch_thread

SEVERITIES = (1, 2, 3, 4, 5)
FRAME_ROWS = 512


def make_variants(
    split: pd.DataFrame,
    cache: ImageCache,
    degradations: Mapping[str, Degradation],
    *,
    size: int,
    limit: int | None = None,
    workers: int = 1,
) -> Iterator[pd.DataFrame]:
    """List every test image under every kind at every severity, with its picture where the kind is `stored`.

    Args:
        split: table `splits` of one protocol; rows with split `test` count.
        cache: holds the test images at `size` pixels.
        degradations: kinds by name.
        size: side of the images, pixels.
        limit: at most so many pictures a label, each with all its copies among the rows, since recipes may
            choose different ones; the first by a digest of the picture, so that further images elsewhere
            change nothing; null takes all.
        workers: threads that degrade, one frame each; they change nothing but time.

    Yields:
        Frames of table `variants`, at most `FRAME_ROWS` rows each, together sorted by the table's key. A
        row's seed is `seed_for("variant", image_id, degradation, severity)`; its picture is an 8-bit grey
        PNG of `render_variants`, or null. Without test images there is no frame.

    Raises:
        TableError: the cache has another size, lacks an image, or a test image has no label.
    """
    if cache.size != size:
        raise TableError(
            f"the image cache holds {cache.size} pixels a side and variants of {size} were asked for; "
            f"open the cache with size={size}"
        )
    labels = choose_images(split, limit=limit)
    kinds = [degradations[name] for name in sorted(degradations)]
    step = max(1, FRAME_ROWS // max(1, len(kinds) * len(SEVERITIES)))
    parts = [labels.iloc[first : first + step] for first in range(0, len(labels), step)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for begin in range(0, len(parts), max(1, workers)):
            some = parts[begin : begin + max(1, workers)]
            with one_torch_thread():
                frames = list(pool.map(lambda part: _degrade_part(part, cache, kinds), some))
            for frame in frames:
                for start in range(0, len(frame), FRAME_ROWS):
                    yield frame.iloc[start : start + FRAME_ROWS].reset_index(drop=True)


def choose_images(split: pd.DataFrame, *, limit: int | None = None) -> "pd.Series[str]":
    """Labels of the test images, by image_id and sorted by it; at most `limit` pictures a label, by content.

    Where a row names no picture, its image counts as one.

    Raises:
        TableError: a test image has no label, or two.
    """
    test = split.loc[split["split"] == "test", ["image_id", "label", "picture_id"]].drop_duplicates()
    for image_ids, fault in (
        (test.loc[test["label"].isna(), "image_id"], "have no label"),
        (test.loc[test["image_id"].duplicated(), "image_id"], "have two labels"),
    ):
        if len(image_ids):
            raise TableError(f"{len(image_ids)} test images {fault}, the first is {image_ids.iloc[0]!r}")
    if limit is not None:
        pictures = test["picture_id"].where(test["picture_id"].notna(), test["image_id"])
        order = pictures.map(lambda picture: seed_for("variant", picture))
        test = test[order.groupby(test["label"]).rank(method="dense") <= limit]
    return test.set_index("image_id")["label"].sort_index()


def render_variants(
    image_ids: Sequence[str], cache: ImageCache, name: str, value: float, seeds: Sequence[int]
) -> NDArray[np.uint8]:
    """The pixels of variants of one kind and value: uint8 [n, size, size], as a stored PNG holds them.

    Each is a function of image, kind, value and seed alone.

    Raises:
        TableError: the cache lacks an image.
    """
    images = torch.from_numpy(cache.read(image_ids)).float().div_(255)[:, None]
    degraded = apply_kind(images, name, value, seeds).mul_(255).round_().to(torch.uint8)
    pixels: NDArray[np.uint8] = degraded.numpy()[:, 0]
    return pixels


def _degrade_part(labels: "pd.Series[str]", cache: ImageCache, kinds: list[Degradation]) -> pd.DataFrame:
    image_ids = labels.index.tolist()
    cache.rows_of(image_ids)
    rows = []
    for kind in kinds:
        for severity, value in zip(SEVERITIES, kind.severities, strict=True):
            seeds = [seed_for("variant", image_id, kind.name, severity) for image_id in image_ids]
            pictures: list[dict[str, bytes | None] | None] = [None] * len(image_ids)
            if kind.stored:
                planes = render_variants(image_ids, cache, kind.name, value, seeds)
                pictures = [{"bytes": data, "path": None} for data in map(_encode_png, planes)]
            for image_id, label, seed, picture in zip(image_ids, labels, seeds, pictures, strict=True):
                rows.append((image_id, label, kind.name, severity, value, seed, picture))
    table = find_table("variants")
    return pd.DataFrame(rows, columns=table.names).sort_values(list(table.key), ignore_index=True)


def _encode_png(plane: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    encoded = cv2.imencode(".png", plane)[1]
    return bytes(encoded.tobytes())
