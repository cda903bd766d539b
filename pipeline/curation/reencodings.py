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

from pipeline.curation.orientation import ORIENTATIONS, turn
from pipeline.curation.retrieval import retrieve_alike
from pipeline.curation.scores import normalise_locally
from pipeline.curation.spectra import measure_frames
from pipeline.curation.thumbnails import Floats, Stack, halve

NCC_PROOF = 0.985
LNCC_PROOF = 0.90
ORDER = 10  # orders an axis of the spectra that retrieve
SIGMA = 2.0  # pixels of 64
BATCH = 4096  # pairs

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
    found = found[np.lexsort((found[:, 1], found[:, 0], found[:, 2]))]
    turns = [found[found[:, 2] == orientation] for orientation in range(ORIENTATIONS)]
    batches = [part[at : at + BATCH] for part in turns for at in range(0, len(part), BATCH)]
    with ThreadPoolExecutor(workers) as pool:
        proven = list(pool.map(partial(_prove_batch, pixels), batches))
    return sorted((pair for batch in proven for pair in batch), key=lambda pair: (pair.first, pair.second))


def _prove_batch(pixels: Stack, batch: Rows) -> list[Reencoding]:
    """Prove rows (first, second, orientation) of one orientation."""
    used, places = np.unique(batch[:, :2], return_inverse=True)
    here, there = places.reshape(-1, 2).T
    orientation = int(batch[0, 2])
    grey = halve(pixels[used])
    local = np.stack([normalise_locally(image, SIGMA) for image in grey])
    ncc, lncc = (_correlate(_normalise(stack), here, there, orientation) for stack in (grey, local))
    proven = []
    for k in np.flatnonzero((ncc >= NCC_PROOF) | (lncc >= LNCC_PROOF)):
        score, evidence = (ncc[k], "ncc") if ncc[k] >= NCC_PROOF else (lncc[k], "lncc")
        proven.append(Reencoding(int(batch[k, 0]), int(batch[k, 1]), orientation, float(score), evidence))
    return proven


def _normalise(stack: Floats) -> Floats:
    """Each image of a stack [n, h, w] with zero mean and unit norm."""
    centred = stack - stack.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((centred * centred).sum(axis=(1, 2), keepdims=True))
    unit: Floats = centred / np.maximum(norm, np.float32(1e-6))
    return unit


def _correlate(stack: Floats, here: Rows, there: Rows, orientation: int) -> npt.NDArray[np.float64]:
    turned = np.ascontiguousarray(turn(stack, orientation))
    scores = [
        np.einsum("hw,hw->", turned[one], stack[other], dtype=np.float64)
        for one, other in zip(here, there, strict=True)
    ]
    return np.array(scores, dtype=np.float64).round(6)
