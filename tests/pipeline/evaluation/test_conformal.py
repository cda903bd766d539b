"""Conformal sets: the promise where it holds, the counts, and what groups do to it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_metrics import answers as some_answers

from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.conformal import COVERAGE, fit_threshold, make_sets, measure_sets
from pipeline.evaluation.findings import Finding, pick
from pipeline.evaluation.predictions import Answers
from pipeline.labels import LABELS


def imagine(images: int, draw: int, groups: int = 0) -> Answers:
    """Answers of a mediocre model; with groups, images of one are near-copies of each other."""
    random = np.random.default_rng(draw)
    cases = groups or images
    logits = random.normal(0, 1.5, (cases, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([random.choice(4, p=row) for row in chances])
    group = np.arange(images) % cases
    return Answers(truth[group], chances[group], group)


def test_the_threshold_is_the_ranked_score_of_the_definition():
    scores = np.array([[1 - level, level, 0, 0] for level in np.arange(1, 20) / 20])
    answers = Answers(np.zeros(19, np.int64), scores, np.arange(19))
    # The 18th smallest of 19: ceil(20 * 0.9) = 18.
    assert fit_threshold(answers) == pytest.approx(18 / 20)
    assert fit_threshold(answers, coverage=0.5) == pytest.approx(10 / 20)


def test_too_few_val_images_exclude_nothing():
    answers = imagine(8, 0)
    assert fit_threshold(answers) == math.inf
    assert make_sets(answers.scores, math.inf).all()
    assert fit_threshold(imagine(9, 0)) < 1


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, float("nan")])
def test_a_coverage_that_is_none_is_refused(coverage):
    with pytest.raises(ValueError, match="a coverage lies between 0 and 1"):
        fit_threshold(imagine(20, 0), coverage=coverage)


@given(answers=some_answers(), coverage=st.floats(0.05, 0.95))
@settings(max_examples=80, deadline=None)
def test_the_promised_share_of_val_itself_is_always_covered(answers, coverage):
    sets = make_sets(answers.scores, fit_threshold(answers, coverage=coverage))
    assert sets[np.arange(answers.size), answers.truth].mean() >= coverage - 1e-9


@given(answers=some_answers())
@settings(max_examples=40, deadline=None)
def test_a_higher_coverage_never_takes_a_label_away(answers):
    small, large = (make_sets(answers.scores, fit_threshold(answers, coverage=share)) for share in (0.6, 0.9))
    assert (small <= large).all()


def test_the_promise_holds_on_average_where_images_are_exchangeable():
    shares = []
    for draw in range(200):
        whole = imagine(400, draw)
        val, test = (
            Answers(whole.truth[part], whole.scores[part], np.arange(200))
            for part in (slice(0, 200), slice(200, 400))
        )
        sets = make_sets(test.scores, fit_threshold(val))
        shares.append(sets[np.arange(200), test.truth].mean())
    # Exactly 0.9 to 0.9 + 1 / 201 in expectation; the mean of 200 has a standard error of 0.002.
    assert 0.892 < np.mean(shares) < 0.913


def test_groups_spread_the_coverage_of_single_test_parts():
    def spread(groups: int) -> float:
        shares = []
        for draw in range(100):
            val, test = imagine(200, 2 * draw, groups), imagine(200, 2 * draw + 1, groups)
            sets = make_sets(test.scores, fit_threshold(val))
            shares.append(sets[np.arange(200), test.truth].mean())
        return float(np.std(shares))

    assert spread(20) > 1.8 * spread(0)


def test_counts_worked_out_by_hand():
    scores = np.array([[0.6, 0.4, 0, 0], [0.6, 0.4, 0, 0], [0.95, 0.05, 0, 0], [0.25] * 4, [0.1, 0.9, 0, 0]])
    answers = Answers(np.array([0, 1, 1, 2, 1]), scores, np.array([0, 0, 1, 2, 2]))
    found = measure_sets(answers, 0.65, draws=20, seed=0)
    assert pick(found, "coverage").value == pytest.approx(3 / 5)
    assert pick(found, "set_size").value == pytest.approx((2 + 2 + 1 + 0 + 1) / 5)
    assert pick(found, "single_sets").value == pytest.approx(2 / 5)
    assert pick(found, "empty_sets").value == pytest.approx(1 / 5)
    assert pick(found, "group_coverage").value == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert pick(found, "groups_short").value == pytest.approx(2 / 3)
    assert pick(found, "coverage", label="meningioma").value == pytest.approx(2 / 3)
    assert pick(found, "set_size", label="meningioma").value == pytest.approx(4 / 3)
    assert (pick(found, "coverage", label="meningioma").n, pick(found, "coverage").groups) == (3, 3)


def test_a_class_without_an_image_has_no_finding():
    found = measure_sets(imagine(30, 0), 0.5, draws=5, seed=0)
    assert {one.label for one in found} == {"all", *LABELS}
    answers = imagine(30, 0)
    alone = Answers(np.zeros(30, np.int64), answers.scores, answers.groups)
    assert {one.label for one in measure_sets(alone, 0.5, draws=5, seed=0)} == {"all", "glioma"}
    with pytest.raises(KeyError, match="no finding 'coverage' for subset 'all' and class 'pituitary'"):
        pick(measure_sets(alone, 0.5, draws=5, seed=0), "coverage", label="pituitary")


def test_intervals_are_those_of_resampled_groups():
    answers = imagine(60, 4, groups=12)
    found = measure_sets(answers, 0.6, draws=50, seed=1)
    covered = make_sets(answers.scores, 0.6)[np.arange(60), answers.truth]
    shares = np.array([covered[answers.groups == group].mean() for group in range(12)])
    rows = [row for block in draw_weights(12, 50, 1) for row in block]
    by_image = [np.average(covered, weights=row[answers.groups]) for row in rows]
    by_group = [np.average(shares, weights=row) for row in rows]
    for name, drawn in (("coverage", by_image), ("group_coverage", by_group)):
        one: Finding = pick(found, name)
        assert (one.low, one.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975]))), name


def test_the_coverage_is_the_one_that_is_written_everywhere():
    assert COVERAGE == 0.9
