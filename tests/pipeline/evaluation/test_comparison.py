"""Two models on the same groups: paired draws, and a clear refusal where they are none."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.comparison import compare_models
from pipeline.evaluation.metrics import protocol_seed
from pipeline.evaluation.predictions import PROBABILITIES, read_answers
from pipeline.evaluation.standings import measure_standings

Predict = Callable[..., pd.DataFrame]


def worsen(frame: pd.DataFrame, share: float, draw: int = 0) -> pd.DataFrame:
    """Another model on the same images: some rows of probabilities are shuffled among themselves."""
    random = np.random.default_rng(draw)
    rows = np.flatnonzero(random.random(len(frame)) < share)
    scores = frame[PROBABILITIES].to_numpy().copy()
    scores[rows] = scores[random.permutation(rows)]
    other = frame.assign(model_id="other", recipe="b_other")
    other[PROBABILITIES] = scores
    return other


@pytest.mark.parametrize(("draw", "share"), [(0, 0.0), (1, 0.2), (2, 0.5), (3, 1.0)])
def test_the_other_way_round_it_is_the_same_with_its_sign_changed(
    dream: Predict, draw: int, share: float
) -> None:
    first = dream(images=80, groups=20, draw=draw)
    second = worsen(first, share, draw)
    forth, back = (compare_models(*pair, draws=100) for pair in ((first, second), (second, first)))
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), nan_ok=True)
    assert forth.above == pytest.approx(1 - back.above, nan_ok=True)


def test_a_model_against_itself_differs_by_nothing(predictions: pd.DataFrame) -> None:
    same = predictions.assign(model_id="again", recipe="again")
    found = compare_models(predictions, same, draws=200)
    assert (found.difference, found.low, found.high, found.above) == (0, 0, 0, 0.5)


def test_draws_are_those_of_resampled_rows(dream: Predict) -> None:
    first = dream(images=60, groups=15)
    second = worsen(first, 0.4)
    found = compare_models(first, second, draws=60, seed=4)
    sides = [read_answers(frame) for frame in (first, second)]
    drawn = []
    for weights in draw_weights(15, 60, protocol_seed(4, "patient")):
        for row in weights.astype(int):
            picked = np.repeat(np.arange(60), row[sides[0].groups])
            scores = [
                f1_score(one.truth[picked], one.predicted[picked], average="macro", zero_division=0)
                for one in sides
            ]
            whole = set(sides[0].truth[picked]) == set(sides[0].truth)
            drawn.append(scores[0] - scores[1] if whole else np.nan)
    expected = np.array(drawn)[~np.isnan(drawn)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    ties = np.isclose(expected, 0)
    assert found.above == pytest.approx(((expected > 0) & ~ties).mean() + ties.mean() / 2)


def test_draws_are_those_of_the_leaderboard(dream: Predict) -> None:
    first = dream()
    second = worsen(first, 0.3)
    standings = measure_standings(pd.concat([first, second]), draws=300, seed=0)
    by_recipe = {one.recipe: one.draws for one in standings}
    difference = by_recipe["demo_careful"] - by_recipe["b_other"]
    found = compare_models(first, second, draws=300)
    assert (found.low, found.high) == pytest.approx(tuple(np.nanquantile(difference, [0.025, 0.975])))


def test_pairing_narrows_the_interval(dream: Predict) -> None:
    first = dream(skill=1.5)
    found = compare_models(first, worsen(first, 0.1), draws=1000)
    alone = measure_standings(first, draws=1000, seed=0)[0].draws
    apart = np.nanquantile(alone - np.random.default_rng(0).permutation(alone), [0.025, 0.975])
    assert found.high - found.low < 0.7 * (apart[1] - apart[0])


def test_a_better_model_is_above_in_nearly_all_draws(dream: Predict) -> None:
    first = dream()
    found = compare_models(first, worsen(first, 0.6), draws=1000)
    assert found.low > 0
    assert found.above > 0.99
    assert found.n == 240
    assert found.groups == 60


def test_one_group_has_a_difference_and_no_interval(make: Predict) -> None:
    first = make([0, 1, 2, 3], np.eye(4), ["a"] * 4)
    second = first.assign(model_id="o", recipe="o", p_glioma=0.25, p_meningioma=0.25, p_pituitary=0.25)
    found = compare_models(first, second.assign(p_no_tumor=0.25), draws=50)
    assert found.difference > 0
    assert np.isnan([found.low, found.high, found.above]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.iloc[1:],
        lambda frame: frame.assign(group_id=[f"other {index}" for index in range(len(frame))]),
        lambda frame: frame.assign(protocol="published"),
    ],
    ids=["fewer images", "other groups", "another protocol"],
)
def test_models_that_were_tested_on_other_images_are_not_compared(predictions, change) -> None:
    other = change(predictions.assign(model_id="other", recipe="b_other"))
    with pytest.raises(
        TableError, match=r"demo_careful under patient and b_other .* did not answer the same"
    ):
        compare_models(predictions, other, draws=10)


def test_an_unknown_metric_is_named_with_those_there_are(predictions) -> None:
    with pytest.raises(TableError, match=r"no metric 'auc' to compare; there are accuracy, .*macro_f1"):
        compare_models(predictions, predictions.assign(model_id="o"), metric="auc", draws=10)


def test_ten_thousand_draws_take_seconds_at_most(dream: Predict) -> None:
    first = dream(images=2000, groups=600)
    second = worsen(first, 0.2)
    begin = time.process_time()
    compare_models(first, second, draws=10_000)
    assert time.process_time() - begin < 6
