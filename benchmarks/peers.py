"""Ways to tell which images are one picture: Falx's, and those of the tools that people use for it.

Each describes an image by itself, and joins a list of descriptions; both are timed by the benchmark. Peers
run at their documented defaults, on the decoded grey pixels, through their own code; where a tool brings no
search (pdqhash, imagehash), faiss' exact binary index does it, as PDQ's authors do. They come with the extra
`peers`: `pip install -c constraints.txt -e '.[peers]'`.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import faiss
import imagehash
import numpy as np
import pandas as pd
import pdqhash  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from benchmarks.real import THUMBNAIL_SIDE, make_images
from pipeline.curation.pictures import compare_images, find_pictures
from pipeline.imaging.decode import resize_grey
from pipeline.tables import find_table

Pixels = NDArray[np.uint8]
Codes = NDArray[np.uint8]
Joins = set[tuple[int, int]]
"""Rows of the images that are joined, the smaller first."""

PHASH_LIMIT = 10
"""imagededup's `max_distance_threshold`; the usual choice with imagehash too."""
PDQ_LIMIT = 31
PDQ_QUALITY = 50
"""ThreatExchange's README: match at 31 of 256 bits or less, and only hashes of quality 50 or more."""


class Method(Protocol):
    """One way: `describe` sees one uint8 [h, w] image, `join` all descriptions and image_ids."""

    name: str
    rule: str

    def describe(self, pixels: Pixels) -> Any: ...

    def join(self, ids: Sequence[str], described: Sequence[Any], workers: int) -> Joins: ...


class Falx:
    """This project. Keeps the last run's `pairs` and `pictures`, for a look at scores and transforms."""

    name = "Falx"
    rule = "proven copies, joined without knowing which slices are references"

    def __init__(self) -> None:
        self.pairs = pd.DataFrame(columns=find_table("pairs").names)
        self.pictures = pd.DataFrame(columns=find_table("pictures").names)

    def describe(self, pixels: Pixels) -> Pixels:
        return resize_grey(pixels, THUMBNAIL_SIDE)

    def join(self, ids: Sequence[str], described: Sequence[Any], workers: int) -> Joins:
        thumbnails = pd.DataFrame(
            {"image_id": ids, "pixels": [np.asarray(code).tobytes() for code in described]}
        )
        self.pairs = compare_images(thumbnails, workers=workers)
        self.pictures = find_pictures(self.pairs, make_images(ids))
        rows = {image_id: row for row, image_id in enumerate(ids)}
        return {
            (first, second)
            for members in self.pictures.groupby("picture_id")["image_id"]
            for first, second in _pair_up(sorted(rows[image_id] for image_id in members[1]))
        }


class BinaryHash:
    """Bits of an image in one or more orientations; joined where the distance is at most `limit`."""

    name = ""
    rule = ""
    limit = 0

    def describe(self, pixels: Pixels) -> Codes | None:
        """uint8 [orientations, bytes], the upright one first; None where the tool refuses the image."""
        raise NotImplementedError

    def join(self, ids: Sequence[str], described: Sequence[Any], workers: int) -> Joins:
        return self.join_within(described, self.limit, workers)

    def join_within(self, described: Sequence[Codes | None], limit: int, workers: int) -> Joins:
        """Pairs at a distance of at most `limit`, whatever the default is."""
        kept = [row for row, codes in enumerate(described) if codes is not None]
        stack = np.stack([codes for codes in described if codes is not None])
        faiss.omp_set_num_threads(workers)
        index = faiss.IndexBinaryFlat(stack.shape[2] * 8)
        index.add(np.ascontiguousarray(stack[:, 0]))
        joins: Joins = set()
        for orientation in range(stack.shape[1]):
            limits, _, found = index.range_search(np.ascontiguousarray(stack[:, orientation]), limit + 1)
            for row, place in enumerate(kept):
                others = (kept[other] for other in found[int(limits[row]) : int(limits[row + 1])])
                joins.update((min(place, other), max(place, other)) for other in others if other != place)
        return joins

    def measure(self, first: Codes | None, second: Codes | None) -> int:
        """Bits that differ in the best orientation; 1 + the number of bits where the tool refuses one."""
        if first is None or second is None:
            return 257
        return int(np.bitwise_count(first[:1] ^ second).sum(axis=1).min())


class ImageDedup(BinaryHash):
    """imagededup's hashes and its own search, at its default distance."""

    limit = PHASH_LIMIT

    def __init__(self, algorithm: str) -> None:
        from imagededup.methods import DHash, PHash  # type: ignore[import-not-found]

        self._hasher = {"PHash": PHash, "DHash": DHash}[algorithm](verbose=False)
        self.name = f"imagededup {algorithm}"
        self.rule = f"distance ≤ {self.limit} of 64 bits, its default"

    def describe(self, pixels: Pixels) -> Codes | None:
        text = self._hasher.encode_image(image_array=pixels)
        return None if text is None else np.frombuffer(bytes.fromhex(text), np.uint8)[None]

    def join(self, ids: Sequence[str], described: Sequence[Any], workers: int) -> Joins:
        codes = {image_id: code.tobytes().hex() for image_id, code in zip(ids, described, strict=True)}
        with warnings.catch_warnings(action="ignore"):
            found = self._hasher.find_duplicates(
                encoding_map=codes, max_distance_threshold=self.limit, num_dist_workers=workers
            )
        rows = {image_id: row for row, image_id in enumerate(ids)}
        return {
            (min(rows[one], rows[other]), max(rows[one], rows[other]))
            for one, others in found.items()
            for other in others
        }


class ImageHash(BinaryHash):
    """imagehash's pHash; the distance is the user's choice, mostly that of imagededup."""

    name = "imagehash phash"
    rule = f"distance ≤ {PHASH_LIMIT} of 64 bits"
    limit = PHASH_LIMIT

    def describe(self, pixels: Pixels) -> Codes | None:
        return np.packbits(imagehash.phash(Image.fromarray(pixels)).hash.ravel())[None]


class Pdq(BinaryHash):
    """PDQ with all eight orientations."""

    name = "pdqhash, 8 orientations"
    rule = f"distance ≤ {PDQ_LIMIT} of 256 bits, quality ≥ {PDQ_QUALITY}, as advised"
    limit = PDQ_LIMIT

    def describe(self, pixels: Pixels) -> Codes | None:
        hashes, quality = pdqhash.compute_dihedral(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
        return np.packbits(np.stack(hashes), axis=1) if quality >= PDQ_QUALITY else None


def list_methods(peers: bool = True) -> list[Falx | BinaryHash]:
    """Falx first; without `peers` alone."""
    if not peers:
        return [Falx()]
    logging.disable(logging.INFO)  # imagededup's loggers announce each search
    return [Falx(), ImageDedup("PHash"), ImageDedup("DHash"), ImageHash(), Pdq()]


def _pair_up(rows: Sequence[int]) -> list[tuple[int, int]]:
    return [(first, second) for place, first in enumerate(rows) for second in rows[place + 1 :]]
