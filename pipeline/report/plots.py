"""Plots of a report as inline SVG. Every number in them is a fact or a mark of an axis that never moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.pages.charts import Axis, draw, line, number, rect, text
from pipeline.pages.markup import Html, escape, join, tag
from pipeline.report.facts import Points
from pipeline.report.marks import Marker, tick
from pipeline.report.style import (
    AFTER,
    BEFORE,
    CLASS_COLOURS,
    CLASS_DASHES,
    OTHER_COLOUR,
    PROTOCOL_COLOURS,
)

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SIDE, LEFT, TOP, BOTTOM = 300.0, 58.0, 12.0, 40.0
BOARD = 1000.0


@dataclass(frozen=True)
class Plane:
    """A square between 0 and 1 both ways, upwards."""

    wide: float = SIDE
    tall: float = SIDE

    @property
    def across(self) -> Axis:
        """From a share to an x."""
        return Axis(LEFT, self.wide, 0.0, 1.0)

    @property
    def up(self) -> Axis:
        """From a share to a y."""
        return Axis(TOP + self.tall, -self.tall, 0.0, 1.0)

    def frame(self, below: str, beside: str, *, ticks: Sequence[float] = QUARTERS) -> list[Html]:
        """Grid, ticks and the words of both axes."""
        parts: list[Html] = []
        for share in ticks:
            x, y = self.across.place(share), self.up.place(share)
            parts += [rule((x, TOP), (x, TOP + self.tall)), rule((LEFT, y), (LEFT + self.wide, y))]
            parts.append(soft(x, TOP + self.tall + 15, tick(f"{share:g}"), anchor="middle"))
            parts.append(soft(LEFT - 6, y + 4, tick(f"{share:g}"), anchor="end"))
        middle = LEFT + self.wide / 2
        parts.append(soft(middle, TOP + self.tall + 33, below, anchor="middle"))
        turned = f"rotate(-90 11 {number(TOP + self.tall / 2)})"
        words = tag(
            "text",
            beside,
            x=11,
            y=number(TOP + self.tall / 2),
            class_="soft",
            transform=turned,
            text_anchor="middle",
        )
        return [*parts, words]

    def path(self, points: Points, stroke: str, *, dash: str = "", step: bool = False) -> Html:
        """A line through points of shares; a gap where one is not defined."""
        said, pen, last = "", "M", 0.0
        for x, y in points:
            if x is None or y is None:
                pen = "M"
                continue
            at, height = number(self.across.place(x)), self.up.place(y)
            said += f"L{at} {number(last)}" if step and pen == "L" else ""
            said += f"{pen}{at} {number(height)}"
            pen, last = "L", height
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        return Html(f'<path d="{said}" fill="none" stroke="{stroke}" stroke-width="1.8"{dashed}/>')

    def close(self, *parts: object, title: str) -> Html:
        """The SVG of all parts."""
        return draw(LEFT + self.wide + 14, TOP + self.tall + BOTTOM, *parts, title=title)


def diagonal() -> Html:
    """From the lower left to the upper right corner."""
    return line((LEFT, TOP + SIDE), (LEFT + SIDE, TOP), OTHER_COLOUR, "3 3")


def rule(start: tuple[float, float], end: tuple[float, float]) -> Html:
    """A line of the grid."""
    ends = zip(("x1", "y1", "x2", "y2"), (*start, *end), strict=True)
    said = " ".join(f'{key}="{number(value)}"' for key, value in ends)
    return Html(f'<line class="grid" {said} stroke="#ccc"/>')


def soft(x: float, y: float, words: object, *, anchor: str = "start") -> Html:
    """A quiet line of text."""
    said = f'class="soft" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"'
    return Html(f"<text {said}>{escape(words)}</text>")


def plot_roc(page: Marker, labels: Sequence[str]) -> Html:
    """One class against the rest, a line each."""
    plane = Plane()
    parts: list[Html] = plane.frame("share of the rest called so", "share of the class found")
    parts.append(diagonal())
    for label in labels:
        points = page.document.series[f"roc/{label}"]
        parts.append(plane.path(points, CLASS_COLOURS[label], dash=CLASS_DASHES[label]))
    return plane.close(*parts, title="ROC curves")


def plot_reliability(page: Marker) -> Html:
    """Share right against confidence in the bins that hold an image, before and after scaling."""
    plane = Plane()
    parts = plane.frame("confidence: probability of the answer", "share right")
    parts.append(diagonal())
    for state, colour, dash in (("before", BEFORE, "5 3"), ("after", AFTER, "")):
        bins = [row for row in page.document.series[f"reliability/{state}"] if row[1]]
        parts.append(plane.path([row[2:] for row in bins], colour, dash=dash))
        for _, images, confidence, right in bins:
            assert images is not None and confidence is not None and right is not None
            x, y = plane.across.place(confidence), plane.up.place(right)
            size = 2.5 + min(4.0, images**0.5 / 5)
            parts.append(
                Html(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(size)}" fill="{colour}"/>')
            )
    return plane.close(*parts, title="Reliability before and after temperature scaling")


def plot_risk(page: Marker) -> Html:
    """Share of wrong answers against the share of images answered, the surest first."""
    plane = Plane()
    parts = plane.frame("coverage: share of images answered", "risk: share of wrong answers")
    parts.append(plane.path(page.document.series["risk"], AFTER, step=True))
    return plane.close(*parts, title="Risk against coverage")


def plot_history(page: Marker) -> Html:
    """Losses, scaled by the highest, and macro-F1 on val by epoch."""
    plane = Plane(wide=460, tall=200)
    series = page.document.series
    last = max(float(row[0] or 1) for row in series["history/val_macro_f1"])
    highest = max(
        float(row[1] or 0) for name in ("train_loss", "val_loss") for row in series[f"history/{name}"]
    )
    parts: list[Html] = []
    for share in QUARTERS:
        y = plane.up.place(share)
        parts += [
            rule((LEFT, y), (LEFT + plane.wide, y)),
            soft(LEFT - 6, y + 4, tick(f"{share:g}"), anchor="end"),
        ]
    parts.append(soft(LEFT, TOP + plane.tall + 16, join(["epoch ", tick("1")])))
    end = join(["epoch ", page.draw("training/epochs")])
    parts.append(soft(LEFT + plane.wide, TOP + plane.tall + 16, end, anchor="end"))
    span = max(1.0, last - 1)
    for name, colour, dash, scale in (
        ("train_loss", "#8a959b", "4 3", highest),
        ("val_loss", AFTER, "", highest),
        ("val_macro_f1", BEFORE, "8 3 2 3", 1.0),
    ):
        points: Points = [
            [(float(x or 1) - 1) / span, None if y is None else y / scale]
            for x, y in series[f"history/{name}"]
        ]
        parts.append(plane.path(points, colour, dash=dash))
    return plane.close(*parts, title="Training curves")


def plot_optimism(page: Marker, recipes: Sequence[str], rows: Callable[[str], Sequence[str]]) -> Html:
    """Macro-F1 of each recipe under each protocol, with intervals; what the claim adds stands beside it.

    Args:
        page: gives facts `board/<recipe>/<protocol>/macro_f1`.
        recipes: from the top.
        rows: the protocols of a recipe, from the top.
    """
    left, right, step = 190.0, 280.0, 17.0
    axis = Axis(left, BOARD - left - right, 0.0, 1.0)
    height = sum(step * len(rows(recipe)) + 14 for recipe in recipes)
    parts: list[Html] = []
    for share in FIFTHS:
        parts += [rule((axis.place(share), 4), (axis.place(share), height))]
        parts.append(soft(axis.place(share), height + 15, tick(f"{share:g}"), anchor="middle"))
    end = axis.start + axis.length + 14
    parts.append(soft(end, height + 15, "optimism, with interval"))
    parts.append(
        soft(left + axis.length / 2, height + 33, "macro-F1 on test, with interval", anchor="middle")
    )
    y = 8.0
    for recipe in recipes:
        protocols = rows(recipe)
        parts.append(text(left - 12, y + step * len(protocols) / 2 + 5, recipe, anchor="end"))
        for protocol in protocols:
            parts += _plot_score(page, f"board/{recipe}/{protocol}", protocol, axis, y + step / 2)
            y += step
        y += 14
    return draw(BOARD, height + 40, *parts, title="Scores by protocol, and optimism")


def _plot_score(page: Marker, key: str, protocol: str, axis: Axis, y: float) -> list[Html]:
    colour = PROTOCOL_COLOURS.get(protocol, OTHER_COLOUR)
    facts = page.document.facts

    def place(end: str = "") -> float:
        return axis.place(float(facts[f"{key}/macro_f1{end}"].value or 0))

    parts = []
    if f"{key}/macro_f1/low" in page:
        parts.append(rect(place("/low"), y - 1.5, place("/high") - place("/low"), 3, colour))
    parts.append(Html(f'<circle cx="{number(place())}" cy="{number(y)}" r="5" fill="{colour}"/>'))
    if f"{key}/optimism" in page:
        said: list[object] = [page.draw(f"{key}/optimism")]
        if f"{key}/optimism/low" in page:
            said += [" [", page.draw(f"{key}/optimism/low"), ", ", page.draw(f"{key}/optimism/high"), "]"]
        parts.append(text(axis.start + axis.length + 14, y + 4, join([*said, f" as {protocol}"])))
    return parts
