"""Risk against coverage, by counting plainly."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from test_metrics import answers as some_answers

from pipeline.evaluation.abstention import COVERAGES, measure_abstention, trace_risk
from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.findings import pick
from pipeline.evaluation.predictions import Answers


def count_aurc(confidence: np.ndarray, wrong: np.ndarray) -> float:
    return float(np.mean([wrong[confidence >= own].mean() for own in confidence]))


def count_risk(confidence: np.ndarray, wrong: np.ndarray, coverage: float) -> float:
    for threshold in np.unique(confidence)[::-1]:
        kept = confidence >= threshold
        if kept.sum() >= coverage * len(kept) - 1e-9:
            return float(wrong[kept].mean())
    raise AssertionError("the lowest threshold keeps everything")


@given(answers=some_answers())
@settings(max_examples=60, deadline=None)
def test_values_are_those_of_a_plain_count(answers):
    confidence, wrong = answers.scores.max(axis=1), answers.predicted != answers.truth
    found = measure_abstention(answers, draws=5, seed=0)
    assert pick(found, "aurc").value == pytest.approx(count_aurc(confidence, wrong))
    for coverage in COVERAGES:
        value = pick(found, f"risk_at_{round(100 * coverage)}").value
        assert value == pytest.approx(count_risk(confidence, wrong, coverage))


@given(answers=some_answers())
@settings(max_examples=60, deadline=None)
def test_the_curve_ends_with_everything_answered(answers):
    coverage, risk = trace_risk(answers)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx((answers.predicted != answers.truth).mean())
    assert (np.diff(coverage) > 0).all()
    assert ((risk >= 0) & (risk <= 1)).all()


def test_the_order_of_equally_sure_answers_counts_for_nothing():
    scores = np.tile([0.7, 0.1, 0.1, 0.1], (4, 1))
    truth = np.array([1, 0, 0, 0])
    forth = Answers(truth, scores, np.arange(4))
    back = Answers(truth[::-1], scores, np.arange(4))
    values = [pick(measure_abstention(one, draws=5, seed=0), "aurc").value for one in (forth, back)]
    assert values == [0.25, 0.25]


def test_worked_out_by_hand():
    # By falling confidence: right, wrong, right, right. Risks 0, 1/2, 1/3, 1/4.
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    scores = np.column_stack([confidence, 1 - confidence, np.zeros(4), np.zeros(4)])
    found = measure_abstention(Answers(np.array([0, 1, 0, 0]), scores, np.arange(4)), draws=5, seed=0)
    assert pick(found, "aurc").value == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert pick(found, "risk_at_70").value == pytest.approx(1 / 3)
    assert pick(found, "risk_at_80").value == pytest.approx(1 / 4)


def test_intervals_are_those_of_resampled_rows():
    random = np.random.default_rng(5)
    scores = random.dirichlet(np.ones(4), 50)
    answers = Answers(random.integers(0, 4, 50), scores, np.arange(50) % 10)
    found = measure_abstention(answers, draws=40, seed=2)
    confidence, wrong = scores.max(axis=1), answers.predicted != answers.truth
    rows = [row for block in draw_weights(10, 40, 2) for row in block.astype(int)]
    picks = [np.repeat(np.arange(50), row[answers.groups]) for row in rows]
    for name, drawn in {
        "aurc": [count_aurc(confidence[one], wrong[one]) for one in picks],
        "risk_at_80": [count_risk(confidence[one], wrong[one], 0.8) for one in picks],
    }.items():
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert (pick(found, name).low, pick(found, name).high) == pytest.approx((low, high)), name


def test_ten_thousand_draws_take_seconds_at_most():
    random = np.random.default_rng(0)
    answers = Answers(random.integers(0, 4, 2000), random.dirichlet(np.ones(4), 2000), np.arange(2000) % 600)
    begin = time.process_time()
    measure_abstention(answers, draws=10_000, seed=0)
    assert time.process_time() - begin < 8
