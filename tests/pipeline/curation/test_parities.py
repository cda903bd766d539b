"""Products by parity have the bits of eight whole products, in the best orientation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation import parities
from pipeline.curation.orientation import ORIENTATIONS, turn_spectra
from pipeline.curation.parities import find_best_products, split_parities
from pipeline.curation.spectra import round_spectra


def draw(seed: int, count: int, order: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return round_spectra(rng.standard_normal((count, 2, order, order)).astype(np.float32)).astype(np.int16)


def multiply_all(asking: np.ndarray, shown: np.ndarray) -> np.ndarray:
    bank = shown.reshape(len(shown), -1).astype(np.float64)
    turned = [turn_spectra(asking.astype(np.float32), orientation) for orientation in range(ORIENTATIONS)]
    return np.max([one.reshape(len(asking), -1).astype(np.float64) @ bank.T for one in turned], axis=0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 8, 10]), st.data()
)
def test_best_products_are_those_of_all_eight_orientations(seed, asking, shown, order, data):
    one, other = draw(seed, asking, order), draw(seed + 1, shown, order)
    row, place = data.draw(st.integers(0, asking - 1)), data.draw(st.integers(0, shown - 1))
    orientation = data.draw(st.integers(0, ORIENTATIONS - 1))
    other[place] = turn_spectra(one[[row]].astype(np.float32), orientation)[0]
    found = find_best_products(one, split_parities(other))
    assert found.dtype == np.float32
    assert np.array_equal(found, multiply_all(one, other))
    assert found[row, place] == (one[row].astype(np.int64) ** 2).sum()


def test_blocks_do_not_show(monkeypatch):
    one, other = draw(0, 300, 8), draw(1, 130, 8)
    whole = find_best_products(one, split_parities(other))
    monkeypatch.setattr(parities, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(parities, "COLUMNS_AT_ONCE", 11)
    assert np.array_equal(find_best_products(one, split_parities(other)), whole)


@pytest.mark.parametrize(("asking", "shown"), [(0, 3), (3, 0), (0, 0)])
def test_nobody_asks_or_nobody_is_shown(asking, shown):
    found = find_best_products(draw(0, asking, 8), split_parities(draw(1, shown, 8)))
    assert found.shape == (asking, shown)
