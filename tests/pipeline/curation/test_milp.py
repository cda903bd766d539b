"""The programme that shares out groups: exact amounts, required classes, same result every time."""

import numpy as np
import pytest

from pipeline.curation.milp import Demand, share_out

SHARES = np.array([0.7, 0.15, 0.15])


def demand(types, sizes, *, placed=None, required=None, wanted=None, weights=None):
    types = np.array(types, np.int64)
    features = types.shape[1]
    return Demand(
        types=types,
        sizes=np.array(sizes, np.int64),
        placed=np.zeros((3, features), np.int64) if placed is None else np.array(placed, np.int64),
        shares=SHARES,
        weights=np.ones(features) if weights is None else np.array(weights),
        required=np.zeros(features, bool) if required is None else np.array(required),
        wanted=np.zeros(features, bool) if wanted is None else np.array(wanted),
    )


def test_alike_groups_are_shared_exactly():
    amounts = share_out(demand([[1, 0], [0, 1]], [2000, 60]))
    assert amounts.tolist() == [[1400, 300, 300], [42, 9, 9]]


def test_uneven_groups_come_close():
    sizes = np.arange(1, 61)
    amounts = share_out(demand([[size] for size in sizes], np.ones(60)))
    held = amounts.T @ sizes
    assert (amounts.sum(axis=1) == 1).all()
    assert np.abs(held - SHARES * sizes.sum()).max() <= 1


def test_placed_groups_count():
    amounts = share_out(demand([[1]], [100], placed=[[0], [0], [100]]))
    assert amounts.sum() == 100 and amounts[0, 2] == 0


def test_required_feature_is_in_every_split():
    amounts = share_out(demand([[100, 1], [1, 0]], [3, 1000], required=[False, True]))
    assert (amounts[0] == 1).all()


def test_wanted_feature_is_bought_where_it_can_be():
    types, sizes = [[1, 3], [1, 0]], [3, 97]
    assert (share_out(demand(types, sizes, wanted=[False, True]))[0] == 1).all()
    too_few = share_out(demand(types, [2, 98], wanted=[False, True]))
    assert too_few.sum() == 100


@pytest.mark.parametrize("sizes", [[2, 100], [0, 100]])
def test_says_when_a_required_feature_is_too_scarce(sizes):
    assert share_out(demand([[1, 1], [1, 0]], sizes, required=[False, True])) is None


def test_nothing_to_share():
    empty = np.zeros((0, 1), np.int64)
    whole = demand(empty, [], placed=[[1], [1], [1]], required=[True])
    assert share_out(whole).shape == (0, 3)
    assert share_out(demand(empty, [], placed=[[1], [1], [0]], required=[True])) is None


def test_same_result_every_time():
    rng = np.random.default_rng(0)
    problem = demand(rng.integers(0, 30, (40, 3)), rng.integers(1, 4, 40), weights=[1, 10, 0.5])
    assert (share_out(problem) == share_out(problem)).all()
