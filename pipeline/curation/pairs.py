"""Which images show the same picture, pair by pair: retrieved loosely, aligned, and judged on what both show.

Thresholds are measured on three real collections and on 11,000 synthetic copies of their images. Of pairs of
different reference slices, adjacent ones and re-scans among them, the most alike reaches 0.84, and 0.86 where
one is a changed copy; 99 % of aligned copies reach 0.94, and hardly any lies between. `COPY` is in the gap.
(Four pairs of reference slices reach 0.96: by eye they are one slice each, stored twice, once turned by 9°.)
"""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.alignment import Alignment, align_pairs
from pipeline.curation.borders import blacken_borders
from pipeline.curation.orientation import Transform, name_orientations, orient
from pipeline.curation.reencodings import LNCC_PROOF, NCC_PROOF, find_reencodings
from pipeline.curation.retrieval import EXHAUSTIVE, retrieve_candidates
from pipeline.curation.spectra import Spectra, measure_spectra
from pipeline.curation.starts import find_starts
from pipeline.curation.thumbnails import Stack, stack_thumbnails
from pipeline.tables import find_table

COPY = 0.88
REVIEW = 0.82
WORST = 0.40
BLANK_DEVIATION = 2.0  # grey levels; below it a thumbnail shows nothing that could be compared
CHUNK = 1024  # pairs that a thread aligns at a time; it changes nothing but time and memory
ROUNDS = 3
ALIGNED_AT_ONCE = 1_000_000  # pairs, for which starts are held in memory
BLOCK = 1024  # thumbnails

Rows = npt.NDArray[np.intp]
Key = tuple[str, str]


@dataclass(frozen=True)
class _Judged:
    transform: Transform
    score: float
    worst: float | None
    evidence: str
    verdict: str
    why: str


def compare_images(
    thumbnails: pd.DataFrame,
    *,
    workers: int = 1,
    previous: pd.DataFrame | None = None,
    known: Collection[str] = (),
) -> pd.DataFrame:
    """The table `pairs`: every two images that were compared closely, with what came of it.

    Re-encodings are proven first and collapse to clusters; one image of each goes on to the search for
    cropped, rotated and filtered copies. What is said of a pair depends on its two images alone. The same for
    any order of rows and any number of workers, and with `previous` the same as without.

    Pairs that the alignment gave up early are kept too (evidence `coarse`, their score that of 32 pixels), so
    that they need not be looked at again; beyond 20,000 clusters they are not.

    Args:
        thumbnails: table `thumbnails`, one row an image.
        workers: threads.
        previous: the table that an earlier call gave; its measurements are not taken again.
        known: the image_ids that the earlier call was given.

    Raises:
        TableError: a thumbnail has the wrong size.
    """
    names = thumbnails["image_id"].to_numpy(dtype=object)
    pixels, order = stack_thumbnails(thumbnails, blacken_borders), np.argsort(names, kind="stable")
    order = order[_find_textured(pixels)[order]]
    names, pixels = names[order], pixels.select(order)
    earlier = _read_previous(previous)
    judged = _judge_reencodings(names, pixels, earlier, set(known), workers)
    chosen = _choose_representatives(len(names), judged)
    judged |= _judge_aligned(names, pixels, chosen, earlier, workers)
    return _write_pairs(names, judged)


def _find_textured(pixels: Stack) -> npt.NDArray[np.bool_]:
    """Which thumbnails show anything at all."""
    starts = range(0, len(pixels), BLOCK)
    spread = [cv2.meanStdDev(image)[1][0, 0] for start in starts for image in pixels[start : start + BLOCK]]
    return np.array(spread, dtype=np.float64) >= BLANK_DEVIATION


def _judge_reencodings(
    names: npt.NDArray[np.object_],
    pixels: Stack,
    earlier: dict[Key, _Judged],
    known: set[str],
    workers: int,
) -> dict[tuple[int, int], _Judged]:
    """Proven re-encodings by rows; pairs of known images are taken over."""
    fresh = np.array([name not in known for name in names], dtype=np.bool_)
    places = {name: row for row, name in enumerate(names)}
    judged = {
        (places[one], places[other]): pair
        for (one, other), pair in earlier.items()
        if pair.evidence in ("ncc", "lncc") and one in places and other in places and {one, other} <= known
    }
    for pair in find_reencodings(pixels, fresh=fresh, workers=workers):
        least = NCC_PROOF if pair.evidence == "ncc" else LNCC_PROOF
        why = f"{pair.evidence.upper()} at 64 pixels is at least {least}"
        judged[pair.first, pair.second] = _Judged(
            orient(pair.orientation), pair.score, None, pair.evidence, "copy", why
        )
    return judged


def _choose_representatives(count: int, copies: Iterable[tuple[int, int]]) -> Rows:
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


