"""Pairs that share rows come together, and none is lost."""

import numpy as np
import pytest

from pipeline.curation.closeness import order_pairs


def chain(count: int) -> np.ndarray:
    """Each row with the next two, rows named at random, pairs in random order."""
    rng = np.random.default_rng(0)
    names = rng.permutation(count)
    pairs = np.array([[k, k + step] for k in range(count) for step in (1, 2) if k + step < count])
    return rng.permutation(np.sort(names[pairs], axis=1))


def count_rows(pairs: np.ndarray, size: int) -> float:
    """Rows that a batch needs, on average."""
    batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return float(np.mean([len(np.unique(batch)) for batch in batches]))


def test_a_batch_needs_few_rows():
    pairs = chain(2000)
    order = order_pairs(pairs, 2000)
    assert sorted(order) == list(range(len(pairs)))
    assert count_rows(pairs, 100) > 180
    assert count_rows(pairs[order], 100) < 60


@pytest.mark.parametrize("count", [1, 5])
def test_no_pairs_have_no_order(count):
    assert len(order_pairs(np.empty((0, 2), np.intp), count)) == 0
