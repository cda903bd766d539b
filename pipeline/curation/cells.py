"""An index for large collections: spectra fall into cells, and only pictures in near cells are compared.

Cells are made by k-means on keys that no orientation changes, the sizes of the cosines with the two axes
exchanged. Everything is exact integer arithmetic in float32 (norms below 2,896, so that sums stay below 2²⁴):
the cells, and so the candidates, are the same on any machine and with any number of threads.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.curation.spectra import Integers

KEY_ORDER = 6  # orders an axis that a key holds
PROBES = 8  # cells that a picture asks
SAMPLES = 32  # a cell, to learn its centre from
ROUNDS = 5
BLOCK = 4096

Rows = npt.NDArray[np.intp]


def make_keys(spectra: Integers) -> Integers:
    """Keys [n, 72] of rounded spectra [n, 2, k, k]; the same for a picture in all eight orientations."""
    sizes = np.abs(spectra[..., :KEY_ORDER, :KEY_ORDER])
    turned = sizes.swapaxes(-1, -2)
    row, column = np.triu_indices(KEY_ORDER, 1)
    diagonal = np.arange(KEY_ORDER)
    parts = [
        sizes[..., diagonal, diagonal],
        (sizes + turned)[..., row, column],
        np.abs(sizes - turned)[..., row, column],
    ]
    return np.concatenate(parts, axis=-1).reshape(len(spectra), -1)


class Cells:
    """Keys [n, m] in cells; about √n of them, each with the rows that are nearest to its centre."""

    def __init__(self, keys: Integers) -> None:
        count = max(1, round(2 * np.sqrt(len(keys))))
        sample = keys[np.unique(np.linspace(0, len(keys) - 1, count * SAMPLES).astype(np.intp))]
        self.centres = sample[np.unique(np.linspace(0, len(sample) - 1, count).astype(np.intp))].astype(
            np.float32
        )
        for _ in range(ROUNDS):
            self._move_centres(sample)
        owners = self.find(keys, 1)[:, 0]
        order = np.argsort(owners, kind="stable")
        self._members = np.split(order, np.searchsorted(owners[order], np.arange(1, len(self.centres))))

    def find(self, keys: Integers, count: int) -> Rows:
        """The nearest cells of each key: [n, count], the nearest first; ties to the smaller cell."""
        count = min(count, len(self.centres))
        half = (self.centres * self.centres).sum(axis=1) / 2
        found = np.empty((len(keys), count), np.intp)
        for start in range(0, len(keys), BLOCK):
            block = keys[start : start + BLOCK].astype(np.float32)
            far = half - block @ self.centres.T
            if count == 1:
                found[start : start + BLOCK, 0] = far.argmin(axis=1)
                continue
            near = np.argpartition(far, count - 1, axis=1)[:, :count]
            last = np.take_along_axis(far, near, axis=1).max(axis=1, keepdims=True)
            # Which of several cells as far as the last one a partition takes, depends on the processor.
            tied = np.flatnonzero(np.count_nonzero(far <= last, axis=1) > count)
            near[tied] = np.argsort(far[tied], axis=1, kind="stable")[:, :count]
            near.sort(axis=1)
            order = np.argsort(np.take_along_axis(far, near, axis=1), axis=1, kind="stable")
            found[start : start + BLOCK] = np.take_along_axis(near, order, axis=1)
        return found

    def pair_up(self, keys: Integers) -> Iterator[tuple[Rows, Rows]]:
        """For each cell the rows of `keys` that ask it, and its members."""
        asked = self.find(keys, PROBES)
        order = np.argsort(asked, axis=None, kind="stable")
        bounds = np.searchsorted(asked.ravel()[order], np.arange(1, len(self.centres)))
        for asking, members in zip(np.split(order // asked.shape[1], bounds), self._members, strict=True):
            if len(asking) and len(members):
                yield asking, members

    def _move_centres(self, sample: Integers) -> None:
        """One round of k-means; a cell without members stays where it is."""
        owners = self.find(sample, 1)[:, 0]
        counts = np.bincount(owners, minlength=len(self.centres))
        order = np.argsort(owners, kind="stable")
        filled = np.flatnonzero(counts)
        starts = np.searchsorted(owners[order], filled)
        sums = np.add.reduceat(sample[order].astype(np.int64), starts, axis=0)
        self.centres[filled] = np.rint(sums / counts[filled, None])
