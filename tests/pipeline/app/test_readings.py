"""Answers in words: sets, refusals, disagreement; and a reading of the shades model."""

import pytest
from shades import draw_shade, make_package

from pipeline.app.readings import (
    explain_refusal,
    read_image,
    tabulate_readings,
    tell_disagreement,
    tell_set,
)
from pipeline.labels import LABELS
from pipeline.schemas import QUARANTINE_REASONS
from pipeline.serving.inputs import REFUSALS
from pipeline.serving.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shades")
    make_package(folder)
    return Predictor.open(folder / "package")


@pytest.mark.parametrize("label", LABELS)
def test_a_reading_is_the_models_answer(predictor, label):
    reading = read_image(predictor, draw_shade(label))
    assert (reading.label, reading.error, reading.kept) == (label, None, None)
    assert list(reading.probabilities) == list(LABELS)
    assert sum(reading.probabilities.values()) == pytest.approx(1)


def test_a_reading_is_the_models_refusal(predictor):
    reading = read_image(predictor, b"no picture")
    assert reading.probabilities == {}
    assert reading.error.startswith("not_an_image: ")


@pytest.mark.parametrize("word", [*REFUSALS, "corrupt", "empty", "truncated"])
def test_each_refusal_is_explained(word):
    refusal = explain_refusal(f"{word}: what was found: here")
    assert refusal.meaning == (REFUSALS | QUARANTINE_REASONS)[word]
    assert (refusal.word, refusal.detail) == (word, "what was found: here")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (("glioma",), "90 % set holds glioma alone"),
        (("glioma", "no_tumor"), "holds glioma and no tumour: the model cannot tell them apart"),
        ((), "90 % set is empty"),
        (LABELS, "rules nothing out"),
        (None, "no conformal sets"),
    ],
)
def test_a_set_in_words(make_reading, kept, words):
    assert words in tell_set(make_reading(0.7, 0.1, 0.1, 0.1, kept=kept))


def test_models_that_agree_need_no_word(make_reading):
    first, second = make_reading(0.7, 0.1, 0.1, 0.1), make_reading(0.9, 0.1, 0, 0)
    assert tell_disagreement({"a": first, "b": second}) is None
    assert tell_disagreement({"a": first}) is None


def test_models_that_differ_are_named(make_reading):
    readings = {
        "a": make_reading(0.7, 0.1, 0.1, 0.1),
        "b": make_reading(0.1, 0.1, 0.1, 0.7),
        "c": make_reading(error="far: 2 from it"),
    }
    assert tell_disagreement(readings) == "The models disagree. glioma: a; no tumour: b; refuse it: c."


def test_rows_say_label_or_refusal(make_reading):
    rows = tabulate_readings(
        [("x.png", {"a": make_reading(0.7, 0.1, 0.1, 0.1), "b": make_reading(error="foreign: a CT")})]
    )
    assert rows == [{"file": "x.png", "a": "glioma 0.70", "b": "refused: foreign"}]
