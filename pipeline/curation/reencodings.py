"""The short cut: copies that fill their frame alike, in one of eight orientations, need no alignment.

On thumbnails of 64 × 64 pixels a pair is proven by either of

- NCC, zero-mean normalised cross-correlation, at least 0.985: true re-encodings reach 0.9975 or more,
  adjacent slices of one patient at most 0.982;
- LNCC, the same after local normalisation (sigma 2), at least 0.90: of all 9.4 million pairs of reference
  slices, upright and mirrored, none exceeds 0.86.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.curation.closeness import order_pairs
from pipeline.curation.levels import Level
from pipeline.curation.orientation import turn
from pipeline.curation.retrieval import retrieve_alike
from pipeline.curation.spectra import measure_frames
from pipeline.curation.thumbnails import Floats, Stack, halve

NCC_PROOF = 0.985
LNCC_PROOF = 0.90
ORDER = 10  # orders an axis of the spectra that retrieve
LOCAL = Level(64, 2.0)
BATCH = 2048  # pairs
PAIRS_AT_ONCE = 64

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Reencoding:
    """A proven pair, by row: `first` in `orientation` is `second`. `evidence` is ncc or lncc."""

    first: int
    second: int
    orientation: int
    score: float
    evidence: str


def find_reencodings(
    pixels: Stack, *, fresh: npt.NDArray[np.bool_] | None = None, workers: int = 1
) -> list[Reencoding]:
    """All proven pairs among thumbnails, each once, in its best orientation, by rows.

    Whether a pair is proven depends on its two thumbnails alone: scores are summed in float64 and rounded to
    6 decimals, so that no machine's order of summation shows.

    Args:
        pixels: the thumbnails; none of them blank.
        fresh: bool [n], where only pairs with a fresh member are wanted; all by default.
        workers: threads; the result is the same for any number.
    """
    fresh = np.ones(len(pixels), dtype=np.bool_) if fresh is None else fresh
    if not fresh.any():
        return []
    found = retrieve_alike(measure_frames(pixels, ORDER, workers=workers), fresh, workers=workers)
    near = found[order_pairs(found, len(pixels))]
    with ThreadPoolExecutor(workers) as pool:
        batches = (near[start : start + BATCH] for start in range(0, len(near), BATCH))
        proven = list(pool.map(partial(_prove_batch, pixels), batches))
    return sorted((pair for batch in proven for pair in batch), key=lambda pair: (pair.first, pair.second))


def _prove_batch(pixels: Stack, batch: Rows) -> list[Reencoding]:
    """Prove rows (first, second, orientation)."""
    used, places = np.unique(batch[:, :2], return_inverse=True)
    ends, turns = places.reshape(-1, 2), batch[:, 2]
    grey = halve(pixels[used])
    scores = _correlate(_normalise(grey), ends, turns)
    plain = scores >= NCC_PROOF
    rest = np.flatnonzero(~plain)
    scores[rest] = _correlate(_normalise(LOCAL.show(grey)), ends[rest], turns[rest])
    proven = []
    for k in np.flatnonzero(plain | (scores >= LNCC_PROOF)):
        first, second, orientation = batch[k].tolist()
        evidence = "ncc" if plain[k] else "lncc"
        proven.append(Reencoding(first, second, orientation, float(scores[k]), evidence))
    return proven


def _normalise(stack: Floats) -> Floats:
    """Each image of a stack [n, h, w] with zero mean and unit norm."""
    centred = stack - stack.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((centred * centred).sum(axis=(1, 2), keepdims=True))
    unit: Floats = centred / np.maximum(norm, np.float32(1e-6))
    return unit


def _correlate(stack: Floats, ends: Rows, turns: Rows) -> npt.NDArray[np.float64]:
    """Correlation of pairs of rows [m, 2] of a normalised stack, the first one turned."""
    scores = np.empty(len(ends))
    for orientation in np.unique(turns):
        pairs = np.flatnonzero(turns == orientation)
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = pairs[start : start + PAIRS_AT_ONCE]
            here = turn(stack[ends[part, 0]], int(orientation)).astype(np.float64)
            there = stack[ends[part, 1]].astype(np.float64)
            scores[part] = (here * there).reshape(len(part), -1).sum(axis=1)
    return scores.round(6)
