"""Temperature, ECE and Brier against independent counts."""

import time

import numpy as np
import pytest
import scipy.optimize
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.calibration import (
    BINS,
    COOLEST,
    HOTTEST,
    bin_answers,
    calibrate,
    fit_temperature,
    measure_calibration,
    soften,
)
from pipeline.evaluation.findings import pick
from pipeline.evaluation.predictions import Answers


def imagine(
    images: int = 400, groups: int = 80, skill: float = 2.0, heat: float = 1.0, draw: int = 0
) -> Answers:
    """Answers whose stated probabilities are the true ones, sharpened by `heat`."""
    random = np.random.default_rng(draw)
    logits = random.normal(0, skill, (images, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([random.choice(4, p=row) for row in chances])
    sharp = np.exp(logits * heat) / np.exp(logits * heat).sum(axis=1, keepdims=True)
    group = np.concatenate([np.arange(groups), random.integers(0, groups, images - groups)])
    return Answers(truth, sharp, group)


def count_ece(truth: np.ndarray, scores: np.ndarray) -> float:
    """The definition, bin by bin."""
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    total = 0.0
    for place in range(BINS):
        inside = (confidence > place / BINS) & (confidence <= (place + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@st.composite
def probabilities(draw: st.DrawFn) -> np.ndarray:
    rows = draw(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=20))
    values = np.array(rows, dtype=np.float64) + 1e-3
    return values / values.sum(axis=1, keepdims=True)


@given(scores=probabilities(), temperature=st.floats(0.05, 20))
@settings(max_examples=100, deadline=None)
def test_softening_keeps_a_distribution_and_the_order_of_the_classes(scores, temperature):
    softened = soften(scores, temperature)
    assert np.allclose(softened.sum(axis=1), 1)
    assert (
        np.take_along_axis(softened, scores.argmax(axis=1)[:, None], 1)[:, 0] == softened.max(axis=1)
    ).all()
    if temperature > 1:
        assert (softened.max(axis=1) <= scores.max(axis=1) + 1e-12).all()


def test_temperature_one_changes_nothing_and_certainty_stays_certain():
    answers = imagine()
    assert np.allclose(soften(answers.scores, 1.0), answers.scores, atol=1e-15)
    assert np.allclose(soften(np.array([[1.0, 0, 0, 0]]), 3.0), [[1, 0, 0, 0]])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match="a temperature is above 0"):
        soften(imagine().scores, temperature)


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_undoes_the_sharpening(heat):
    assert fit_temperature(imagine(4000, heat=heat)) == pytest.approx(heat, rel=0.1)


def test_the_temperature_is_the_one_that_another_optimiser_finds():
    answers = imagine(heat=3.0)
    logs = np.log(answers.scores)

    def loss(inverse: np.ndarray) -> float:
        scaled = logs * inverse[0]
        top = np.log(np.exp(scaled).sum(axis=1))
        return float((top - scaled[np.arange(answers.size), answers.truth]).mean())

    other = scipy.optimize.minimize(
        loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}
    )
    assert fit_temperature(answers) == pytest.approx(1 / other.x[0], rel=1e-4)


def test_a_val_part_without_a_mistake_ends_at_one_bound_and_a_hopeless_one_at_the_other():
    sure = Answers(np.zeros(5, np.int64), np.tile([0.7, 0.1, 0.1, 0.1], (5, 1)), np.arange(5))
    wrong = Answers(np.ones(5, np.int64), sure.scores, sure.groups)
    # Close to the bound the likelihood of sure answers is 1 to the last digit, and no temperature is better.
    assert COOLEST <= fit_temperature(sure) < 1.2 * COOLEST
    assert fit_temperature(wrong) == pytest.approx(HOTTEST, rel=1e-3)


def test_a_true_class_of_probability_zero_costs_much_and_not_infinitely():
    answers = Answers(np.array([1, 0]), np.array([[1.0, 0, 0, 0]] * 2), np.arange(2))
    assert np.isfinite(pick(measure_calibration(answers, 2.0, draws=10, seed=0), "nll_before").value)
    assert fit_temperature(answers) == pytest.approx(HOTTEST, rel=1e-3)


def test_every_value_is_that_of_an_independent_count():
    answers = imagine(heat=3.0)
    temperature = fit_temperature(answers)
    found = measure_calibration(answers, temperature, draws=20, seed=0)
    for state, shown in (("before", answers), ("after", calibrate(answers, temperature))):
        expected = {
            "nll": reference.log_loss(shown.truth, shown.scores, labels=range(4)),
            "brier": reference.brier_score_loss(
                shown.truth, shown.scores, labels=range(4), scale_by_half=False
            ),
            "ece": count_ece(shown.truth, shown.scores),
        }
        for name, value in expected.items():
            assert pick(found, f"{name}_{state}").value == pytest.approx(value, abs=1e-12), (name, state)
    for name in ("nll", "brier", "ece"):
        change = pick(found, f"{name}_after").value - pick(found, f"{name}_before").value
        assert pick(found, f"{name}_change").value == pytest.approx(change, abs=1e-15)


def test_ece_worked_out_by_hand():
    # Two images of confidence 0.8, one right; two of 0.5, both right: (|1 - 1.6| + |2 - 1|) / 4.
    scores = np.array([[0.8, 0.2, 0, 0], [0.8, 0.2, 0, 0], [0.5, 0.25, 0.25, 0], [0.5, 0.25, 0.25, 0]])
    answers = Answers(np.array([0, 1, 0, 0]), scores, np.arange(4))
    assert pick(measure_calibration(answers, 1.0, draws=10, seed=0), "ece_before").value == pytest.approx(0.4)


def test_intervals_are_those_of_resampled_rows():
    answers = imagine(60, 12, heat=2.0)
    found = measure_calibration(answers, 1.5, draws=40, seed=3)
    after = calibrate(answers, 1.5)
    drawn = []
    for weights in draw_weights(12, 40, 3):
        for row in weights.astype(int):
            picked = np.repeat(np.arange(60), row[answers.groups])
            drawn.append(count_ece(answers.truth[picked], after.scores[picked]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (pick(found, "ece_after").low, pick(found, "ece_after").high) == pytest.approx((low, high))


def test_bins_hold_every_image_once_and_their_upper_edge():
    scores = np.array(
        [[1 / 3, 1 / 3, 1 / 3, 0], [1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.4, 0.3, 0.3, 0]]
    )
    bins = bin_answers(Answers(np.zeros(4, np.int64), scores, np.arange(4)))
    assert bins.count.sum() == 4
    assert [int(place) for place in np.flatnonzero(bins.count)] == [3, 4, 5, 14]
    assert np.isnan(bins.accuracy[0])


def test_ten_thousand_draws_take_seconds_at_most():
    answers = imagine(2000, 600)
    begin = time.process_time()
    measure_calibration(answers, 1.3, draws=10_000, seed=0)
    assert time.process_time() - begin < 5
