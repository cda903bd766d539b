"""Facts: printed as declared, one key a fact, undefined is said, and the JSON gives the document back."""

import json

import numpy as np
import pytest

from pipeline.errors import ReportError
from pipeline.report.facts import (
    MAX_POINTS,
    Tally,
    dump_document,
    find_first,
    print_value,
    read_document,
)


@pytest.mark.parametrize(
    ("value", "form", "printed"),
    [
        (0.12349, ".3f", "0.123"),
        (-0.00004, "+z.3f", "+0.000"),
        (12740, ",", "12,740"),
        (None, ".3f", "–"),
        (0.99999, "%", "> 99.9 %"),
        ("passed", "text", "passed"),
    ],
)
def test_a_value_is_printed_under_its_form(value, form, printed):
    assert print_value(value, form) == printed


def test_numbers_of_numpy_become_plain_and_nan_becomes_null():
    tally = Tally()
    tally.count("n", np.int64(1234), "t", "h")
    tally.number("x", np.float64("nan"), "t", "h")
    tally.share("s", 1, 0, "t", "h")
    assert [tally.facts[key].value for key in "nxs"] == [1234, None, None]
    assert [tally.facts[key].printed for key in "nxs"] == ["1,234", "–", "–"]


def test_a_figure_without_interval_has_one_fact():
    tally = Tally()
    tally.figure("a", {"value": 0.5, "low": 0.25, "high": 0.75}, "t", "h")
    tally.figure("b", {"value": 0.5, "low": float("nan"), "high": float("nan")}, "t", "h")
    assert list(tally.facts) == ["a", "a/low", "a/high", "b"]
    document = tally.close("model", "m", code="c", tables={})
    assert (document.figure("a"), document.figure("b")) == ("0.500 [0.250, 0.750]", "0.500")


def test_a_key_is_given_once():
    tally = Tally()
    tally.count("n", 1, "t", "h")
    tally.count("n", 1, "t", "h")
    with pytest.raises(ValueError, match="two facts have the key 'n'"):
        tally.count("n", 2, "t", "h")


def test_long_curves_are_thinned_and_keep_their_ends():
    tally = Tally()
    tally.curve("c", np.arange(1000.0), np.r_[np.nan, np.arange(999.0)])
    points = tally.series["c"]
    assert len(points) == MAX_POINTS
    assert (points[0], points[-1]) == ([0.0, None], [999.0, 998.0])


def test_the_class_that_breaks_first_has_the_largest_drop():
    drops = {"glioma": 0.1, "meningioma": float("nan"), "pituitary": 0.3}
    assert find_first({("recall_drop", name): {"value": drop} for name, drop in drops.items()}) == "pituitary"


def test_the_json_gives_the_document_back(model):
    text = dump_document(model)
    assert read_document(text, "here") == model
    assert dump_document(read_document(text, "here")) == text


def test_json_that_is_no_document_says_what_to_do(model):
    for text in ("{", json.dumps({**json.loads(dump_document(model)), "more": 1})):
        with pytest.raises(ReportError, match=r"slim64.json holds no facts .* again: make report"):
            read_document(text, "slim64.json")


def test_every_fact_says_where_it_comes_from(model, release):
    for document in (model, release):
        assert all(fact.source and fact.how for fact in document.facts.values())
        assert len(document.facts) > 100
