"""The serving benchmark runs at tiny size, and its sides do what they say."""

import pytest

from benchmarks.serving import decode_all, draw_heads, make_package, parse_options, run
from pipeline.serving.predictor import Predictor


def test_the_drawn_heads_are_answered_and_repeatable(tmp_path):
    heads = draw_heads(12)
    assert heads == draw_heads(12)
    predictor = Predictor.open(make_package(tmp_path, heads))
    answers = predictor.predict(heads)
    assert answers["error"].isna().sum() >= 11  # the farthest lies on the threshold
    assert decode_all(heads, 64).shape == (12, 64, 64)


def test_all_sides_but_http_are_timed_and_printed(capsys):
    sides = run(parse_options(["--requests", "2", "--batch", "3", "--no-http"]))
    printed = capsys.readouterr().out
    assert [side.name for side in sides][:2] == ["bare network, fp32", "Predictor"]
    assert all(len(side.single) == len(side.batches) == 2 for side in sides)
    assert all(f"| {side.name} |" in printed for side in sides)
    assert "images/s, 3 a request" in printed


@pytest.mark.slow
def test_the_server_is_started_asked_and_ended(capsys):
    sides = run(parse_options(["--requests", "1", "--batch", "2"]))
    assert sides[-1].name == "HTTP"
    assert len(sides[-1].single) == 1
    assert "| HTTP |" in capsys.readouterr().out
