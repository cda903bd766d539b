"""The weighing: each clause passes and fails by its own figure, and comparisons are paired."""

import math

import pytest
from exam_sheets import answers_of

from pipeline.catalog import load_catalog
from pipeline.errors import TableError
from pipeline.release.measuring import measure_challenger
from pipeline.release.rule import Bar
from pipeline.release.weighing import Facts, tell_failures, weigh_challenger

RULE = load_catalog().promotion
GOOD = Facts("passed", "passed", "", "")


def weigh(challenger, champion=None, facts=GOOD, rule=RULE):
    return weigh_challenger(challenger, champion, facts, rule, draws=300)


def failed(clauses) -> set[str]:
    return {f"{one.clause}/{one.against}" for one in clauses if not one.passed}


def with_clauses(**changes):
    return RULE.model_copy(update={"clauses": RULE.clauses.model_copy(update=changes)})


def test_the_first_good_model_keeps_every_clause_and_is_compared_with_nobody():
    clauses = weigh(answers_of("a", wrong=0.1))
    assert failed(clauses) == set()
    assert {one.against for one in clauses} == {"limit"}


def test_a_model_below_the_limits_is_refused_without_any_champion():
    assert failed(weigh(answers_of("a", wrong=0.9))) >= {"macro_f1/limit", "worst_class_recall/limit"}


def test_a_better_challenger_passes_and_a_worse_one_does_not():
    good, bad = answers_of("a", wrong=0.02), answers_of("b", wrong=0.35, seed=1)
    assert failed(weigh(good, bad)) == set()
    assert failed(weigh(bad, good)) >= {"macro_f1/champion", "macro_f1/gain"}


def test_the_same_answers_differ_by_nothing_with_an_interval_of_nothing():
    one = answers_of("a", wrong=0.2)
    found = measure_challenger(one, one.assign(model_id="b"), draws=200)
    assert (found.gain["macro_f1"].value, found.gain["macro_f1"].low, found.gain["macro_f1"].high) == (
        0,
        0,
        0,
    )


def test_the_difference_is_paired_so_that_it_is_surer_than_either_score():
    champion = answers_of("a", wrong=0.3)
    challenger = champion.copy()
    one = champion["image_id"] == champion["image_id"].iloc[0]
    challenger.loc[one, ["p_glioma", "p_meningioma"]] = [0.7, 0.1]
    found = measure_challenger(challenger, champion, draws=500)
    width = found.gain["macro_f1"].high - found.gain["macro_f1"].low
    assert width < (found.own["macro_f1"].high - found.own["macro_f1"].low) / 3


def test_a_challenger_that_wins_on_newcomers_alone_loses_on_what_is_settled():
    """A mislabelled collection agrees with the model that learned from it."""
    champion = answers_of("a", wrong=0.0, groups=24, new=24)
    settled = champion["part"] == "settled"
    spoilt = champion.copy()
    spoilt.loc[settled, ["p_glioma", "p_meningioma", "p_pituitary", "p_no_tumor"]] = [0.25, 0.25, 0.25, 0.25]
    turned = champion[~settled].assign(
        p_glioma=champion["p_meningioma"],
        p_meningioma=champion["p_pituitary"],
        p_pituitary=champion["p_no_tumor"],
        p_no_tumor=champion["p_glioma"],
    )
    champion.loc[~settled, turned.columns] = turned
    clauses = weigh(spoilt, champion)
    assert {"macro_f1/champion", "newcomers/limit"} <= failed(clauses)
    assert "look at them before anything is trained" in tell_failures(clauses)


def test_few_newcomers_are_no_alarm():
    champion = answers_of("a", wrong=0.0, new=2)
    clause = next(one for one in weigh(champion, champion) if one.clause == "newcomers")
    assert clause.passed
    assert "too few to ask" in clause.words


def test_too_few_groups_are_no_evidence():
    clauses = weigh(answers_of("a", wrong=0.0, groups=8))
    assert failed(clauses) == {"groups/limit"}


@pytest.mark.parametrize(
    ("facts", "clause"),
    [
        (Facts("leaks: 2 shared_md5", "passed", "", ""), "gate/limit"),
        (Facts("passed", "leaks: 2 shared_md5", "", ""), "gate/limit"),
        (Facts("passed", "passed", "", "taken back by ann"), "hold/limit"),
    ],
)
def test_a_fact_refuses_a_model_that_is_good_in_all_else(facts, clause):
    assert failed(weigh(answers_of("a", wrong=0.0), facts=facts)) == {clause}


def test_a_broken_contract_ends_the_weighing():
    clauses = weigh(answers_of("a", wrong=0.0), facts=Facts("passed", "passed", "ServingError: no card", ""))
    assert [one.clause for one in clauses] == ["gate", "contract", "hold"]
    assert tell_failures(clauses) == "contract: ServingError: no card"


def test_a_lower_brier_score_is_the_better_one():
    sure, unsure = answers_of("a", wrong=0.0, confident=0.9), answers_of("b", wrong=0.0, confident=0.3)
    assert "brier/champion" not in failed(weigh(sure, unsure))
    assert "brier/champion" in failed(weigh(unsure, sure))
    strict = with_clauses(brier=Bar(limit=0.1, gain=0.05, judge="interval", margin=0.0))
    assert {"brier/limit", "brier/gain"} <= failed(weigh(unsure, sure, rule=strict))


def test_poorer_images_alone_can_refuse_a_challenger():
    champion = answers_of("a", wrong=0.0)
    weak = champion.copy()
    poor = weak["variant"] != "clean"
    weak.loc[poor, ["p_glioma", "p_meningioma", "p_pituitary", "p_no_tumor"]] = [0.1, 0.1, 0.1, 0.7]
    assert failed(weigh(weak, champion)) == {"worst_degradation/champion"}


def test_an_interval_that_does_not_exist_is_not_passed():
    few = answers_of("a", wrong=0.0, groups=4)
    clause = next(one for one in weigh(few, few) if (one.clause, one.against) == ("macro_f1", "champion"))
    assert math.isnan(clause.low)
    assert not clause.passed
    assert "no interval, too few groups" in clause.words


def test_other_images_cannot_be_compared():
    one = answers_of("a", wrong=0.0)
    with pytest.raises(TableError, match="did not answer the same images"):
        measure_challenger(one, one[one["image_id"] != one["image_id"].iloc[0]])
    with pytest.raises(TableError, match="no clean answer"):
        measure_challenger(one[one["variant"] != "clean"], None)


def test_a_weighing_is_a_function_of_content():
    one, other = answers_of("a", wrong=0.2), answers_of("b", wrong=0.3, seed=2)
    assert weigh(one, other) == weigh(
        one.sample(frac=1, random_state=1), other.sample(frac=1, random_state=2)
    )


def test_a_control_that_scores_best_is_no_champion():
    clauses = weigh(answers_of("a", wrong=0.02), facts=Facts("passed", "control, labels shuffled", "", ""))
    assert failed(clauses) == {"gate/limit"}
    assert "control" in tell_failures(clauses)
