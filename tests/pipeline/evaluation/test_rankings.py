"""Rankings under two protocols, against scipy's Kendall tau."""

import re

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from pipeline.evaluation.rankings import list_swaps, tell_rankings


def board(**protocols: dict[str, float]) -> pd.DataFrame:
    rows = [(recipe, name, score) for name, scores in protocols.items() for recipe, score in scores.items()]
    return pd.DataFrame(rows, columns=["recipe", "protocol", "macro_f1"]).assign(n=100)


@given(scores=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_tau_is_scipys_where_nothing_is_level(scores):
    first, second = ({f"r{i}": pair[side] for i, pair in enumerate(scores)} for side in (0, 1))
    assume(len(set(first.values())) == len(set(second.values())) == len(scores))
    [line] = tell_rankings(board(published=first, patient=second))
    expected = kendalltau(list(first.values()), list(second.values())).statistic
    assert float(re.search(r"tau ([+-]\d\.\d\d)", line)[1]) == pytest.approx(expected, abs=0.00501)
    assert len(list_swaps(first, second)) == len(list_swaps(second, first))


def test_the_pairs_that_change_places_are_named():
    claimed, honest = {"a": 0.9, "b": 0.8, "c": 0.7}, {"a": 0.6, "b": 0.7, "c": 0.5, "d": 0.9}
    assert list_swaps(claimed, honest) == [("a", "b")]
    [line] = tell_rankings(board(published=claimed, patient=honest))
    assert line == (
        "`published` against `patient`: 1 of 3 pairs of recipes change places (`a` and `b`), "
        "Kendall's tau +0.33; the best under `published`, `a`, comes in as 2"
    )


def test_recipes_with_test_images_of_their_own_are_named():
    frame = board(published={"a": 0.9, "b": 0.8, "c": 0.7}, patient={"a": 0.6, "b": 0.7, "c": 0.5, "d": 0.1})
    frame.loc[(frame["protocol"] == "patient") & (frame["recipe"] == "b"), "n"] = 1898
    [line] = tell_rankings(frame)
    assert line.endswith(
        "comes in as 2. Not all are asked of the same images: under `patient` `b`: 1,898; `a`, `c`: 100"
    )
    frame.loc[(frame["protocol"] == "published") & (frame["recipe"] == "c"), "n"] = 50
    assert tell_rankings(frame)[0].endswith(
        "under `published` `a`, `b`: 100; `c`: 50, and under `patient` `b`: 1,898; `a`, `c`: 100"
    )
    frame.loc[frame["recipe"] != "d", "n"] = 100
    frame.loc[frame["recipe"] == "d", "n"] = 7
    assert "Not all" not in tell_rankings(frame)[0]


def test_level_recipes_change_no_places():
    assert list_swaps({"a": 0.5, "b": 0.5}, {"a": 0.1, "b": 0.9}) == []
    [line] = tell_rankings(board(stratified={"a": 0.5, "b": 0.5}, patient={"a": 0.1, "b": 0.9}))
    assert "0 of 1 pairs of recipes change places, Kendall's tau +0.00" in line


def test_many_swaps_are_counted_and_not_all_named():
    claimed = {f"r{index}": 1 - index / 10 for index in range(5)}
    honest = {recipe: 1 - score for recipe, score in claimed.items()}
    [line] = tell_rankings(board(published=claimed, patient=honest))
    assert "10 of 10 pairs" in line
    assert "and 5 more), Kendall's tau -1.00" in line


@pytest.mark.parametrize(
    "protocols",
    [
        {"patient": {"a": 0.5, "b": 0.4}},
        {"published": {"a": 0.5, "b": 0.4}},
        {"published": {"a": 0.5}, "patient": {"a": 0.4}},
        {"published": {"a": 0.5, "c": 0.5}, "patient": {"a": 0.4, "b": 0.5}},
    ],
    ids=["no claim", "no honest score", "one recipe", "one shared recipe"],
)
def test_without_two_shared_recipes_nothing_is_said(protocols):
    assert tell_rankings(board(**protocols)) == []
