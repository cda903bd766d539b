"""Part by part: every image once, and the same figures as the part by itself."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.findings import pick
from pipeline.evaluation.metrics import score_predictions
from pipeline.evaluation.predictions import check_predictions, read_answers
from pipeline.evaluation.subsets import (
    THREE_CLASS,
    drop_no_tumor,
    list_confusions,
    measure_subsets,
    split_answers,
)
from pipeline.labels import LABELS, TUMOURS


@pytest.fixture
def rows(predictions: pd.DataFrame) -> pd.DataFrame:
    names = ["b_second" if index % 3 else "a_first" for index in range(len(predictions))]
    return check_predictions(predictions.assign(collection=names))


def test_collections_share_out_the_images_and_the_three_classes_are_the_tumours(rows):
    parts = dict(split_answers(rows))
    assert list(parts) == ["collection:a_first", "collection:b_second", THREE_CLASS]
    assert sum(parts[name].size for name in list(parts)[:2]) == len(rows)
    assert parts[THREE_CLASS].size == rows["label"].isin(TUMOURS).sum()
    assert (parts[THREE_CLASS].predicted < len(TUMOURS)).all()


def test_a_test_part_without_tumours_has_no_three_class_figures(rows):
    healthy = rows[rows["label"] == "no_tumor"]
    assert THREE_CLASS not in dict(split_answers(healthy))


@given(seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_without_no_tumor_the_rest_keeps_its_proportions(seed):
    scores = np.random.default_rng(seed).dirichlet(np.ones(4), 10)
    kept = drop_no_tumor(scores)
    assert np.allclose(kept.sum(axis=1), 1)
    assert (kept[:, 3] == 0).all()
    assert np.allclose(kept[:, 0] * scores[:, 1], kept[:, 1] * scores[:, 0])


def test_a_model_that_is_certain_of_no_tumor_is_of_three_minds():
    assert drop_no_tumor(np.array([[0, 0, 0, 1.0]])) == pytest.approx(np.array([[1 / 3] * 3 + [0]]))


def test_a_collection_scores_as_if_it_were_all_there_is(rows):
    found = measure_subsets(rows, draws=100, seed=0)
    alone = score_predictions(rows[rows["collection"] == "b_second"], draws=10)
    alone = alone.set_index(["metric", "class"])["value"]
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "miss_rate"):
        one = pick(found, metric, subset="collection:b_second")
        assert one.value == pytest.approx(alone[metric, "all"])
        assert one.low <= one.value <= one.high
    for label in LABELS:
        called = pick(found, f"called_{label}", subset="collection:b_second", label=label)
        assert called.value == pytest.approx(alone["recall", label])


def test_shares_of_a_class_sum_to_one_and_count_its_images(rows):
    found = measure_subsets(rows, draws=10, seed=0)
    counts = {one.subset: one.counts for one in list_confusions(rows)}
    for name, answers in split_answers(rows):
        for code in np.unique(answers.truth):
            shares = [
                one
                for one in found
                if one.subset == name and one.label == LABELS[code] and one.metric.startswith("called_")
            ]
            assert sum(one.value for one in shares) == pytest.approx(1)
            assert {one.n for one in shares} == {int(counts[name][code].sum())}
            assert {one.groups for one in shares} == {len(np.unique(answers.groups[answers.truth == code]))}


def test_three_classes_are_never_called_no_tumor(rows):
    found = [one for one in measure_subsets(rows, draws=10, seed=0) if one.subset == THREE_CLASS]
    assert {one.metric for one in found} == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        *(f"called_{label}" for label in TUMOURS),
    }
    assert {one.label for one in found} == {"all", *TUMOURS}
    four = (read_answers(rows[rows["label"].isin(TUMOURS)]).predicted < 3).mean()
    assert four < 1
