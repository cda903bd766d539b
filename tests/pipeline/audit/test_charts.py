"""Figures and markup: well-formed, honest at the edges, to scale."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.facts import Bin, Flow
from pipeline.audit.plots import quantile_strips, score_bars, score_histogram
from pipeline.audit.sankey import SHARED, draw_flow
from pipeline.pages.charts import Axis, number, stacked_bars
from pipeline.pages.markup import Html, details, escape, few, join, percent, table, tag

SVG = "{http://www.w3.org/2000/svg}"


def read(figure):
    return ET.fromstring(str(figure))


@given(st.text())
def test_text_cannot_become_markup(text):
    assert (
        re.sub(r"&(amp|lt|gt|quot|#x27);", "", escape(text)).translate({ord(c): None for c in "&<>\"'"})
        == re.sub(r"[&<>\"']", "", text)
        or "&" in text
    )
    assert not set("<>\"'") & set(escape(text))


def test_html_is_not_escaped_twice():
    assert tag("p", tag("b", "a & b"), "<") == "<p><b>a &amp; b</b>&lt;</p>"
    assert join([None, Html("<br>"), 3]) == "<br>3"
    assert tag("a", "x", href='"', class_=None) == '<a href="&quot;">x</a>'


@pytest.mark.parametrize(
    ("value", "total", "said"),
    [
        (0, 0, "–"),
        (0, 9, "0.0 %"),
        (9, 9, "100.0 %"),
        (99999, 100000, "> 99.9 %"),
        (1, 100000, "< 0.1 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_percent_never_rounds_to_all_or_none(value, total, said):
    assert percent(value, total) == said


def test_shortened_lists_say_so():
    assert few(1, 5, "pair") == "1 pair"
    assert few(2, 5, "pair") == "all 2 pairs"
    assert few(1234, 5, "pair") == "5 of 1,234 pairs"


def test_table_and_details_are_well_formed():
    made = table(("a", "b"), [("x", 1), ("<", 2)])
    assert [cell.get("class") for cell in ET.fromstring(made).iter("td")] == [None, "n", None, "n"]
    ET.fromstring(details("more", made))


@pytest.mark.parametrize(
    ("value", "said"), [(-0.0, "0"), (1.005, "1"), (12345.6, "12346"), (0.1 + 0.2, "0.3")]
)
def test_coordinates_are_short(value, said):
    assert number(value) == said


def test_axis_places_ends():
    axis = Axis(10.0, 100.0, 2.0, 4.0)
    assert (axis.place(2), axis.place(3), axis.place(4)) == (10, 60, 110)


def test_stacked_bars_are_to_scale():
    colours = {"a": "#000000", "b": "#ffffff"}
    figure = read(
        stacked_bars([("x", {"a": 1, "b": 3}, "end"), ("none", {"a": 0, "b": 0}, "")], colours, title="t")
    )
    wide = [float(one.get("width")) for one in figure.iter(f"{SVG}rect")]
    assert wide[1] == pytest.approx(3 * wide[0], abs=0.05)
    assert wide[2:] == [0, 0]
    hints = [one.text for one in figure.iter(f"{SVG}title")]
    assert hints[:2] == ["t", "a: 1 (25.0 %)"]


def test_histogram_shows_single_pairs_beside_thousands():
    bins = [Bin(low=k / 10, high=(k + 1) / 10, copy=0, review=0, rejected=0) for k in range(8)]
    bins += [
        Bin(low=0.8, high=0.9, copy=0, review=1, rejected=0),
        Bin(low=0.9, high=1.0, copy=9000, review=0, rejected=0),
    ]
    figure = read(score_histogram(bins, {"weakest copy": 0.95, "none": None}))
    high = [float(one.get("height")) for one in figure.iter(f"{SVG}rect")]
    assert len(high) == 2
    assert high[0] > 10
    words = " ".join(one.text or "" for one in figure.iter(f"{SVG}text"))
    assert "weakest copy 0.950" in words
    assert "none" not in words


def test_strips_and_bars_are_well_formed():
    strips = read(quantile_strips([("a & b", [0, 10, 20, 30, 40], "#123456")], high=50, unit="grey"))
    assert any(one.text == "a & b" for one in strips.iter(f"{SVG}text"))
    bars = read(score_bars([("x", 0.6, 0.5, 0.7, 0.3), ("y", 0.3, 0.2, 0.4, 0.3)], chance=0.25, title="t"))
    fills = [one.get("fill") for one in bars.iter(f"{SVG}rect") if one.get("height") == "14"]
    assert fills == ["#c2452d", "#8a959b"]  # only where the worst fold beats chance and control


def test_flow_is_to_scale_and_complete():
    flow = [
        Flow(collection=name, files=files, set_aside=0, members=files, images=files, pictures=files // 2,
             pictures_elsewhere=files // 4, with_patient=0, patients=0, pictures_unknown=files // 2)
        for name, files in (("a", 100), ("b", 300), ("all", 400))
    ]  # fmt: skip
    figure = draw_flow(flow, {"a": (50, 50), "b": (150, 150)}, {SHARED: (0, 50), "a": (0, 25), "b": (0, 125)})
    nodes = [float(one.get("height")) for one in read(figure).iter(f"{SVG}rect")]
    assert nodes[3] == pytest.approx(3 * nodes[0], abs=0.05)
    words = [one.text for one in read(figure).iter(f"{SVG}text")]
    for said in ("400 files", "a", "b", "50 in several", "25 only here", "unknown patients"):
        assert said in words
