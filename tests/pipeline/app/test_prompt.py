"""What a language model is told: every figure, every limit, no file name; only the end of a long talk."""

from pipeline.app.exposure import Exposure
from pipeline.app.prompt import SEEN, Case, Turn, keep_recent, write_instructions
from pipeline.app.scores import Figure, Score

SCORE = Score("patient", Figure(0.8, 0.7, 0.9), 199, 44, {"published": Figure(0.15, 0.1, 0.2)}, None)


def test_the_instructions_hold_figures_and_limits(make_reading):
    reading = make_reading(0.712, 0.1, 0.1, 0.088)
    text = write_instructions({"cnn3 · patient": Case(reading, SCORE, Exposure("unseen", "…"))})
    for words in ("glioma 0.712", "0.800 [0.700, 0.900]", "+0.150", "90 % set holds glioma alone", "Gate"):
        assert words in text
    assert all(limit in text for limit in reading.card.limits)
    assert reading.card.disclaimer in text
    assert "no diagnosis" in text.lower()


def test_no_file_name_is_told(make_reading):
    exposure = Exposure("train", "This very picture was in the training data: one/secret.jpg", "id")
    text = write_instructions({"a": Case(make_reading(1, 0, 0, 0), None, exposure)})
    assert "secret" not in text
    assert SEEN["train"] in text


def test_refusals_and_disagreement_are_told_without_bytes(make_reading):
    refused = make_reading(error="not_an_image: starts with b'PATIENT'")
    cases = {"a": Case(make_reading(1, 0, 0, 0), None, None), "b": Case(refused, None, None)}
    text = write_instructions(cases)
    assert "It refuses this slice: not_an_image (no image format that Falx reads)" in text
    assert "PATIENT" not in text
    assert "The models disagree" in text


def test_a_long_conversation_keeps_its_end_from_a_question_on():
    turns = [Turn("user" if number % 2 == 0 else "model", str(number)) for number in range(31)]
    kept = keep_recent(turns, most=6)
    assert (kept[0].role, kept[0].text, kept[-1].text) == ("user", "26", "30")
