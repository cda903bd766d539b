import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.metrics import METRICS, VARIANT_METRICS, resample_metrics, score_predictions
from pipeline.evaluation.predictions import Answers
from pipeline.labels import LABELS, TUMOURS
from pipeline.tables import from_arrow, to_arrow

Predict = Callable[..., pd.DataFrame]
NO_TUMOR = LABELS.index("no_tumor")
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Small tables with ties in the scores, absent classes and groups of any size."""
    images = draw(st.integers(1, 40))
    label = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    truth = draw(st.lists(st.sampled_from(label), min_size=images, max_size=images))
    marks = st.lists(st.integers(0, 5), min_size=4, max_size=4)
    scores = np.array(draw(st.lists(marks, min_size=images, max_size=images)), dtype=np.float64) + 0.1
    groups = draw(st.lists(st.integers(0, 7), min_size=images, max_size=images))
    shares = scores / scores.sum(axis=1, keepdims=True)
    return Answers(np.array(truth), shares, pd.factorize(np.array(groups))[0].astype(np.int64))


def score_plainly(truth: np.ndarray, scores: np.ndarray, present: np.ndarray) -> dict[tuple[str, str], float]:
    """The same metrics by scikit-learn, NaN where it has none; `present`: classes that means run over."""
    called = scores.argmax(axis=1)
    here = np.flatnonzero(present)
    options = {"labels": range(4), "average": None, "zero_division": np.nan}
    precision = reference.precision_score(truth, called, **options)
    recall = reference.recall_score(truth, called, **options)
    f1 = reference.f1_score(truth, called, **options)
    occurs = np.bincount(truth, minlength=4) > 0
    precision, recall, f1 = (np.where(occurs, values, np.nan) for values in (precision, recall, f1))
    area = [
        reference.roc_auc_score(truth == label, scores[:, label])
        if 0 < (truth == label).mean() < 1
        else np.nan
        for label in range(4)
    ]
    tumour = truth != NO_TUMOR
    found = {
        ("accuracy", "all"): reference.accuracy_score(truth, called),
        ("balanced_accuracy", "all"): np.mean(recall[here]),
        ("macro_f1", "all"): np.mean(f1[here]),
        ("roc_auc", "all"): np.mean(np.array(area)[here]),
        ("miss_rate", "all"): np.mean(called[tumour] == NO_TUMOR) if tumour.any() else np.nan,
    }
    for index, label in enumerate(LABELS):
        found["precision", label], found["recall", label] = precision[index], recall[index]
        found["f1", label], found["roc_auc", label] = f1[index], area[index]
        if label in TUMOURS:
            own = truth == index
            found["miss_rate", label] = np.mean(called[own] == NO_TUMOR) if own.any() else np.nan
    return found


def assert_same(found: dict[tuple[str, str], float], expected: dict[tuple[str, str], float]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@settings(deadline=None, max_examples=60)
@given(answers())
def test_values_equal_scikit_learn(sample: Answers) -> None:
    found = resample_metrics(sample, draws=1, seed=0)
    values = {name: value for name, (value, _) in found.items()}
    assert_same(values, score_plainly(sample.truth, sample.scores, sample.present))


@settings(deadline=None, max_examples=60)
@given(answers())
def test_means_over_classes_equal_scikit_learns_own(sample: Answers) -> None:
    found = resample_metrics(sample, draws=1, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "y_pred contains classes not in y_true"
        balanced = reference.balanced_accuracy_score(sample.truth, sample.predicted)
    here = np.flatnonzero(sample.present)
    macro = reference.f1_score(sample.truth, sample.predicted, labels=here, average="macro", zero_division=0)
    assert found["balanced_accuracy", "all"][0] == pytest.approx(balanced)
    assert found["macro_f1", "all"][0] == pytest.approx(macro)


@settings(deadline=None, max_examples=25)
@given(answers(), st.integers(0, 1000))
def test_draws_equal_a_plain_loop_over_resampled_images(sample: Answers, seed: int) -> None:
    found = resample_metrics(sample, draws=6, seed=seed)
    weights = np.concatenate(list(draw_weights(sample.group_count, 6, seed)))
    for draw, row in enumerate(weights):
        picked = np.repeat(np.arange(sample.size), row[sample.groups].astype(int))
        expected = score_plainly(sample.truth[picked], sample.scores[picked], sample.present)
        assert_same({name: draws[draw] for name, (_, draws) in found.items()}, expected)


@settings(deadline=None, max_examples=60)
@given(answers())
def test_draws_stay_between_zero_and_one(sample: Answers) -> None:
    for _, draws in resample_metrics(sample, draws=20, seed=1).values():
        defined = draws[~np.isnan(draws)]
        assert ((defined >= 0) & (defined <= 1)).all()


def test_a_table_worked_out_by_hand(small: pd.DataFrame) -> None:
    metrics = score_predictions(small, draws=50)
    found = metrics.set_index(["metric", "class"])["value"].to_dict()
    third = 1 / 3
    assert found == {
        ("accuracy", "all"): pytest.approx(6 / 9),
        ("balanced_accuracy", "all"): pytest.approx(17 / 24),
        ("macro_f1", "all"): pytest.approx(17 / 24),
        ("miss_rate", "all"): pytest.approx(1 / 6),
        ("miss_rate", "glioma"): pytest.approx(third),
        ("miss_rate", "meningioma"): 0.0,
        ("miss_rate", "pituitary"): 0.0,
        **{(name, "glioma"): pytest.approx(2 * third) for name in ("precision", "recall", "f1")},
        **{(name, "meningioma"): pytest.approx(0.5) for name in ("precision", "recall", "f1")},
        **{(name, "pituitary"): pytest.approx(1.0) for name in ("precision", "recall", "f1")},
        **{(name, "no_tumor"): pytest.approx(2 * third) for name in ("precision", "recall", "f1")},
        ("roc_auc", "glioma"): 0.75,
        ("roc_auc", "meningioma"): pytest.approx((6.5 + 3) / 14),
        ("roc_auc", "pituitary"): 1.0,
        ("roc_auc", "no_tumor"): 0.75,
        ("roc_auc", "all"): pytest.approx((0.75 + 9.5 / 14 + 1 + 0.75) / 4),
    }
    assert set(metrics["n"]) == {9}
    assert set(metrics["groups"]) == {6}


def test_figures_that_must_not_drift(predictions: pd.DataFrame) -> None:
    metrics = score_predictions(predictions, draws=500, seed=0).set_index(["metric", "class"])
    assert len(GOLDEN) == 10
    for name, expected in GOLDEN.items():
        row = metrics.loc[name]
        assert (row["value"], row["low"], row["high"]) == pytest.approx(expected, abs=1e-9), name


def test_neither_row_order_nor_group_names_nor_company_matter(
    predictions: pd.DataFrame, dream: Predict
) -> None:
    expected = score_predictions(predictions, draws=200)
    shuffled = predictions.sample(frac=1, random_state=1)
    names = {
        name: f"{hash_like:08d}" for hash_like, name in enumerate(sorted(set(shuffled["group_id"]))[::-1])
    }
    renamed = shuffled.assign(group_id=shuffled["group_id"].map(names))
    pd.testing.assert_frame_equal(score_predictions(renamed, draws=200), expected)
    beside = score_predictions(pd.concat([dream(recipe="other", draw=4), shuffled]), draws=200)
    own = beside[beside["recipe"] == "demo_careful"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, expected)


def test_the_seed_moves_intervals_and_nothing_else(predictions: pd.DataFrame) -> None:
    one, other = (score_predictions(predictions, draws=200, seed=seed) for seed in (0, 1))
    assert (one["value"] == other["value"]).all()
    assert (one["low"] != other["low"]).any()


def test_protocols_are_drawn_independently(dream: Predict) -> None:
    one, other = (score_predictions(dream(protocol=name), draws=200) for name in ("patient", "published"))
    assert (one["value"] == other["value"]).all()
    assert (one["low"] != other["low"]).any()


def test_the_clean_variant_gets_all_metrics_and_a_degraded_one_four(predictions: pd.DataFrame) -> None:
    both = pd.concat([predictions, predictions.assign(variant="downsampling:3")])
    metrics = score_predictions(both, draws=100)
    clean, degraded = (metrics[metrics["variant"] == name] for name in ("clean", "downsampling:3"))
    assert set(clean["metric"]) == set(METRICS)
    assert len(clean) == 3 + 4 + 3 * 4 + 5
    assert set(degraded["metric"]) == set(VARIANT_METRICS)
    assert set(degraded["class"]) == {"all"}
    # The same answers under the same draws: variants are compared pair by pair.
    shared = clean.merge(degraded, on=["metric", "class"])
    assert (shared["low_x"] == shared["low_y"]).all()


def test_intervals_hold_their_value(predictions: pd.DataFrame) -> None:
    metrics = score_predictions(predictions, draws=500)
    assert (metrics["low"] <= metrics["value"]).all()
    assert (metrics["value"] <= metrics["high"]).all()


def test_the_table_can_be_stored_and_read_back(small: pd.DataFrame) -> None:
    metrics = score_predictions(small.iloc[:5], draws=100)
    stored = from_arrow("metrics", to_arrow("metrics", metrics))
    pd.testing.assert_frame_equal(stored, metrics, check_dtype=False)


def test_what_is_undefined_is_null_never_zero(small: pd.DataFrame) -> None:
    metrics = score_predictions(small.iloc[:5], draws=100).set_index(["metric", "class"])
    for metric in ("precision", "recall", "f1", "roc_auc"):
        for label in ("pituitary", "no_tumor"):
            assert metrics.loc[(metric, label), ["value", "low", "high"]].isna().all()
    assert metrics.loc[("miss_rate", "pituitary"), ["value", "low", "high"]].isna().all()
    # Means run over the two classes with an image: glioma 2/3 found, meningioma 1/2.
    assert metrics.loc[("balanced_accuracy", "all"), "value"] == pytest.approx(7 / 12)


def test_a_class_never_called_has_no_precision_but_a_recall_of_zero(make: Predict) -> None:
    scores = [[0.9, 0.1, 0, 0]] * 4
    metrics = score_predictions(make([0, 0, 1, 1], scores, "abcd"), draws=50).set_index(["metric", "class"])
    assert pd.isna(metrics.loc[("precision", "meningioma"), "value"])
    assert metrics.loc[("recall", "meningioma"), "value"] == 0
    assert metrics.loc[("f1", "meningioma"), "value"] == 0


def test_one_group_gives_values_without_intervals(small: pd.DataFrame) -> None:
    metrics = score_predictions(small.assign(group_id="one"), draws=100)
    assert metrics["value"].notna().all()
    assert metrics["low"].isna().all()
    assert metrics["high"].isna().all()


def test_a_class_with_one_group_has_no_interval(dream: Predict) -> None:
    frame = dream(images=120, groups=40)
    alone = frame["group_id"].where(frame["label"] != "glioma", "one")
    metrics = score_predictions(frame.assign(group_id=alone), draws=500).set_index(["metric", "class"])
    assert metrics.loc[("recall", "glioma"), ["low", "high"]].isna().all()
    assert metrics.loc[("macro_f1", "all"), ["low", "high"]].isna().all()
    assert metrics.loc[("accuracy", "all"), ["low", "high"]].notna().all()


def test_two_thousand_draws_of_two_thousand_images_take_seconds_at_most(dream: Predict) -> None:
    frame = dream(images=2000, groups=600)
    begin = time.process_time()
    score_predictions(frame, draws=2000)
    assert time.process_time() - begin < 5


def test_every_metric_is_documented_and_nothing_else(predictions: pd.DataFrame) -> None:
    headings = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("## `")]
    documented = [line.removeprefix("## `").removesuffix("`") for line in headings]
    emitted = set(score_predictions(predictions, draws=10)["metric"])
    assert documented == list(METRICS)
    assert set(documented) == emitted


def test_the_document_says_what_the_code_says() -> None:
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split()).lower()
    for name, definition in METRICS.items():
        assert definition.lower() in text, name


GOLDEN = {
    ("accuracy", "all"): (0.8625000000, 0.8111243160, 0.9141153098),
    ("balanced_accuracy", "all"): (0.8556278281, 0.8001451319, 0.9069207124),
    ("macro_f1", "all"): (0.8524202359, 0.7851835568, 0.9057246808),
    ("miss_rate", "all"): (0.0416666667, 0.0142325228, 0.0726256983),
    ("miss_rate", "glioma"): (0.0588235294, 0.0000000000, 0.1240865385),
    ("precision", "meningioma"): (0.7173913043, 0.4765489130, 0.8931064073),
    ("recall", "pituitary"): (0.8974358974, 0.7921845276, 0.9768917112),
    ("f1", "no_tumor"): (0.8873239437, 0.7979611650, 0.9480381944),
    ("roc_auc", "glioma"): (0.9831932773, 0.9633295366, 0.9963431201),
    ("roc_auc", "all"): (0.9805686820, 0.9647784923, 0.9929852842),
}
