"""The greatest product of two spectra over all eight orientations, without turning either.

A mirror changes the sign of an axis' odd orders. A product of spectra is the sum of four parts, by even and
odd orders of rows and of columns, and four orientations differ in the signs of these parts alone; the other
four exchange the axes first. So eight products of quarters take the place of eight of whole spectra. Spectra
are integers, of norm 2,048 as `pipeline.curation.spectra` rounds them: every sum is exact, and what is found
has the bits of `turn_spectra` and a product.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.curation.spectra import Integers
from pipeline.curation.thumbnails import Floats

ROWS_AT_ONCE, COLUMNS_AT_ONCE = 128, 1024  # of products: the parts of more would leave the cache

Parts = tuple[Floats, Floats, Floats, Floats]
"""Orders even in rows and columns, odd in columns alone, odd in rows alone, odd in both."""


def split_parities(spectra: Integers | Floats) -> Parts:
    """Spectra [n, 2, k, k], k even, by parity: four times float32 [n, k²/2]."""
    rows = np.asarray(spectra, np.float32)
    width = rows.shape[-1] ** 2 // 2
    one, two, three, four = (
        np.ascontiguousarray(rows[..., down::2, across::2]).reshape(len(rows), width)
        for down in (0, 1)
        for across in (0, 1)
    )
    return one, two, three, four


def find_best_products(asking: Integers | Floats, shown: Parts) -> Floats:
    """The greatest product of each spectrum [n, 2, k, k], over its orientations, with each of m: [n, m]."""
    best = np.empty((len(asking), len(shown[0])), np.float32)
    for start in range(0, len(asking), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        upright = split_parities(asking[rows])
        exchanged = split_parities(np.swapaxes(asking[rows], -1, -2))
        for left in range(0, best.shape[1], COLUMNS_AT_ONCE):
            columns = slice(left, left + COLUMNS_AT_ONCE)
            some = [part[columns] for part in shown]
            np.maximum(_mirror_best(upright, some), _mirror_best(exchanged, some), out=best[rows, columns])
    return best


def _mirror_best(asking: Parts, shown: Sequence[Floats]) -> Floats:
    """The greatest product over no mirror, either and both: (e + o) + |e' + o'| or (e − o) + |e' − o'|."""
    even, across, down, both = (one @ other.T for one, other in zip(asking, shown, strict=True))
    upright, flipped = even + down, np.subtract(even, down, out=even)
    sign, turned = across + both, np.subtract(across, both, out=across)
    upright += np.abs(sign, out=sign)
    flipped += np.abs(turned, out=turned)
    return np.asarray(np.maximum(upright, flipped, out=upright), np.float32)