def _judge_aligned(
    names: npt.NDArray[np.object_], pixels: Stack, chosen: Rows, earlier: dict[Key, _Judged], workers: int
) -> dict[tuple[int, int], _Judged]:
    """Align what the retrieval finds among the chosen rows.

    Where many copies of one picture fill each other's candidates, others are found in the next round, in
    which one of them stands for all that were joined. Only those ask again whose candidates became fewer.
    """
    if len(chosen) < 2:
        return {}
    spectra = measure_spectra(pixels.select(chosen), workers=workers)
    left = asking = np.arange(len(chosen))
    judged: dict[tuple[int, int], _Judged] = {}
    for _ in range(ROUNDS):
        places = np.searchsorted(left, asking)
        near = left[retrieve_candidates(spectra.select(left), asking=places, workers=workers)]
        pairs = np.array([pair for pair in map(tuple, near) if pair not in judged], np.intp).reshape(-1, 2)
        found = _judge_candidates(names[chosen], pixels.select(chosen), spectra, pairs, earlier, workers)
        judged |= found
        if not any(pair.verdict == "copy" for pair in found.values()):
            break
        copies = [pair for pair, what in judged.items() if what.verdict == "copy"]
        left = _choose_representatives(len(chosen), copies)
        asking = _find_bereft(judged, left, len(chosen))
    kept = len(chosen) <= EXHAUSTIVE
    return {
        (int(chosen[one]), int(chosen[other])): what
        for (one, other), what in judged.items()
        if kept or what.evidence != "coarse"
    }


def _find_bereft(pairs: Iterable[tuple[int, int]], left: Rows, count: int) -> Rows:
    """Those of the rows `left` that were compared with a row that is not among them."""
    gone = np.ones(count, dtype=np.bool_)
    gone[left] = False
    ends = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
    bereft = np.zeros(count, dtype=np.bool_)
    for here, there in ((0, 1), (1, 0)):
        bereft[ends[gone[ends[:, there]], here]] = True
    return np.flatnonzero(bereft & ~gone)


def _judge_candidates(
    names: npt.NDArray[np.object_],
    pixels: Stack,
    spectra: Spectra,
    pairs: Rows,
    earlier: dict[Key, _Judged],
    workers: int,
) -> dict[tuple[int, int], _Judged]:
    """What came of each pair of rows: taken over from before, or aligned."""
    before = [earlier.get((names[one], names[other])) for one, other in pairs]
    judged = {(int(one), int(other)): what for (one, other), what in zip(pairs, before, strict=True) if what}
    fresh = pairs[np.array([what is None for what in before], dtype=np.bool_)]
    for start in range(0, len(fresh), ALIGNED_AT_ONCE):
        part = fresh[start : start + ALIGNED_AT_ONCE]
        aligned = _align_all(pixels, part, find_starts(spectra, part), workers)
        for (one, other), found in zip(part, aligned, strict=True):
            judged[int(one), int(other)] = _judge(found)
    return judged


def _align_all(
    pixels: Stack, pairs: Rows, starts: list[list[Transform]], workers: int
) -> Iterator[Alignment]:
    """Align pairs of rows, in order."""

    def align(begin: int) -> list[Alignment]:
        part = slice(begin, begin + CHUNK)
        return align_pairs(pixels, pairs[part], starts[part])

    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(align, range(0, len(pairs), CHUNK)):
            yield from found


def _judge(found: Alignment) -> _Judged:
    if found.likeness is None:
        return _Judged(
            found.transform, found.fit, None, "coarse", "rejected", "given up: unlike at 32 or 64 pixels"
        )
    score, worst = found.likeness.score, found.likeness.worst
    if score >= COPY and worst >= WORST:
        verdict, why = "copy", f"aligned LNCC is at least {COPY}, no block below {WORST}"
    elif score >= COPY:
        verdict, why = "review", f"aligned LNCC is at least {COPY}, but a block is below {WORST}"
    elif score >= REVIEW:
        verdict, why = "review", f"aligned LNCC is between {REVIEW} and {COPY}"
    else:
        verdict, why = "rejected", f"aligned LNCC is below {REVIEW}"
    return _Judged(found.transform, score, worst, "aligned", verdict, why)


def _read_previous(previous: pd.DataFrame | None) -> dict[Key, _Judged]:
    if previous is None:
        return {}
    return {
        (row["first"], row["second"]): _Judged(
            np.array(row["transform"], dtype=np.float64).reshape(2, 3),
            row["score"],
            None if pd.isna(row["worst"]) else row["worst"],
            row["evidence"],
            row["verdict"],
            row["why"],
        )
        for row in previous.to_dict("records")
    }


def _write_pairs(names: npt.NDArray[np.object_], judged: dict[tuple[int, int], _Judged]) -> pd.DataFrame:
    keys = sorted(judged)
    ends = np.array(keys, dtype=np.intp).reshape(-1, 2)
    pairs = [judged[key] for key in keys]
    transforms = np.array([pair.transform for pair in pairs]).reshape(-1, 2, 3).round(6) + 0.0
    mirrored, turned = name_orientations(transforms)
    columns = {
        "first": names[ends[:, 0]],
        "second": names[ends[:, 1]],
        "mirrored": mirrored,
        "turned": turned,
        "transform": pd.Series(transforms.reshape(-1, 6).tolist(), dtype=object),
        "score": np.array([pair.score for pair in pairs], dtype=np.float64),
        "worst": np.array([pair.worst for pair in pairs], dtype=np.float64),
    }
    words = {name: [getattr(pair, name) for pair in pairs] for name in ("evidence", "verdict", "why")}
    return pd.DataFrame(columns | words, columns=find_table("pairs").names)
