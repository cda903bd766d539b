"""Which images show the same picture: loose retrieval, then two proofs on the pixels; never a bare hash.

Two images show one picture when one is a copy of the other under re-encoding, re-scaling, brightness,
contrast, gamma or local contrast, upright, mirrored left–right, turned upside down, or both. On thumbnails
of 64 × 64 pixels a pair is proven by either of

- NCC, zero-mean normalised cross-correlation, at least 0.985: true re-encodings reach 0.9975 or more,
  adjacent slices of one patient at most 0.982;
- LNCC, the same after subtracting a Gaussian mean (sigma 2) and dividing by the local deviation, at least
  0.90: of all 9.4 million pairs of reference slices, upright and mirrored, none exceeds 0.86, while copies
  with a changed gamma or local contrast keep 0.90 to 0.99, where their NCC falls below that of neighbours.

Both constants are measured on the three real collections: any LNCC threshold between 0.865 and 0.92 finds
the same leaks there. Cropped or rotated copies need alignment, which this search does not do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter

from pipeline.digests import digest_bytes
from pipeline.errors import TableError
from pipeline.tables import find_table

SIDE = 64
NCC_PROOF = 0.985
LNCC_PROOF = 0.90
RETRIEVAL = 0.83  # mean of NCC and LNCC at 32 × 32 pixels; the loosest of 35,380 proven pairs has 0.927
LOCAL_SIGMA = 2.0  # thumbnail pixels
LOCAL_FLOOR = 4.0  # grey levels; keeps noise in a flat background from counting as texture
BLANK_DEVIATION = 2.0  # grey levels; below it a thumbnail shows nothing that could be compared
BLOCK_ROWS = 1024
BLOCK_PAIRS = 2048
ORIENTATIONS = 4  # bit 0: mirrored left–right, bit 1: flipped top–bottom; they combine by exclusive or

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Edge:
    """A proven pair, by row: `second` turned by `orientation` is `first`."""

    first: int
    second: int
    orientation: int
    score: float
    evidence: str


def open_thumbnails(thumbnails: pd.DataFrame) -> Pixels:
    """The `thumbnails` table's pixels as uint8 [n, 64, 64], in the order of its rows.

    Raises:
        TableError: a thumbnail has not 4,096 bytes.
    """
    wrong = thumbnails.loc[thumbnails["pixels"].map(len) != SIDE * SIDE, "image_id"]
    if len(wrong):
        raise TableError(
            f"{len(wrong)} thumbnails do not have {SIDE} × {SIDE} bytes, the first is {wrong.iloc[0]}; "
            "materialise thumbnails again"
        )
    joined = np.frombuffer(b"".join(thumbnails["pixels"]), np.uint8)
    return joined.reshape(-1, SIDE, SIDE)


def find_pictures(
    thumbnails: pd.DataFrame, images: pd.DataFrame, *, references: Sequence[str] = ()
) -> pd.DataFrame:
    """The table `pictures`: every image with the picture that it shows.

    Joins are proven edges only. A picture never holds two slices of the `references` collections, unless
    these two are proven against each other: where a chain of copies would connect them, each image goes
    with its best score. Deterministic, and the same for any order of the rows.

    Args:
        thumbnails: table `thumbnails`, one row an image.
        images: table `images`, the same image_ids.
        references: collections whose slices are known to be distinct pictures.

    Raises:
        TableError: the two tables hold different images, or a thumbnail has the wrong size.
    """
    ids = sorted(thumbnails["image_id"])
    if ids != sorted(images["image_id"]):
        differing = sorted(set(ids).symmetric_difference(images["image_id"]))
        raise TableError(
            f"thumbnails and images differ in {len(differing)} image_ids: {differing[:3]}; materialise both"
        )
    pixels = open_thumbnails(thumbnails.sort_values("image_id"))
    kept = images.loc[images["collection"].isin(list(references)), "image_id"]
    slices = np.isin(np.array(ids, dtype=object), kept.to_numpy(dtype=object))
    edges = _span_pictures(prove_copies(pixels), slices)
    return pd.DataFrame(_describe_pictures(ids, edges), columns=find_table("pictures").names)


def prove_copies(pixels: Pixels) -> list[Edge]:
    """All proven pairs among thumbnails [n, 64, 64], each once, in its best orientation, best first.

    Retrieval is one blocked float32 product an orientation, loose enough that its rounding decides
    nothing; scores are summed in float64 and rounded to 6 decimals, so that no machine's order of
    summation shows.
    """
    textured = np.flatnonzero(pixels.reshape(len(pixels), -1).std(axis=1) >= BLANK_DEVIATION)
    shown = pixels[textured].astype(np.float32)
    local = normalise_locally(shown)
    small = np.stack([_halve(shown), _halve(local)])
    shown, local = _normalise_rows(shown), _normalise_rows(local)
    best: dict[tuple[int, int], Edge] = {}
    for orientation in range(ORIENTATIONS):
        for first, second in _retrieve_pairs(small, orientation):
            ncc = _correlate(shown[first], turn(shown[second], orientation))
            lncc = _correlate(local[first], turn(local[second], orientation))
            for k in np.flatnonzero((ncc >= NCC_PROOF) | (lncc >= LNCC_PROOF)):
                score, evidence = (ncc[k], "ncc") if ncc[k] >= NCC_PROOF else (lncc[k], "lncc")
                pair = (int(textured[first[k]]), int(textured[second[k]]))
                if pair not in best or score > best[pair].score:
                    best[pair] = Edge(*pair, orientation, float(score), evidence)
    return sorted(best.values(), key=lambda edge: (-edge.score, edge.first, edge.second))


def normalise_locally(stack: Floats) -> Floats:
    """Thumbnails [n, 64, 64] in grey levels, less their local mean, over their local deviation.

    What is left is what a change of brightness, contrast or gamma keeps (LNCC with Gaussian windows,
    Cachier and Pennec, MMBIA 2000); `LOCAL_FLOOR` is added to the deviation.
    """
    sigma = (0.0, LOCAL_SIGMA, LOCAL_SIGMA)
    high: Floats = stack - gaussian_filter(stack, sigma)
    deviation: Floats = np.sqrt(gaussian_filter(high * high, sigma))
    high /= deviation + np.float32(LOCAL_FLOOR)
    return high


def turn(stack: Floats, orientation: int) -> Floats:
    """A stack [..., h, w], mirrored (bit 0) and flipped (bit 1); its own inverse."""
    mirrored = stack[..., ::-1] if orientation & 1 else stack
    return mirrored[..., ::-1, :] if orientation & 2 else mirrored


def _retrieve_pairs(small: Floats, orientation: int) -> Iterator[tuple[Rows, Rows]]:
    """Candidate pairs, first < second, from [2, n, 32, 32] (whole and local): blocks of bounded memory."""
    left, right = _join_descriptors(small), _join_descriptors(turn(small, orientation))
    for start in range(0, len(left), BLOCK_ROWS):
        scores = left[start : start + BLOCK_ROWS] @ right[start:].T
        rows, columns = np.nonzero(scores >= RETRIEVAL)
        above = columns > rows
        rows, columns = rows[above] + start, columns[above] + start
        for at in range(0, len(rows), BLOCK_PAIRS):
            yield rows[at : at + BLOCK_PAIRS], columns[at : at + BLOCK_PAIRS]


def _join_descriptors(small: Floats) -> Floats:
    """One row an image, such that a product of two rows is the mean of NCC and LNCC."""
    whole, local = (_normalise_rows(part).reshape(len(part), -1) for part in small)
    return np.concatenate([whole, local], axis=1) * np.float32(np.sqrt(0.5))


def _halve(stack: Floats) -> Floats:
    halved: Floats = stack.reshape(len(stack), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    return halved


def _normalise_rows(stack: Floats) -> Floats:
    """Each image of a stack [n, h, w] with zero mean and unit norm."""
    centred = stack - stack.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((centred * centred).sum(axis=(1, 2), keepdims=True))
    unit: Floats = centred / np.maximum(norm, np.float32(1e-6))
    return unit


def _correlate(first: Floats, second: Floats) -> npt.NDArray[np.float64]:
    scores: npt.NDArray[np.float64] = (first * second).sum(axis=(1, 2), dtype=np.float64)
    return scores.round(6)


def _span_pictures(edges: list[Edge], slices: npt.NDArray[np.bool_]) -> list[list[tuple[int, Edge]]]:
    """Neighbours of each row in the best spanning forest that keeps distinct reference slices apart.

    Kruskal: best edges first, those between two reference slices before all; an edge between two trees
    that each hold a reference slice is refused.
    """
    parent = list(range(len(slices)))
    anchored = slices.tolist()
    neighbours: list[list[tuple[int, Edge]]] = [[] for _ in parent]

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    between = [bool(slices[edge.first] and slices[edge.second]) for edge in edges]
    for direct in (True, False):
        for edge in (edge for edge, flag in zip(edges, between, strict=True) if flag == direct):
            one, other = root(edge.first), root(edge.second)
            if one == other or (anchored[one] and anchored[other] and not direct):
                continue
            parent[max(one, other)] = min(one, other)
            anchored[min(one, other)] = anchored[one] or anchored[other]
            neighbours[edge.first].append((edge.second, edge))
            neighbours[edge.second].append((edge.first, edge))
    return neighbours


def _describe_pictures(ids: list[str], neighbours: list[list[tuple[int, Edge]]]) -> list[tuple[object, ...]]:
    """Walk each tree from its smallest image_id: rows of `pictures`, orientations by exclusive or."""
    rows: dict[int, tuple[object, ...]] = {}
    for representative in range(len(ids)):
        if representative in rows:
            continue
        name = ids[representative]
        picture = digest_bytes(f"picture:{name}".encode())[:16]
        rows[representative] = (name, picture, name, name, False, False, 1.0, "self")
        reached = [(representative, 0)]
        for row, turned in reached:
            for other, edge in neighbours[row]:
                if other not in rows:
                    to_name = turned ^ edge.orientation
                    mirrored, flipped = bool(to_name & 1), bool(to_name & 2)
                    rows[other] = (
                        ids[other], picture, name, ids[row], mirrored, flipped, edge.score, edge.evidence
                    )  # fmt: skip
                    reached.append((other, to_name))
    return [rows[row] for row in range(len(ids))]
