"""The real collections as the benchmarks need them: thumbnails, files, patients, and the compared pairs.

What takes longer than reading is kept as Parquet in a scratch folder, named by a digest of the image_ids and
of the code that made it, so that neither new images nor new code meet old tables.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.copies import index_images
from pipeline.curation.pictures import compare_images, find_pictures
from pipeline.digests import digest_json, digest_sources
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.tables import find_table

THUMBNAIL_SIDE = 128
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Real:
    """All MD5-distinct images below a folder.

    Attributes:
        paths: image_id → file.
        collections: image_id → first folder below the root.
        thumbnails: table `thumbnails`, by image_id.
        pairs: table `pairs` over all of them.
    """

    paths: dict[str, Path]
    collections: dict[str, str]
    thumbnails: pd.DataFrame
    pairs: pd.DataFrame

    @cached_property
    def rows(self) -> dict[str, int]:
        """image_id → row of `thumbnails`."""
        return {image_id: row for row, image_id in enumerate(self.thumbnails["image_id"])}

    @cached_property
    def patients(self) -> dict[str, str]:
        """image_id → patient stem, for slices listed in a `slices.csv` (letter suffixes merged)."""
        found: dict[str, str] = {}
        ids = {path: image_id for image_id, path in self.paths.items()}
        for table in sorted({path.parents[1] / "slices.csv" for path in ids}):
            if table.is_file():
                for row in pd.read_csv(table, dtype=str).itertuples():
                    path = table.parent / str(row.file)
                    if path in ids:
                        found[ids[path]] = str(row.pid).rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        return found

    @cached_property
    def pictures(self) -> pd.DataFrame:
        """Table `pictures`: proven edges alone, no word on which slices are references."""
        return find_pictures(self.pairs, make_images(list(self.thumbnails["image_id"])))

    def read_pixels(self, image_id: str) -> Pixels:
        """The image as it is, uint8 [h, w]."""
        return decode_image(self.paths[image_id].read_bytes()).pixels


def open_real(folder: Path, scratch: Path, workers: int = os.cpu_count() or 1) -> Real:
    """Read a folder of collections and compare its images, or take both from `scratch`."""
    paths: dict[str, Path] = {}
    collections: dict[str, str] = {}
    for collection, files in sorted(index_images(folder).items()):
        for image_id, path in files.items():
            if image_id not in paths:
                paths[image_id], collections[image_id] = path, collection
    ids = sorted(paths)
    scratch.mkdir(parents=True, exist_ok=True)
    thumbnails_file = scratch / f"thumbnails_{digest_json(ids)[:12]}.parquet"
    if not thumbnails_file.is_file():
        with ThreadPoolExecutor(workers) as pool:
            pixels = list(pool.map(lambda image_id: shrink(paths[image_id]), ids))
        pd.DataFrame({"image_id": ids, "pixels": pixels}).to_parquet(thumbnails_file)
    thumbnails = pd.read_parquet(thumbnails_file)
    pairs_file = scratch / f"pairs_{digest_json([ids, digest_code()])[:12]}.parquet"
    if not pairs_file.is_file():
        compare_images(thumbnails, workers=workers).to_parquet(pairs_file)
    return Real(paths, collections, thumbnails, pd.read_parquet(pairs_file))


def shrink(path: Path) -> bytes:
    """The file's thumbnail."""
    return resize_grey(decode_image(path.read_bytes()).pixels, THUMBNAIL_SIDE).tobytes()


def make_images(ids: Sequence[str], collections: Sequence[str] = ()) -> pd.DataFrame:
    """A table `images` with these image_ids, each an unlabelled file of its own."""
    names = list(collections or ["measured"] * len(ids))
    rows: dict[str, Any] = {
        "image_id": list(ids),
        "collection": names,
        "path": [f"{image_id}.png" for image_id in ids],
        "label": None,
        "labels": [[] for _ in ids],
        "width": THUMBNAIL_SIDE,
        "height": THUMBNAIL_SIDE,
        "members": [[] for _ in ids],
    }
    return pd.DataFrame(rows, columns=find_table("images").names)


def digest_code() -> str:
    """Digest of `pipeline.curation.pairs` and of all that it imports from its package."""
    root = Path(__file__).parents[1] / "pipeline" / "curation"
    names, waiting = {"pairs"}, ["pairs"]
    while waiting:
        text = (root / f"{waiting.pop()}.py").read_text(encoding="utf-8")
        new = set(re.findall(r"^from pipeline\.curation\.(\w+) import", text, re.MULTILINE)) - names
        names |= new
        waiting += sorted(new)
    return digest_sources(root / f"{name}.py" for name in sorted(names))
