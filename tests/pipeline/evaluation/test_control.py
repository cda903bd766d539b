"""Controls: chance is what they must score, and luck of one seed is not taken for a leak."""

import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.control import describe_control, measure_control, scores_chance


def write_metrics(*values: float, reach: float = 0.05) -> pd.DataFrame:
    rows = [
        {
            "seed": seed,
            "metric": metric,
            "class": "all",
            "variant": variant,
            "value": value,
            "low": value - reach,
            "high": value + reach,
            "n": 1000,
            "groups": 90,
        }
        for seed, value in enumerate(values)
        for metric in ("balanced_accuracy", "accuracy")
        for variant in ("clean", "blur-1")
    ]
    return pd.DataFrame(rows)


def test_one_seed_is_judged_by_its_interval() -> None:
    assert measure_control(write_metrics(0.28)) == pytest.approx((0.28, 0.23, 0.33))
    assert scores_chance(write_metrics(0.28))
    assert not scores_chance(write_metrics(0.36))
    assert scores_chance(write_metrics(0.1))  # wrong more often than chance is no leak


def test_several_seeds_are_judged_by_their_spread() -> None:
    mean, low, high = measure_control(write_metrics(0.2, 0.25, 0.3))
    # Student's t of 2 degrees is 4.3027; the standard error is 0.05 / sqrt(3).
    assert (mean, low, high) == pytest.approx((0.25, 0.25 - 0.12421, 0.25 + 0.12421), abs=1e-4)
    assert scores_chance(write_metrics(0.1, 0.45, 0.3))
    assert not scores_chance(write_metrics(0.6, 0.62, 0.61))


def test_what_came_of_it_is_told_with_what_to_do() -> None:
    text = describe_control(write_metrics(0.36), "slim64_shuffled", "patient")
    assert "seed 0: 0.360 [0.310, 0.410] on 1,000 test images in 90 groups" in text
    assert "MORE than chance. One seed can do so by luck: set FALX_SEEDS=5" in text
    text = describe_control(write_metrics(0.2, 0.3), "slim64_shuffled", "patient")
    assert "mean of 2 seeds: 0.250" in text and "no more than chance, as it must" in text


def test_metrics_without_the_figure_are_refused() -> None:
    metrics = write_metrics(0.2)
    with pytest.raises(TableError, match="no balanced accuracy of clean test images"):
        scores_chance(metrics[metrics["metric"] == "accuracy"])
