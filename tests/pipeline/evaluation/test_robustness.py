"""Robustness against plain counts over rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score
from test_calibration import count_ece

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.calibration import soften
from pipeline.evaluation.metrics import protocol_seed
from pipeline.evaluation.predictions import Answers, read_answers
from pipeline.evaluation.robustness import ROBUSTNESS, measure_robustness, tell_robustness
from pipeline.labels import LABELS
from pipeline.tables import from_arrow, to_arrow

Predict = Callable[..., pd.DataFrame]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"
KINDS = ("gaussian_blur", "jpeg")


def values(robustness: pd.DataFrame) -> "pd.Series[float]":
    return robustness.set_index(["metric", "degradation", "class"])["value"]


def open_variant(frame: pd.DataFrame, variant: str) -> Answers:
    return read_answers(frame[frame["variant"] == variant])


def test_every_value_is_that_of_a_plain_count(degrade):
    frame, reference = degrade(), degrade("cnn3", skill=2.0, draw=0)
    found = values(measure_robustness(frame, 1.7, reference, draws=10))
    clean = open_variant(frame, "clean")
    before = recall_score(clean.truth, clean.predicted, average=None)
    errors = []
    for kind in KINDS:
        steps = [open_variant(frame, f"{kind}:{step}") for step in range(1, 6)]
        others = [open_variant(reference, f"{kind}:{step}") for step in range(1, 6)]
        right = [(one.predicted == one.truth).mean() for one in steps]
        assert found["mean_accuracy", kind, "all"] == pytest.approx(np.mean(right))
        assert found["worst_accuracy", kind, "all"] == pytest.approx(min(right))
        recalls = [recall_score(one.truth, one.predicted, average=None) for one in steps]
        for code, label in enumerate(LABELS):
            drop = before[code] - np.mean([one[code] for one in recalls])
            assert found["recall_drop", kind, label] == pytest.approx(drop)
        for state, heat in (("before", 1.0), ("after", 1.7)):
            gaps = [count_ece(one.truth, soften(one.scores, heat)) for one in steps]
            assert found[f"ece_{state}", kind, "all"] == pytest.approx(np.mean(gaps))
        wrong = [sum((one.predicted != one.truth).sum() for one in side) for side in (steps, others)]
        errors.append(wrong[0] / wrong[1])
        assert found["corruption_error", kind, "all"] == pytest.approx(errors[-1])
    assert found["corruption_error", "all", "all"] == pytest.approx(np.mean(errors))
    whole = found["worst_accuracy"].drop(("all", "all"))
    assert found["worst_accuracy", "all", "all"] == whole.min()


def test_intervals_are_those_of_resampled_rows(degrade):
    frame, reference = degrade(), degrade("cnn3", skill=2.0)
    found = measure_robustness(frame, 1.0, reference, draws=40, seed=2)
    rows = [row for block in draw_weights(60, 40, protocol_seed(2, "patient")) for row in block]
    drawn = []
    for row in rows:
        errors = []
        for kind in KINDS:
            wrong = [
                sum(
                    row[one.groups] @ (one.predicted != one.truth)
                    for one in (open_variant(side, f"{kind}:{step}") for step in range(1, 6))
                )
                for side in (frame, reference)
            ]
            errors.append(wrong[0] / wrong[1])
        drawn.append(np.mean(errors))
    one = found[(found["metric"] == "corruption_error") & (found["degradation"] == "all")].iloc[0]
    assert (one["low"], one["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_the_reference_has_a_corruption_error_of_one(degrade):
    frame = degrade("cnn3")
    found = measure_robustness(frame, 1.0, frame, draws=20)
    errors = found[found["metric"] == "corruption_error"]
    assert (errors[["value", "low", "high"]] == 1).all(axis=None)
    assert len(errors) == 3


def test_without_a_reference_on_the_same_images_there_is_no_corruption_error(degrade):
    frame, reference = degrade(), degrade("cnn3")
    fewer = reference[reference["path"] != reference["path"].iloc[0]]
    milder = reference[reference["variant"] != "jpeg:5"]
    for other in (None, fewer, milder):
        found = measure_robustness(frame, 1.0, other, draws=10)
        assert "corruption_error" not in set(found["metric"])
        [line] = tell_robustness(found)
        assert line.endswith("no mCE: `cnn3` has not answered these")
    further = pd.concat([reference, reference.assign(variant="gamma:1")]).drop_duplicates(["path", "variant"])
    assert "corruption_error" in set(measure_robustness(frame, 1.0, further, draws=10)["metric"])


def test_the_table_is_as_declared_and_the_order_of_rows_counts_for_nothing(degrade):
    frame = degrade()
    found = measure_robustness(frame, 1.0, frame, draws=10)
    assert from_arrow("robustness", to_arrow("robustness", found)).equals(found)
    assert measure_robustness(frame[::-1], 1.0, frame.sample(frac=1, random_state=0), draws=10).equals(found)
    assert set(found["metric"]) == set(ROBUSTNESS)
    assert set(found["degradation"]) == {"all", *KINDS}


def test_the_sentence_names_the_worst_degradation_and_the_class_that_breaks_first(degrade):
    frame = degrade()
    blurred = frame["variant"].str.startswith("gaussian_blur") & (frame["label"] == "pituitary")
    frame.loc[blurred, [f"p_{label}" for label in LABELS]] = [0.0, 0.0, 0.0, 1.0]
    found = measure_robustness(frame, 1.0, degrade("cnn3"), draws=10)
    [line] = tell_robustness(found)
    seen = values(found)
    assert f"{seen['worst_accuracy', 'all', 'all']:.3f} under gaussian_blur at its worst" in line
    assert f"pituitary breaks first, recall down by {seen['recall_drop', 'all', 'pituitary']:.3f}" in line
    assert f"mCE {seen['corruption_error', 'all', 'all']:.3f}" in line


def test_clean_answers_alone_are_refused(predictions):
    with pytest.raises(TableError, match=r"needs clean and degraded rows, it has \['clean'\]"):
        measure_robustness(predictions, 1.0, draws=10)


def test_a_variant_that_lacks_an_image_is_refused(degrade):
    frame = degrade()
    missing = (frame["variant"] == "jpeg:3") & (frame["path"] == frame["path"].iloc[0])
    with pytest.raises(TableError, match=r"answered 239 images of jpeg:3 and 240 of .*, not the same"):
        measure_robustness(frame[~missing], 1.0, draws=10)


def test_where_fewer_images_are_degraded_those_count(degrade):
    frame, judge = degrade(), degrade("cnn3")
    some = set(sorted(frame["path"].unique())[::3])
    limited = frame[(frame["variant"] == "clean") | frame["path"].isin(some)]
    found = measure_robustness(limited, 1.0, judge[judge["path"].isin(some)], draws=10)
    whole = measure_robustness(
        frame[frame["path"].isin(some)], 1.0, judge[judge["path"].isin(some)], draws=10
    )
    pd.testing.assert_frame_equal(found, whole)
    other = measure_robustness(limited, 1.0, judge, draws=10)
    assert "corruption_error" not in set(other["metric"]), "the reference answered other images"


def test_an_image_that_was_never_answered_clean_is_refused(degrade):
    frame = degrade()
    missing = (frame["variant"] == "clean") & (frame["path"] == frame["path"].iloc[0])
    with pytest.raises(TableError, match=r"answered 239 images of clean and 240 of .*, not the same"):
        measure_robustness(frame[~missing], 1.0, draws=10)


def test_every_figure_is_documented_and_nothing_else():
    part = DOCUMENT.read_text(encoding="utf-8").split("## Poorer images", 1)[1]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == list(ROBUSTNESS)
    for line, meaning in zip(rows, ROBUSTNESS.values(), strict=True):
        assert meaning in line
