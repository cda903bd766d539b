"""The timeline of a simulation: one row a week, as a table for people and as a figure. No clock in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.evaluation.canvas import BLACK, BLUE, GREEN, GREY, VERMILLION, add_panel, new_figure

LOOKS = {
    "promoted": (GREEN, "o"),
    "refused": (VERMILLION, "X"),
    "stopped": (VERMILLION, "s"),
    "same models": (GREY, "D"),
    "nothing to do": (GREY, "|"),
}
"""Outcome of a week -> colour and marker."""


@dataclass(frozen=True)
class Week:
    """What one week brought, and what became of it."""

    week: int
    event: str
    """What happened to the raw folders."""
    outcome: str
    """One of `LOOKS`."""
    images: int
    """Images in train, val or test of `patient`."""
    challenger: str
    """Model id; empty where none was weighed."""
    macro_f1: float
    """Of the challenger on the settled val images; NaN where none was weighed."""
    low: float
    high: float
    champion: str
    """Model id after the week; empty where there is none."""
    champion_macro_f1: float
    """What it scored when it was released; NaN where there is none."""
    openings: int
    """Rows of the ledger of openings so far."""
    why: str
    """The reason, in words."""


def render_weeks(weeks: Sequence[Week]) -> str:
    """The timeline as a Markdown table."""
    lines = [
        "| week | raw folders | outcome | images | challenger | macro-F1 | champion | openings | why |",
        "|--:|---|---|--:|---|--:|---|--:|---|",
    ]
    for one in weeks:
        score = "" if math.isnan(one.macro_f1) else f"{one.macro_f1:.3f} [{one.low:.3f}, {one.high:.3f}]"
        cells = [one.week, one.event, one.outcome, one.images, one.challenger[:8] or "–", score or "–"]
        cells += [one.champion[:8] or "–", one.openings, one.why.replace("|", "\\|").replace("\n", " ")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def timeline_figure(weeks: Sequence[Week]) -> Figure:
    """Challengers by week with their intervals, and the champion as a line that steps at each release.

    Raises:
        ValueError: there is no week.
    """
    if not weeks:
        raise ValueError("a timeline needs at least one week")
    figure = new_figure(
        "Six weeks of arriving collections, one of them bad",
        "phantoms: drawings, not patients; macro-F1 on settled val images with 95 % interval",
        3.9,
    )
    axes = add_panel(figure, left=0.7, bottom=0.95, width=6.0, height=2.2)
    places = [one.week for one in weeks]
    reigns = [one.champion_macro_f1 for one in weeks]
    axes.step(
        [*places, places[-1] + 0.5],
        [*reigns, reigns[-1]],
        where="post",
        color=BLUE,
        lw=2,
        label="champion, as it scored when it was released",
    )
    for one in weeks:
        colour, marker = LOOKS[one.outcome]
        height = one.champion_macro_f1 if math.isnan(one.macro_f1) else one.macro_f1
        if not math.isnan(one.low):
            axes.plot([one.week] * 2, [one.low, one.high], color=colour, lw=1.5, alpha=0.6)
        if not math.isnan(height):
            axes.plot(one.week, height, marker, color=colour, ms=8, zorder=3)
        axes.annotate(
            one.outcome, (one.week, 1.06), ha="center", fontsize=8, color=colour if colour != GREY else BLACK
        )
    axes.set_ylim(0, 1.15)
    axes.set_xlim(places[0] - 0.5, places[-1] + 0.5)
    axes.set_xticks(places, [f"week {one.week}\n{_wrap(one.event)}" for one in weeks])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("macro-F1 on val", fontsize=9)
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    return figure


def _wrap(text: str, letters: int = 16) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
