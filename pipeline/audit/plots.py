"""Plots of the audit as inline SVG: score histogram, quantile strips, bars against chance."""

import math
from collections.abc import Mapping, Sequence

from pipeline.audit.facts import Bin
from pipeline.pages.charts import WIDTH, Axis, draw, line, rect, text
from pipeline.pages.markup import Html
from pipeline.pages.style import CONTROL, FAINT, INK, VERDICT_COLOURS


def score_histogram(bins: Sequence[Bin], marks: Mapping[str, float | None]) -> Html:
    """Pairs by score, by verdict; the height is logarithmic, so that single pairs are seen beside thousands.

    Args:
        bins: from the lowest score to the highest; the first holds everything below it.
        marks: words -> score of a vertical line; None draws none.
    """
    left, top, height, length = 48.0, 46.0, 190.0, WIDTH - 70.0
    most = max([1, *(sum(_stack(one).values()) for one in bins)])
    decades = max(1, math.ceil(math.log10(most + 1)))

    def rise(count: float) -> float:
        return height * math.log10(1 + count) / decades

    parts: list[Html] = []
    for decade in range(decades + 1):
        y = top + height - rise(10**decade - 1)
        parts += [line((left, y), (left + length, y), "#e6ebed")]
        parts += [text(left - 6, y + 4, f"{10**decade - 1 if decade == 0 else 10**decade:,}", anchor="end")]
    wide = length / len(bins)
    for k, one in enumerate(bins):
        base = 0
        for name, count in _stack(one).items():
            y, tall = top + height - rise(base + count), rise(base + count) - rise(base)
            hint = f"{one.low:.2f} to {one.high:.2f}: {count:,} {name}"
            parts += [rect(left + k * wide, y, wide - 1, tall, VERDICT_COLOURS[name], hint)] if count else []
            base += count
    first = bins[0].high - (bins[-1].high - bins[-2].high)
    axis = Axis(left, length, first, bins[-1].high)
    for tick in (k / 10 for k in range(math.ceil(first * 10), 11)):
        below = "≤ " if math.isclose(tick, first) else ""
        parts.append(text(axis.place(tick), top + height + 17, f"{below}{tick:.1f}", anchor="middle"))
    for k, (words, score) in enumerate((words, score) for words, score in marks.items() if score is not None):
        x, y = axis.place(max(first, score)), 12.0 + 15 * k
        parts += [line((x, y + 3), (x, top + height), INK, "3 3")]
        near, anchor = (x - 5, "end") if k == 0 or x > WIDTH - 150 else (x + 5, "start")
        parts += [text(near, y, f"{words} {score:.3f}", anchor=anchor)]
    parts.append(text(left + length / 2, top + height + 36, "score of the pair", fill=FAINT, anchor="middle"))
    parts.append(text(0, top - 12, "pairs, logarithmic", fill=FAINT))
    return draw(WIDTH, top + height + 42, *parts, title="Pairs by score and verdict")


def _stack(one: Bin) -> dict[str, int]:
    return {"rejected": one.rejected, "review": one.review, "copy": one.copy_}


def quantile_strips(rows: Sequence[tuple[str, Sequence[float], str]], *, high: float, unit: str) -> Html:
    """5–95 % as a line, 25–75 % as a bar, the median as a tick: one row each.

    Args:
        rows: caption, the five quantiles, colour.
        high: end of the axis, which starts at 0.
        unit: what the axis shows.
    """
    left, step, length = 230.0, 20.0, WIDTH - 230.0 - 30
    axis = Axis(left, length, 0.0, high)
    parts: list[Html] = []
    bottom = len(rows) * step + 4
    for k in range(6):
        value = k * high / 5
        parts += [line((axis.place(value), 2), (axis.place(value), bottom), "#e6ebed")]
        parts += [text(axis.place(value), bottom + 14, f"{round(value, 2):g}", fill=FAINT, anchor="middle")]
    for k, (caption, quantiles, colour) in enumerate(rows):
        middle = k * step + step / 2 + 2
        five, quarter, median, three, most = (axis.place(value) for value in quantiles)
        hint = f"{caption}: " + ", ".join(f"{value:.4g}" for value in quantiles)
        parts += [
            text(left - 10, middle + 4, caption, anchor="end"),
            rect(five, middle - 0.5, most - five, 1, colour),
            rect(quarter, middle - 5, three - quarter, 10, colour, hint),
            rect(median - 1, middle - 7, 2, 14, INK),
        ]
    parts.append(text(left + length / 2, bottom + 32, unit, fill=FAINT, anchor="middle"))
    return draw(WIDTH, bottom + 38, *parts, title=unit)


def score_bars(rows: Sequence[tuple[str, float, float, float, float]], *, chance: float, title: str) -> Html:
    """Balanced accuracy with the span of the folds and the shuffled control, against chance.

    Args:
        rows: caption, score, worst fold, best fold, highest shuffled control.
        chance: where guessing ends up.
        title: for screen readers.
    """
    left, step, length = 230.0, 26.0, WIDTH - 230.0 - 60
    axis = Axis(left, length, 0.0, 1.0)
    bottom = len(rows) * step + 18
    parts: list[Html] = [
        rect(left, 14, axis.place(chance) - left, bottom - 14, "#f1f4f5"),
        line((axis.place(chance), 14), (axis.place(chance), bottom), INK, "3 3"),
        text(axis.place(chance), 10, f"chance {chance:.2f}", anchor="middle", size=11),
    ]
    for k, (caption, score, low, high, shuffled) in enumerate(rows):
        middle = 18 + k * step + step / 2
        colour = "#c2452d" if low > max(chance, shuffled) else "#8a959b"
        parts += [
            text(left - 10, middle + 4, caption, anchor="end"),
            rect(left, middle - 7, axis.place(score) - left, 14, colour, f"{caption}: {score:.3f}"),
            rect(axis.place(low), middle - 0.75, axis.place(high) - axis.place(low), 1.5, INK),
            rect(axis.place(shuffled) - 1, middle - 9, 2, 18, CONTROL, f"highest control {shuffled:.3f}"),
            text(axis.place(max(high, score, shuffled)) + 8, middle + 4, f"{score:.2f}"),
        ]
    for k in range(6):
        parts.append(text(axis.place(k / 5), bottom + 14, f"{k / 5:.1f}", fill=FAINT, anchor="middle"))
    parts.append(
        text(
            left + length / 2, bottom + 31, "balanced accuracy on unseen groups", fill=FAINT, anchor="middle"
        )
    )
    return draw(WIDTH, bottom + 36, *parts, title=title)
