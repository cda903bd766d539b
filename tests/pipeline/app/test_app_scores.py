"""A score in words: figure, test set, optimism."""

import pandas as pd
import pytest

from pipeline.app.scores import find_score, tell_score

NAN = float("nan")


def metrics(model_id="m" * 24, value=0.8, low=0.7, high=0.9) -> pd.DataFrame:
    row = {"model_id": model_id, "metric": "macro_f1", "class": "all", "variant": "clean", "value": value}
    row |= {"low": low, "high": high, "n": 199, "groups": 44}
    return pd.DataFrame([row, row | {"variant": "gaussian_blur:1", "value": 0.1}])


def leaderboard() -> pd.DataFrame:
    columns = ["recipe", "protocol", "macro_f1", "macro_f1_low", "macro_f1_high"]
    columns += ["optimism", "optimism_low", "optimism_high"]
    rows = [
        ["cnn3", "patient", 0.8, 0.7, 0.9, NAN, NAN, NAN],
        ["cnn3", "published", 0.95, 0.9, 0.97, 0.15, -0.01, 0.3],
        ["other", "published", 0.5, 0.4, 0.6, 0.5, 0.4, 0.6],
    ]
    return pd.DataFrame(rows, columns=columns)


def test_the_honest_score_names_what_others_add(make_reading):
    told = tell_score(find_score(metrics(), leaderboard(), make_reading(1, 0, 0, 0).card))
    assert told == [
        "Macro-F1 0.800 [0.700, 0.900] on patients and pictures that training never saw: 199 test images in "
        "44 groups.",
        "Optimism of the same recipe under `published`: +0.150 [−0.010, 0.300].",
    ]


def test_a_flattered_score_names_the_honest_one(make_reading):
    card = make_reading(1, 0, 0, 0, protocol="published").card
    told = tell_score(find_score(metrics(value=0.95), leaderboard(), card))
    assert "leaks included" in told[0]
    assert told[1] == (
        "Optimism +0.150 [−0.010, 0.300]: on patients never seen the same recipe has 0.800 [0.700, 0.900]."
    )


def test_too_few_groups_give_no_interval(make_reading):
    told = tell_score(find_score(metrics(low=NAN, high=NAN), None, make_reading(1, 0, 0, 0).card))
    assert told[0].startswith("Macro-F1 0.800 on patients")


@pytest.mark.parametrize("found", [None, metrics("another"), metrics(value=NAN)])
def test_what_was_not_evaluated_says_so(make_reading, found):
    score = find_score(found, leaderboard(), make_reading(1, 0, 0, 0).card)
    assert tell_score(score) == ["Not evaluated: no score stands behind this model yet."]
