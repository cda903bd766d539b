"""All pairs of recipes: the same figures as the two by themselves, and no pair of unlike test sets."""

import pytest
from test_comparison import worsen

from pipeline.errors import TableError
from pipeline.evaluation.comparison import compare_models
from pipeline.evaluation.contests import compare_recipes, tell_contests
from pipeline.tables import from_arrow, to_arrow


@pytest.fixture
def three(predictions):
    poor = worsen(predictions, 0.4)
    alike = worsen(predictions, 0.05, draw=3).assign(recipe="c_alike", model_id="c")
    return [alike, predictions, poor]


def test_every_pair_once_with_the_better_one_first(three):
    found = compare_recipes(three, draws=100)
    assert len(found) == 3
    assert (found["difference"] >= 0).all()
    assert (found["difference"] == found["first_macro_f1"] - found["second_macro_f1"]).all()
    assert {frozenset(pair) for pair in zip(found["first"], found["second"], strict=True)} == {
        frozenset(pair)
        for pair in (("demo_careful", "b_other"), ("demo_careful", "c_alike"), ("b_other", "c_alike"))
    }
    assert from_arrow("comparisons", to_arrow("comparisons", found)).equals(found)


def test_a_pair_is_what_the_two_are_by_themselves(three):
    found = compare_recipes(three, draws=300).set_index(["first", "second"])
    row, alone = found.loc["demo_careful", "b_other"], compare_models(three[1], three[2], draws=300)
    assert row["difference"] == pytest.approx(alone.difference)
    assert (row["low"], row["high"], row["above"]) == pytest.approx((alone.low, alone.high, alone.above))
    assert (row["n"], row["groups"]) == (alone.n, alone.groups)


def test_seeds_are_averaged(predictions):
    other = worsen(predictions, 0.3)
    seeds = [other.assign(seed=0, model_id="s0"), worsen(predictions, 0.6, 1).assign(seed=1, model_id="s1")]
    [row] = compare_recipes([predictions, *seeds], draws=50).to_dict("records")
    single = [compare_models(predictions, one, draws=50).difference for one in seeds]
    assert row["difference"] == pytest.approx(sum(single) / 2)


def test_other_images_groups_or_protocols_make_no_pair(predictions):
    other = worsen(predictions, 0.3)
    for changed in (
        other.iloc[1:],
        other.assign(group_id="one"),
        other.assign(protocol="published"),
    ):
        found = compare_recipes([predictions, changed], draws=20)
        assert found.empty
        assert to_arrow("comparisons", found).num_rows == 0


def test_nothing_to_compare_is_refused():
    with pytest.raises(TableError, match="no predictions to compare; materialise those of at least two"):
        compare_recipes([])


def test_a_difference_that_may_be_chance_is_called_so(three):
    found = compare_recipes(three, draws=300)
    lines = list(tell_contests(found, "patient"))
    assert len(lines) == 3
    assert lines[0].startswith(f"`demo_careful` − `b_other`: {found['difference'].max():+.3f} [")
    assert "may turn it round" not in lines[0]
    unsure = found[found["low"] <= 0]
    assert sum("other patients may turn it round" in line for line in lines) == len(unsure)
    assert list(tell_contests(found, "published")) == []


def test_one_group_is_too_few_to_say(predictions):
    one = predictions.assign(group_id="g")
    [line] = tell_contests(compare_recipes([one, worsen(one, 0.5)], draws=20), "patient")
    assert line.endswith("too few groups for an interval")
