"""The nearest rows of each row, kept while they are found part by part.

What is kept is the same in whatever order the parts come: nearest is who is most alike, and of equals the
smaller row.
"""

import numpy as np
import numpy.typing as npt

from pipeline.curation.thumbnails import Floats

BLOCK = 4096  # rows that are merged at a time
FINDS = 64  # of one row that are merged at a time: of many equals, all may be found
LAST = np.int64(2**32 - 1)
"""A row is kept as its distance from this one: of equals the smaller is greater."""
EMPTY = np.int64(-1)

Rows = npt.NDArray[np.intp]
Keys = npt.NDArray[np.int64]
Found = tuple[Rows, Rows, Floats]
"""Rows that ask, each in one run; rows that were found; and their similarity, a whole number ≥ 0."""


class Nearest:
    """The `size` nearest rows of each of n rows.

    A row may be found for another up to `repeats` times, and counts once, with its best similarity. Takes
    8 · n · size · repeats bytes.
    """

    def __init__(self, count: int, size: int, *, repeats: int = 1) -> None:
        self._size, self._width = size, size * repeats
        # Similarity in the high 32 bits, the row found in the low ones: one comparison decides.
        self._kept = np.full((count, self._width), EMPTY)

    def add(self, found: Found) -> None:
        """Take in what was found."""
        rows, others, similarities = found
        keys = (similarities.astype(np.int64) << 32) | (LAST - others)
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        for start in range(0, len(firsts), BLOCK):
            begins = firsts[start : start + BLOCK]
            ends = np.append(firsts, len(rows))[start + 1 : start + 1 + BLOCK]
            self._merge(rows[begins], keys[begins[0] : ends[-1]], ends - begins)

    def _merge(self, asking: Rows, keys: Keys, counts: Rows) -> None:
        places = np.repeat(np.arange(len(asking)), counts)
        ranks = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
        for first in range(0, int(counts.max()), FINDS):
            now = (ranks >= first) & (ranks < first + FINDS)
            fresh = np.full((len(asking), int(ranks[now].max()) - first + 1), EMPTY)
            fresh[places[now], ranks[now] - first] = keys[now]
            merged = np.concatenate([self._kept[asking], fresh], axis=1)
            self._kept[asking] = np.partition(merged, -self._width, axis=1)[:, -self._width :]

    def list_pairs(self, sizes: Rows | None = None) -> Rows:
        """Pairs [m, 2]: a row, and one of its nearest; by rising row, the nearest first.

        Args:
            sizes: how many of each row, at most `size`; that many by default.
        """
        limits = np.full(len(self._kept), self._size) if sizes is None else sizes
        found = [np.empty((0, 2), np.intp)]
        for start in range(0, len(self._kept), BLOCK):
            keys = _rank_once(self._kept[start : start + BLOCK])[:, : self._size]
            wanted = np.arange(keys.shape[1]) < limits[start : start + BLOCK, None]
            rows, ranks = np.nonzero(wanted & (keys != EMPTY))
            others = LAST - (keys[rows, ranks] & LAST)
            found.append(np.stack([rows + start, others], axis=1))
        return np.concatenate(found)


def _rank_once(kept: Keys) -> Keys:
    """Keys [n, width], falling along a row; of those that name the same row only the greatest is left."""
    ranked = -np.sort(-kept, axis=1)
    names = ranked & LAST
    # Stable: of equal names the nearest comes first.
    order = np.argsort(names, axis=1, kind="stable")
    sorted_names = np.take_along_axis(names, order, axis=1)
    again = np.zeros(kept.shape, np.bool_)
    np.put_along_axis(again, order[:, 1:], sorted_names[:, 1:] == sorted_names[:, :-1], axis=1)
    return np.asarray(-np.sort(-np.where(again, EMPTY, ranked), axis=1), np.int64)
