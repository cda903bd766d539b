"""The timeline: a row and a mark a week, the same bytes each time."""

import math

import pytest

from pipeline.evaluation.canvas import png
from pipeline.release.timeline import LOOKS, Week, render_weeks, timeline_figure

NAN = math.nan
WEEKS = [
    Week(1, "a arrives", "promoted", 10, "m1", 0.7, 0.6, 0.8, "m1", 0.7, 1, "keeps | all"),
    Week(2, "nothing", "nothing to do", 10, "", NAN, NAN, NAN, "m1", 0.7, 1, "unchanged"),
    Week(3, "a bad one", "refused", 12, "m2", 0.4, NAN, NAN, "m1", 0.7, 2, "worse"),
]


def test_each_week_is_a_row():
    text = render_weeks(WEEKS)
    assert text.count("\n") == 1 + len(WEEKS)
    assert "0.700 [0.600, 0.800]" in text
    assert "keeps \\| all" in text


def test_the_figure_names_every_week_and_outcome_and_is_the_same_each_time():
    figure = timeline_figure(WEEKS)
    (axes,) = figure.axes
    words = " ".join(text.get_text() for text in [*axes.texts, *axes.get_xticklabels()])
    assert all(word in words for word in ("week 3", "a bad one", "promoted", "refused", "nothing to do"))
    assert png(figure) == png(timeline_figure(WEEKS))
    assert {week.outcome for week in WEEKS} <= set(LOOKS)


def test_no_week_is_no_figure():
    with pytest.raises(ValueError, match="at least one week"):
        timeline_figure([])
