"""Which pairs of pictures are worth a closer look: loose, complete, and never a verdict.

Two retrievals, both on the spectra of `pipeline.curation.spectra`:

- `retrieve_alike`: all pairs that are nearly the same in one of eight orientations, for plain re-encodings;
- `retrieve_candidates`: for each picture those most like it in any view: turned by 0° and ±10°, whole, cut to
  the box of their content, and cropped on the sides where the asking picture itself may have been cut.

Up to 20,000 pictures all pairs are looked at, in blocks. Beyond that `pipeline.curation.cells` says which:
some 1 % of all pairs, and without the crops, whose views would multiply the index by sixteen.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pipeline.curation.cells import Cells, make_keys
from pipeline.curation.nearest import Found, Nearest
from pipeline.curation.orientation import INVERSES, ORIENTATIONS, turn_spectra
from pipeline.curation.parities import find_best_products, split_parities
from pipeline.curation.spectra import ANGLES, NORM, ORDER, Integers, Spectra, round_spectra
from pipeline.curation.thumbnails import Floats
from pipeline.curation.views import Bank, Queries, list_views

ALIKE = 0.93  # least similarity of whole frames that may be re-encodings; 99.95 % of proven ones have it
LOOSE = 0.62  # least similarity of a candidate for alignment
NEAREST = 10  # candidates a picture by whole frames, and as many by boxes
NEAREST_CUT = 30  # by boxes, for a picture that touches its rim on two sides or more
NEAREST_FEW = 4  # by whole frames and by boxes, through the index
EXHAUSTIVE = 20_000  # pictures, up to which all pairs are looked at
BLOCK_ROWS = 512
BLOCK_BANK = 4096

Rows = npt.NDArray[np.intp]


def retrieve_alike(spectra: Integers, fresh: npt.NDArray[np.bool_], *, workers: int = 1) -> Rows:
    """Triples [m, 3]: two rows, the smaller first, and the orientation that makes the first like the second.

    Each pair comes once, in the orientation in which it is most alike; ties go to the smaller orientation.

    Args:
        spectra: rounded spectra of whole frames, int16 [n, 2, k, k].
        fresh: bool [n]; pairs of rows that are both not fresh are left out.
        workers: threads; they change nothing.
    """
    order = np.concatenate([np.flatnonzero(fresh), np.flatnonzero(~fresh)])
    sorted_spectra, count = spectra[order], int(fresh.sum())

    def ask(group: tuple[Rows, Rows]) -> Rows:
        """Rows, orientation and similarity; every row asks for the rows after it."""
        asking, others = group
        scores = find_best_products(sorted_spectra[asking], split_parities(sorted_spectra[others]))
        rows, columns = np.nonzero(scores >= np.float32(ALIKE * NORM * NORM))
        later = others[columns] > asking[rows]
        return _name_turns(sorted_spectra, asking[rows[later]], others[columns[later]])

    groups = (
        _group_all(count, len(order)) if len(order) <= EXHAUSTIVE else _group_cells(sorted_spectra, count)
    )
    with ThreadPoolExecutor(workers) as pool:
        found = np.concatenate([np.empty((0, 4), np.intp), *pool.map(ask, groups)])
    first, second = order[found[:, 0]], order[found[:, 1]]
    turns = np.where(first > second, INVERSES[found[:, 2]], found[:, 2])
    pairs = np.stack([np.minimum(first, second), np.maximum(first, second), turns], axis=1)
    pairs = pairs[np.lexsort((turns, -found[:, 3], pairs[:, 1], pairs[:, 0]))]
    return pairs[np.diff(pairs[:, :2], axis=0, prepend=-1).any(axis=1)]


def retrieve_candidates(
    spectra: Spectra, *, among: Rows | None = None, asking: Rows | None = None, workers: int = 1
) -> Rows:
    """Pairs [m, 2] of rows worth aligning, each once, the smaller row first, sorted.

    Ties go to the smaller row; nothing depends on the number of workers.

    Args:
        spectra: of all pictures.
        among: the rows that are sought, rising; all by default.
        asking: those of them for which others are sought, rising; all by default.
        workers: threads.
    """
    among = np.arange(len(spectra.touches)) if among is None else among
    asks = np.arange(len(among)) if asking is None else np.searchsorted(among, asking)
    search = _search_all if len(among) <= EXHAUSTIVE else _search_cells
    pairs = np.sort(np.concatenate(search(spectra, among, asks, workers)), axis=1)
    codes = np.unique(pairs @ np.array([len(among), 1]))
    rows: Rows = among[np.stack(np.divmod(codes, max(1, len(among))), axis=1)]
    return rows


def _name_turns(spectra: Integers, asking: Rows, others: Rows) -> Rows:
    """Pairs of rows with each orientation in which they are most alike, and how much: int [m, 4]."""
    found = [np.empty((0, 4), np.intp)]
    for start in range(0, len(asking), BLOCK_ROWS):
        one, other = asking[start : start + BLOCK_ROWS], others[start : start + BLOCK_ROWS]
        here, there = (spectra[rows].astype(np.float32) for rows in (one, other))
        scores = np.stack(
            [
                (turn_spectra(here, orientation) * there).sum(axis=(1, 2, 3))
                for orientation in range(ORIENTATIONS)
            ],
            axis=1,
        )
        place, turns = np.nonzero(scores == scores.max(axis=1, keepdims=True))
        found.append(
            np.stack([one[place], other[place], turns, scores[place, turns]], axis=1).astype(np.intp)
        )
    return np.concatenate(found)


def _group_all(count: int, total: int) -> Iterator[tuple[Rows, Rows]]:
    for start in range(0, count, BLOCK_ROWS):
        yield np.arange(start, min(start + BLOCK_ROWS, count)), np.arange(start, total)


def _group_cells(spectra: Integers, count: int) -> Iterator[tuple[Rows, Rows]]:
    keys = make_keys(spectra)
    yield from Cells(keys).pair_up(keys[:count])


def _search_all(spectra: Spectra, among: Rows, asking: Rows, workers: int) -> list[Rows]:
    """Each asking picture asks every other in all views; `asking`, and what is found, count in `among`."""
    spectra, count = spectra.select(among), len(among)
    queries = Queries(spectra)
    blocks = [asking[start : start + BLOCK_ROWS] for start in range(0, len(asking), BLOCK_ROWS)]
    whole, boxed = Nearest(count, NEAREST), Nearest(count, NEAREST_CUT)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, count, BLOCK_BANK):
            bank = Bank(spectra, slice(start, start + BLOCK_BANK))
            others = np.arange(start, start + len(bank))
            for near in pool.map(_asker(queries, bank, others), blocks):
                whole.add(near[0])
                boxed.add(near[1])
    sizes = np.where(queries.touches.sum(axis=1) >= 2, NEAREST_CUT, NEAREST)
    return [whole.list_pairs(), boxed.list_pairs(sizes)]


def _asker(queries: Queries, bank: Bank, others: Rows) -> Callable[[Rows], tuple[Found, Found]]:
    views = list_views()
    parts = {
        number: split_parities(bank.spectra[number].reshape(len(bank), 2, ORDER, ORDER))
        for number, view in enumerate(views)
        if not view.is_cut
    }

    def ask(rows: Rows) -> tuple[Found, Found]:
        """The nearest of a bank for some rows: by whole frames, and by boxes."""
        best = np.full((2, len(rows), len(bank)), -np.inf, np.float32)
        for number, view in enumerate(views):
            kind = best[0 if view.cut is None else 1]
            if not view.is_cut:
                np.maximum(
                    kind, find_best_products(queries.take_upright(view, rows), parts[number]), out=kind
                )
                continue
            for orientation in range(ORIENTATIONS):
                asking = queries.admit(view, orientation, rows)
                scores = queries.ask(view, orientation, rows[asking]) @ bank.spectra[number].T
                kind[asking] = np.maximum(kind[asking], scores)
        return _pick(best[0], rows, others, NEAREST), _pick(best[1], rows, others, NEAREST_CUT)

    return ask


def _search_cells(spectra: Spectra, among: Rows, asking: Rows, workers: int) -> list[Rows]:
    """Each picture asks the pictures in its nearest cells: whole frames, then boxes, at all angles."""
    # One after the other: of a million pictures each bank takes 0.8 GB.
    return [
        _search_bank(bank(spectra, among), asking, workers).list_pairs()
        for bank in (_take_frames, _take_boxes)
    ]


def _take_frames(spectra: Spectra, among: Rows) -> Integers:
    return spectra.full if len(among) == len(spectra.touches) else spectra.full[:, among]


def _take_boxes(spectra: Spectra, among: Rows) -> Integers:
    """The low orders of the boxes, rounded as whole frames are: int16 [angles, n, 2, 8, 8]."""
    boxes = np.empty((len(ANGLES), len(among), 2, ORDER, ORDER), np.int16)
    for start in range(0, len(among), BLOCK_BANK):
        rows = among[start : start + BLOCK_BANK]
        part = spectra.box[:, rows, :, :ORDER, :ORDER].astype(np.float32)
        boxes[:, start : start + BLOCK_BANK] = round_spectra(part)
    return boxes


def _search_bank(bank: Integers, rows: Rows, workers: int) -> Nearest:
    """`bank` int16 [angles, n, 2, k, k]; of its upright pictures these rows ask."""
    count, flat = bank.shape[1], bank.reshape(-1, *bank.shape[2:])
    keys = make_keys(flat)

    def ask(group: tuple[Rows, Rows]) -> Found:
        asking, entries = rows[group[0]], group[1]
        best = find_best_products(flat[asking], split_parities(flat[entries]))
        return _pick(best, asking, entries % count, NEAREST_FEW * len(ANGLES))

    nearest = Nearest(count, NEAREST_FEW, repeats=len(ANGLES))
    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(ask, Cells(keys).pair_up(keys[rows])):
            nearest.add(part)
    return nearest


def _pick(scores: Floats, rows: Rows, others: Rows, size: int) -> Found:
    """Of similarities [rows, others] the `size` highest of each row, and all that tie with the last.

    A row is never found by itself, which `scores` are told.
    """
    scores[rows[:, None] == others] = -np.inf
    high = scores >= np.float32(LOOSE * NORM * NORM)
    crowded = np.flatnonzero(np.count_nonzero(high, axis=1) > size)
    some = scores[crowded]
    high[crowded] = some >= np.partition(some, -size, axis=1)[:, [-size]] if len(crowded) else False
    row, column = np.nonzero(high)
    return rows[row], others[column], scores[row, column]
