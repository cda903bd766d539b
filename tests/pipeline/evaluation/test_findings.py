"""Sums over groups, resampled: the same as rows that were drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from test_metrics import answers as some_answers

from pipeline.evaluation.bootstrap import divide, draw_weights
from pipeline.evaluation.findings import find, pick, resample_sums, sum_by_group
from pipeline.evaluation.predictions import Answers
from pipeline.labels import LABELS


@given(answers=some_answers())
@settings(max_examples=50, deadline=None)
def test_sums_are_those_of_each_group(answers):
    values = np.column_stack([np.ones(answers.size), answers.scores])
    sums = sum_by_group(values, answers)
    for group in range(answers.group_count):
        assert np.allclose(sums[group], values[answers.groups == group].sum(axis=0))


def test_draws_are_those_of_resampled_rows():
    random = np.random.default_rng(1)
    answers = Answers(np.zeros(30, np.int64), np.full((30, 4), 0.25), np.arange(30) % 7)
    values = random.normal(size=30)
    sums = sum_by_group(np.column_stack([values, np.ones(30)]), answers)
    found = resample_sums(sums, lambda one: {"mean": divide(one[:, 0], one[:, 1])}, draws=25, seed=6)
    rows = [row for block in draw_weights(7, 25, 6) for row in block.astype(int)]
    expected = [np.repeat(values, row[answers.groups]).mean() for row in rows]
    assert found["mean"][0] == pytest.approx(values.mean())
    assert found["mean"][1] == pytest.approx(expected)


def test_a_finding_counts_the_images_and_groups_of_its_class():
    answers = Answers(np.array([0, 0, 1, 1, 1]), np.full((5, 4), 0.25), np.array([0, 1, 1, 1, 1]))
    draws = np.array([0.1, 0.2, 0.3])
    whole = find("share", (0.2, draws), answers)
    assert (whole.n, whole.groups, whole.label) == (5, 2, "all")
    assert whole.low < 0.2 < whole.high
    alone = find("share", (0.2, draws), answers, label=LABELS[1])
    assert (alone.n, alone.groups) == (3, 1)
    assert np.isnan([alone.low, alone.high]).all()
    assert pick([whole, alone], "share", label=LABELS[1]) is alone
    with pytest.raises(KeyError, match="no finding 'size' for subset 'all' and class 'all'"):
        pick([whole], "size")
