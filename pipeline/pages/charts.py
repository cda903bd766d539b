"""Figures as inline SVG: the strokes, a legend, stacked bars. Words stay words: found, read aloud, copied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.pages.markup import Html, escape, tag
from pipeline.pages.style import FAINT, INK

WIDTH = 1030
BAR = 26

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """From values to places along a line that starts at `start` and is `length` long."""

    start: float
    length: float
    low: float
    high: float

    def place(self, value: float) -> float:
        """Where a value lies."""
        return self.start + self.length * (value - self.low) / (self.high - self.low)


def draw(width: float, height: float, *parts: object, title: str) -> Html:
    """An SVG of this size with a title for screen readers."""
    return tag(
        "svg",
        tag("title", title),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=number(width),
        height=number(height),
        role="img",
    )


def number(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, never −0."""
    return f"{round(value, 2) + 0.0:g}" if abs(value) < 1e4 else f"{value:.0f}"


def rect(x: float, y: float, width: float, height: float, fill: str, hint: str = "") -> Html:
    """A filled rectangle, with a hint that shows under the pointer."""
    numbers = {"x": x, "y": y, "width": max(0.0, width), "height": max(0.0, height)}
    said = " ".join(f'{key}="{number(value)}"' for key, value in numbers.items())
    return Html(f'<rect {said} fill="{fill}">{tag("title", hint) if hint else ""}</rect>')


def text(
    x: float, y: float, words: object, *, fill: str = INK, anchor: str = "start", size: float = 12
) -> Html:
    """A line of text; `anchor` is start, middle or end."""
    return Html(
        f'<text x="{number(x)}" y="{number(y)}" fill="{fill}" text-anchor="{anchor}" '
        f'style="font-size:{number(size)}px">{escape(words)}</text>'
    )


def line(start: Point, end: Point, stroke: str = FAINT, dash: str = "") -> Html:
    """A thin line."""
    ends = zip(("x1", "y1", "x2", "y2"), (*start, *end), strict=True)
    said = " ".join(f'{key}="{number(value)}"' for key, value in ends)
    return Html(f'<line {said} stroke="{stroke}"{f" stroke-dasharray={dash!r}" if dash else ""}/>')


def stacked_bars(
    rows: Sequence[tuple[str, Mapping[str, int], str]], colours: Mapping[str, str], *, title: str
) -> Html:
    """Horizontal bars of equal length, split by share.

    Args:
        rows: caption, counts by part, words at the bar's end.
        colours: part -> colour, in the order of the parts.
        title: for screen readers.
    """
    left, right, step = 230, 140, BAR + 8
    length = WIDTH - left - right
    parts: list[Html] = []
    for k, (caption, counts, words) in enumerate(rows):
        top, x, total = k * step + 2.0, float(left), sum(counts.values())
        parts.append(text(left - 10, top + BAR / 2 + 4, caption, anchor="end"))
        for name, colour in colours.items():
            wide = length * counts[name] / total if total else 0.0
            share = f"{100 * counts[name] / total:.1f} %" if total else "–"
            parts.append(rect(x, top, wide, BAR, colour, f"{name}: {counts[name]:,} ({share})"))
            if wide > 34:
                ink = "#fff" if _is_dark(colour) else INK
                parts.append(
                    text(x + wide / 2, top + BAR / 2 + 4, f"{counts[name]:,}", fill=ink, anchor="middle")
                )
            x += wide
        parts.append(text(left + length + 10, top + BAR / 2 + 4, words))
    return draw(WIDTH, len(rows) * step + 4, *parts, title=title)


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150


def legend(names: Mapping[str, tuple[str, str]]) -> Html:
    """What each colour means: key -> (colour, words)."""
    items = (
        tag("span", Html(f'<i style="background:{colour}"></i>'), words) for colour, words in names.values()
    )
    return tag("div", *items, class_="legend")
