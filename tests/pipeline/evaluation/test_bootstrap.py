import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import count_confusions, draw_weights, find_interval, rank_class
from pipeline.evaluation.metrics import resample_metrics
from pipeline.evaluation.predictions import Answers, read_answers


def all_weights(groups: int, draws: int, seed: int) -> np.ndarray:
    return np.concatenate(list(draw_weights(groups, draws, seed)))


@settings(deadline=None, max_examples=60)
@given(groups=st.integers(1, 50), draws=st.integers(1, 60), seed=st.integers(0, 2**63 - 1))
def test_each_draw_takes_as_many_groups_as_there_are(groups: int, draws: int, seed: int) -> None:
    weights = all_weights(groups, draws, seed)
    assert weights.shape == (draws, groups)
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == groups).all()


def test_draws_depend_on_seed_alone_not_on_their_number_or_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = all_weights(37, 100, 5)
    assert np.array_equal(all_weights(37, 100, 5), weights)
    assert np.array_equal(all_weights(37, 40, 5), weights[:40])
    assert not np.array_equal(all_weights(37, 100, 6), weights)
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 37 * 7)
    assert np.array_equal(all_weights(37, 100, 5), weights)


def test_groups_are_drawn_evenly() -> None:
    mean = all_weights(20, 20_000, 1).mean(axis=0)
    assert np.abs(mean - 1).max() < 5 * np.sqrt(0.95 / 20_000)


@pytest.mark.parametrize(("groups", "draws"), [(0, 10), (10, 0)])
def test_nothing_to_draw_is_an_error(groups: int, draws: int) -> None:
    with pytest.raises(ValueError, match="at least one group and one draw"):
        next(draw_weights(groups, draws, 0))


def test_confusions_are_counted_by_group(small: pd.DataFrame) -> None:
    counts = count_confusions(read_answers(small))
    assert counts.shape == (6, 4, 4)
    assert counts.sum(axis=(1, 2)).tolist() == [1, 2, 2, 1, 2, 1]
    assert counts[1].tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_area_counts_a_tie_as_half(small: pd.DataFrame) -> None:
    # Glioma scores 0.7, 0.7, 0.1 against 0.7 once and 0.1 five times: 13.5 of 18 pairs are won.
    ranks = rank_class(read_answers(small), 0)
    assert ranks.resample(np.ones((6, 1))).tolist() == [0.75]


def test_area_without_positives_or_negatives_is_undefined(small: pd.DataFrame) -> None:
    ranks = rank_class(read_answers(small), 2)
    only_pituitary, without = np.eye(6)[3], 1 - np.eye(6)[3]
    assert np.isnan(ranks.resample(np.stack([only_pituitary, without], axis=1))).all()


def test_interval_is_the_percentile_of_the_defined_draws() -> None:
    draws = np.append(np.arange(1000.0), np.full(100, np.nan))
    assert find_interval(draws, 10) == pytest.approx((24.975, 974.025))


@pytest.mark.parametrize(
    ("draws", "groups"),
    [
        (np.linspace(0, 1, 100), 1),
        (np.full(100, np.nan), 10),
        (np.append(np.linspace(0, 1, 79), np.full(21, np.nan)), 10),
    ],
)
def test_too_few_groups_or_draws_give_no_interval(draws: np.ndarray, groups: int) -> None:
    assert np.isnan(find_interval(draws, groups)).all()


def simulate(random: np.random.Generator, share: float, groups: int = 80, images: int = 10) -> np.ndarray:
    """Right or wrong for each image [g, images]; images of one group succeed alike."""
    chance = random.beta(2 * share, 2 * (1 - share), size=(groups, 1))
    return random.random((groups, images)) < chance


def covers(right: np.ndarray, share: float, seed: int, *, by_group: bool) -> bool:
    groups, images = right.shape
    flat = right.ravel()
    truth = np.zeros(flat.size, dtype=np.int64)
    scores = np.where(flat[:, None], [1.0, 0, 0, 0], [0, 1.0, 0, 0])
    units = np.repeat(np.arange(groups), images) if by_group else np.arange(flat.size)
    answers = Answers(truth, scores, units)
    _, draws = resample_metrics(answers, draws=400, seed=seed, ranks=False)["accuracy", "all"]
    low, high = find_interval(draws, answers.group_count)
    return low <= share <= high


def test_intervals_by_group_cover_the_truth_and_intervals_by_image_do_not() -> None:
    random, share, trials = np.random.default_rng(11), 0.85, 200
    runs = [simulate(random, share) for _ in range(trials)]
    by_group = np.mean([covers(run, share, seed, by_group=True) for seed, run in enumerate(runs)])
    by_image = np.mean([covers(run, share, seed, by_group=False) for seed, run in enumerate(runs)])
    # Four standard errors of a share of 200 about 0.95 are 0.06; percentile intervals are a little short.
    assert 0.89 <= by_group <= 0.99
    assert by_image < 0.80
