"""The nearest rows that are kept part by part are those of all parts together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation import nearest
from pipeline.curation.nearest import Nearest

ROWS = 6
FINDS = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, 8), st.integers(0, 5)), max_size=60)


def limit(finds: list[tuple[int, int, int]], repeats: int) -> list[tuple[int, int, int]]:
    """Each pair of rows at most `repeats` times, as is promised."""
    times: dict[tuple[int, int], int] = {}
    kept = []
    for row, other, score in finds:
        times[row, other] = times.get((row, other), 0) + 1
        if times[row, other] <= repeats:
            kept.append((row, other, score))
    return kept


def choose(finds: list[tuple[int, int, int]], sizes: list[int]) -> list[list[int]]:
    """The definition, said slowly."""
    pairs = []
    for row, size in enumerate(sizes):
        best: dict[int, int] = {}
        for one, other, score in finds:
            if one == row:
                best[other] = max(score, best.get(other, -1))
        ordered = sorted(best, key=lambda other: (-best[other], other))
        pairs += [[row, other] for other in ordered[:size]]
    return pairs


def add(kept: Nearest, finds: list[tuple[int, int, int]]) -> None:
    """As a part comes: those of one row side by side."""
    rows, others, scores = (np.array(column, np.intp) for column in zip(*sorted(finds), strict=True))
    kept.add((rows, others, scores.astype(np.float32)))


@settings(max_examples=200, deadline=None)
@given(FINDS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 7), st.randoms(use_true_random=False))
def test_parts_in_any_order_give_the_nearest_of_all(finds, size, repeats, parts, random):
    finds = limit(finds, repeats)
    random.shuffle(finds)
    kept = Nearest(ROWS, size, repeats=repeats)
    for part in range(parts):
        if some := finds[part::parts]:
            add(kept, some)
    assert kept.list_pairs().tolist() == choose(finds, [size] * ROWS)
    sizes = [random.randint(0, size) for _ in range(ROWS)]
    assert kept.list_pairs(np.array(sizes)).tolist() == choose(finds, sizes)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    finds = limit([tuple(row) for row in rng.integers(0, (ROWS, 9, 6), (80, 3)).tolist()], 2)
    whole, small = Nearest(ROWS, 3, repeats=2), Nearest(ROWS, 3, repeats=2)
    add(whole, finds)
    monkeypatch.setattr(nearest, "BLOCK", 2)
    monkeypatch.setattr(nearest, "FINDS", 3)
    add(small, finds)
    assert small.list_pairs().tolist() == whole.list_pairs().tolist() == choose(finds, [3] * ROWS)


def test_of_many_equals_the_smallest_rows_are_kept():
    kept, others = Nearest(2, 3), np.random.default_rng(0).permutation(5000)
    kept.add((np.zeros(5000, np.intp), others, np.full(5000, 7, np.float32)))
    assert kept.list_pairs().tolist() == [[0, 0], [0, 1], [0, 2]]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_found_gives_no_pairs(count):
    kept = Nearest(count, 2)
    none = np.empty(0, np.intp)
    kept.add((none, none, none.astype(np.float32)))
    assert kept.list_pairs().shape == (0, 2)


def test_the_greatest_similarity_and_the_last_row_fit():
    kept = Nearest(1, 2)
    kept.add((np.array([0, 0]), np.array([2**32 - 2, 0]), np.array([2.0**23, 2.0**23], np.float32)))
    assert kept.list_pairs().tolist() == [[0, 0], [0, 2**32 - 2]]
