"""Wrong answers by group: each of them once, with the group that has most of them first."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.mistakes import COLUMNS, list_mistakes
from pipeline.labels import LABELS

ANSWERS = [
    ("a", 0, 0),
    ("b", 1, 2),
    ("b", 1, 2),
    ("b", 1, 0),
    ("b", 1, 1),
    ("c", 2, 1),
    ("c", 2, 0),
    ("d", 3, 0),
]
"""Group, true class, called class."""


@pytest.fixture
def predictions(make) -> pd.DataFrame:
    scores = np.full((len(ANSWERS), 4), 0.1)
    scores[np.arange(len(ANSWERS)), [called for _, _, called in ANSWERS]] = 0.7
    return make([truth for _, truth, _ in ANSWERS], scores, [group for group, _, _ in ANSWERS])


def test_groups_with_wrong_answers_are_listed_with_what_they_were_called_most(predictions):
    found = list_mistakes(predictions)
    assert list(found.columns) == COLUMNS
    glioma, meningioma, pituitary, none = LABELS
    assert found.to_numpy().tolist() == [
        ["b", meningioma, pituitary, 3, 4],
        ["c", pituitary, glioma, 2, 2],
        ["d", none, glioma, 1, 1],
    ]


def test_degraded_images_and_the_order_of_rows_change_nothing(predictions):
    mixed = pd.concat([predictions.iloc[::-1], predictions.assign(variant="gaussian_noise:3")])
    assert list_mistakes(mixed).equals(list_mistakes(predictions))


def test_where_all_is_right_there_is_no_row(predictions):
    right = predictions.iloc[[0]]
    assert list_mistakes(right).empty and list(list_mistakes(right).columns) == COLUMNS
