"""Which images show the same picture, pair by pair: retrieved loosely, aligned, and judged on what both show.

Thresholds are measured on the three real collections and on synthetic copies of their images; see
`docs/` for histograms. `COPY`: of all aligned pairs of reference slices, all of which are different pictures,
the most alike reaches 0.84; 99.5 % of synthetic copies reach 0.90.
"""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.alignment import Alignment, Gallery, align_pair
from pipeline.curation.borders import blacken_borders
from pipeline.curation.orientation import Transform, flatten, name_orientation, orient
from pipeline.curation.reencodings import LNCC_PROOF, NCC_PROOF, find_reencodings
from pipeline.curation.retrieval import retrieve_candidates
from pipeline.curation.spectra import measure_spectra
from pipeline.curation.starts import find_starts
from pipeline.curation.thumbnails import Stack, stack_thumbnails
from pipeline.tables import find_table

COPY = 0.88
REVIEW = 0.82
WORST = 0.40
BLANK_DEVIATION = 2.0  # grey levels; below it a thumbnail shows nothing that could be compared
CHUNK = 64  # pairs
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
    judged |= _judge_aligned(names, pixels, chosen, judged, earlier, workers)
    return _write_pairs(names, judged)


def _find_textured(pixels: Stack) -> npt.NDArray[np.bool_]:
    """Which thumbnails show anything at all."""
    starts = range(0, len(pixels), BLOCK)
    parts = [pixels[start : start + BLOCK].std(axis=(1, 2)) >= BLANK_DEVIATION for start in starts]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *parts])


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


def _choose_representatives(count: int, judged: Iterable[tuple[int, int]]) -> Rows:
    """One row of each cluster of re-encodings: the one with the most proven pairs, the smallest of these."""
    parent = list(range(count))
    degree = [0] * count

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for first, second in judged:
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
    names: npt.NDArray[np.object_],
    pixels: Stack,
    chosen: Rows,
    known: dict[tuple[int, int], _Judged],
    earlier: dict[Key, _Judged],
    workers: int,
) -> dict[tuple[int, int], _Judged]:
    """Align what the retrieval finds among the chosen rows."""
    if len(chosen) < 2:
        return {}
    images = pixels.select(chosen)
    spectra = measure_spectra(images, workers=workers)
    near = retrieve_candidates(spectra, workers=workers)
    judged = {}
    fresh = []
    for one, other in near:
        pair = (int(chosen[one]), int(chosen[other]))
        before = earlier.get((names[pair[0]], names[pair[1]]))
        if before is not None and before.evidence == "aligned":
            judged[pair] = before
        elif pair not in known:
            fresh.append((one, other))
    candidates = np.array(fresh, dtype=np.intp).reshape(-1, 2)
    starts = find_starts(spectra, candidates)
    for (one, other), found in zip(candidates, _align_all(images, candidates, starts, workers), strict=True):
        if found is not None:
            judged[int(chosen[one]), int(chosen[other])] = _judge(found)
    return judged


def _align_all(
    pixels: Stack, pairs: Rows, starts: list[list[Transform]], workers: int
) -> Iterator[Alignment | None]:
    """Align pairs of rows, in order."""
    gallery = Gallery(pixels)

    def align(begin: int) -> list[Alignment | None]:
        chunk = range(begin, min(begin + CHUNK, len(pairs)))
        rows = ((gallery.view(int(pairs[k, 0])), gallery.view(int(pairs[k, 1]))) for k in chunk)
        return [align_pair(one, other, starts[k]) for k, (one, other) in zip(chunk, rows, strict=True)]

    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(align, range(0, len(pairs), CHUNK)):
            yield from found


def _judge(found: Alignment) -> _Judged:
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
    rows = []
    for (first, second), pair in sorted(judged.items()):
        mirrored, turned = name_orientation(pair.transform)
        rows.append(
            (
                names[first], names[second], mirrored, turned, flatten(pair.transform), pair.score,
                pair.worst, pair.evidence, pair.verdict, pair.why,
            )
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=find_table("pairs").names)
    return table.astype({"worst": "float64", "score": "float64"})
