"""The search for copies that need alignment: rounds of retrieving candidates and aligning them."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pipeline.curation.alignment import Alignment, align_pairs
from pipeline.curation.closeness import order_pairs
from pipeline.curation.retrieval import EXHAUSTIVE, retrieve_candidates
from pipeline.curation.spectra import Spectra, measure_spectra
from pipeline.curation.starts import find_starts
from pipeline.curation.thumbnails import Stack
from pipeline.curation.verdicts import Verdict, judge_alignment

CHUNK = 1024  # pairs that a thread aligns at a time; it changes nothing but time and memory
ROUNDS = 3
ALIGNED_AT_ONCE = 500_000  # pairs, for which starts are held in memory

Rows = npt.NDArray[np.intp]
Ends = tuple[int, int]


def judge_candidates(pixels: Stack, known: Mapping[Ends, Verdict], *, workers: int) -> dict[Ends, Verdict]:
    """What came of all pairs of rows that the retrieval found, the smaller row first.

    Where many copies of one picture fill each other's candidates, others are found in the next round, in
    which one of them stands for all that were joined. Only those ask again whose candidates became fewer.
    Pairs that the alignment gave up are left out beyond 20,000 thumbnails: there are millions of them.

    Args:
        pixels: thumbnails of different pictures, as far as is known.
        known: pairs of rows whose verdict is taken over.
        workers: threads; they change nothing but time.
    """
    count = len(pixels)
    if count < 2:
        return {}
    spectra = measure_spectra(pixels, workers=workers)
    left = asking = np.arange(count)
    judged: dict[Ends, Verdict] = {}
    compared = np.empty((0, 2), np.intp)
    for _ in range(ROUNDS):
        near = retrieve_candidates(spectra, among=left, asking=asking, workers=workers)
        pairs = _subtract(near, compared, count)
        found = _judge_pairs(pixels, spectra, pairs, known, workers)
        judged |= found
        compared = np.concatenate([compared, pairs])
        if not any(pair.verdict == "copy" for pair in found.values()):
            break
        copies = [pair for pair, what in judged.items() if what.verdict == "copy"]
        left = choose_representatives(count, copies)
        asking = _find_bereft(compared, left, count)
    return judged


def choose_representatives(count: int, copies: Iterable[Ends]) -> Rows:
    """One row of each cluster of copies: the one with the most proven pairs, the smallest of these."""
    parent = list(range(count))
    degree = [0] * count

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for first, second in copies:
        degree[first] += 1
        degree[second] += 1
        one, other = root(first), root(second)
        parent[max(one, other)] = min(one, other)
    best: dict[int, int] = {}
    for row in range(count):
        rival = best.setdefault(root(row), row)
        if degree[row] > degree[rival]:
            best[root(row)] = row
    return np.array(sorted(best.values()), dtype=np.intp)


def _subtract(pairs: Rows, compared: Rows, count: int) -> Rows:
    """The pairs [m, 2] of rows that were not compared before."""
    new = ~np.isin(pairs @ [count, 1], compared @ [count, 1])
    return pairs[new]


def _find_bereft(compared: Rows, left: Rows, count: int) -> Rows:
    """Those of the rows `left` that were compared with a row that is not among them."""
    gone = np.ones(count, dtype=np.bool_)
    gone[left] = False
    bereft = np.zeros(count, dtype=np.bool_)
    for here, there in ((0, 1), (1, 0)):
        bereft[compared[gone[compared[:, there]], here]] = True
    return np.flatnonzero(bereft & ~gone)


def _judge_pairs(
    pixels: Stack, spectra: Spectra, pairs: Rows, known: Mapping[Ends, Verdict], workers: int
) -> dict[Ends, Verdict]:
    """What came of each pair of rows: taken over from before, or aligned."""
    keep_all = len(pixels) <= EXHAUSTIVE
    before = [known.get((one, other)) for one, other in pairs.tolist()]
    judged = {(one, other): what for (one, other), what in zip(pairs.tolist(), before, strict=True) if what}
    fresh = pairs[np.array([what is None for what in before], dtype=np.bool_)]
    fresh = fresh[order_pairs(fresh, len(pixels))]
    for start in range(0, len(fresh), ALIGNED_AT_ONCE):
        part = fresh[start : start + ALIGNED_AT_ONCE]
        aligned = _align_all(pixels, spectra, part, workers)
        for (one, other), found in zip(part.tolist(), aligned, strict=True):
            if keep_all or found.likeness is not None:
                judged[one, other] = judge_alignment(found.transform, found.fit, found.likeness)
    return judged


def _align_all(pixels: Stack, spectra: Spectra, pairs: Rows, workers: int) -> Iterator[Alignment]:
    """Align pairs of rows, in order."""
    starts = find_starts(spectra, pairs)

    def align(begin: int) -> list[Alignment]:
        part = slice(begin, begin + CHUNK)
        return align_pairs(pixels, pairs[part], starts[part])

    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(align, range(0, len(pairs), CHUNK)):
            yield from found
