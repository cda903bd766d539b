"""Sixth and seventh: how collections and classes look, and what can be told from that alone."""

import math
from collections.abc import Mapping
from itertools import groupby

from pipeline.audit.counts import ALL
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Facts, Shortcut
from pipeline.audit.plots import quantile_strips, score_bars
from pipeline.audit.sankey import colour_of
from pipeline.audit.shortcuts import TOGETHER
from pipeline.pages.gallery import Gallery
from pipeline.pages.markup import Html, count, details, join, percent, table, tag

STRIPS = (
    ("brightness", "Brightness", "mean grey level, 0 to 255", 25.0),
    ("contrast", "Contrast", "standard deviation of the grey levels", 25.0),
    ("border", "Border", "share of dark pixels in the outermost rows and columns", 1.0),
)
"""Field of `Look`, title, unit, and of what the axis ends at a multiple."""


def render_looks(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """Sizes, modes and JPEG tables as a table; brightness, contrast and border as strips."""
    colours = colour_of(evidence.names)
    figures = [_draw_strips(facts, colours, *strip) for strip in STRIPS]
    head = ("collection", "class", "sizes", "format and mode", "sum of the JPEG table", "images")
    rows = [
        (one.collection, one.label, _list(one.sizes), _list(one.modes), _list(one.jpeg), count(one.images))
        for one in facts.looks
    ]
    return join(
        [
            tag("h2", "Sizes, modes, brightness", id="looks"),
            tag(
                "p",
                "Line: 5 to 95 % of the images; bar: the middle half; tick: the median.",
                class_="small",
            ),
            tag("h3", STRIPS[0][1]),
            figures[0],
            *(details(strip[1], figure) for strip, figure in zip(STRIPS[1:], figures[1:], strict=True)),
            details("Sizes, modes and JPEG tables", table(head, rows, texts=5)),
        ]
    )


def _draw_strips(
    facts: Facts, colours: Mapping[str, str], name: str, title: str, unit: str, step: float
) -> Html:
    rows = [
        (f"{one.collection}, {one.label}", getattr(one, name), colours[one.collection]) for one in facts.looks
    ]
    most = max((max(quantiles) for _, quantiles, _ in rows), default=0.0)
    return quantile_strips(rows, high=step * max(1, math.ceil(most / step)), unit=f"{title}: {unit}")


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {value:,}" for name, value in counts.items())


def render_shortcuts(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """Bars for all collections together; the same within each collection, and recall of each class."""
    parts = [tag("h2", "Shortcuts: the class without the anatomy", id="shortcuts")]
    for scope, rows in groupby(facts.shortcuts, key=lambda one: one.scope):
        found = list(rows)
        figure = join([_draw(found), _tabulate(found)])
        if scope == ALL:
            parts += [tag("p", _say_shortcuts(found)), figure]
        else:
            parts.append(details(f"Within {scope}", figure))
    note = tag(
        "p",
        "A shallow decision tree on the named columns alone, cross-validated over groups: no picture and no "
        "known patient on both sides; one image for each collection and picture. Black line: worst to best "
        "fold. Blue tick: the highest of five controls with labels exchanged between groups. Red: the worst "
        "fold beats both chance and control, so a network can use it too.",
        class_="small",
    )
    return join([*parts, note])


def _say_shortcuts(found: list[Shortcut]) -> str:
    measured = {one.features: one for one in found if one.balanced_accuracy is not None}
    if not measured:
        return f"Not measured: {found[0].why_not}." if found else "Not measured."
    alone = [one for one in measured.values() if one.features != TOGETHER]
    best = max(alone, key=lambda one: (one.balanced_accuracy or 0.0, one.features))
    said = (
        f"{best.features[0].upper()}{best.features[1:]} alone predicts the class with a balanced accuracy of "
        f"{percent(best.balanced_accuracy or 0.0, 1)}, where guessing reaches {percent(best.chance, 1)}."
    )
    every = measured.get(TOGETHER)
    if every:
        reached = percent(every.balanced_accuracy or 0.0, 1)
        said += f" All of these together reach {reached}, without a look at any brain."
    return said


def _draw(found: list[Shortcut]) -> Html:
    rows = [
        (one.features, one.balanced_accuracy, one.low or 0.0, one.high or 0.0, one.permuted_high or 0.0)
        for one in found
        if one.balanced_accuracy is not None
    ]
    if not rows:
        return tag("p", f"Not measured: {found[0].why_not}.")
    same = [one.features for one in found if one.balanced_accuracy is None]
    told = tag("p", f"The same for every image, so it tells nothing: {', '.join(same)}.", class_="small")
    bars = _draw_bars(found, rows)
    return join([bars, told]) if same else bars


def _draw_bars(found: list[Shortcut], rows: list[tuple[str, float, float, float, float]]) -> Html:
    return score_bars(rows, chance=found[0].chance, title="Balanced accuracy of shortcuts")


def _tabulate(found: list[Shortcut]) -> Html:
    classes = found[0].classes
    rows = [
        (
            one.features, ", ".join(one.columns), count(one.images), count(one.groups),
            *(f"{value or 0:.3f}" for value in (one.balanced_accuracy, one.low, one.high, one.permuted)),
            *(f"{one.recall[label]:.2f}" for label in classes),
        )
        for one in found
        if one.balanced_accuracy is not None
    ]  # fmt: skip
    head = (
        "from", "columns", "images", "groups", "balanced accuracy", "worst fold", "best fold", "shuffled",
        *(f"recall {label}" for label in classes),
    )  # fmt: skip
    return details("The figures, with the recall of each class", table(head, rows, texts=2))
