"""The figure of the leaderboard: how far each recipe falls on patients that it has never seen."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.errors import TableError
from pipeline.evaluation.canvas import BLUE, GREY, ORANGE, PURPLE, VERMILLION, add_panel, new_figure
from pipeline.evaluation.leaderboard import HONEST, OPTIMISTIC, Row, order_rows
from pipeline.schemas import TABLES

STYLES = {OPTIMISTIC[0]: (VERMILLION, "s"), OPTIMISTIC[1]: (ORANGE, "^"), HONEST: (BLUE, "o")}
EXTERNAL = (PURPLE, "D")

ROW_INCHES = 0.62
NAME_LETTERS = 20


def leaderboard_figure(
    leaderboard: pd.DataFrame, *, title: str = "What the split adds to the score"
) -> Figure:
    """Macro-F1 of each recipe under each protocol, and an arrow from the claim to unseen patients.

    Args:
        leaderboard: rows of the leaderboard table, in any order.
        title: the figure's title.

    Raises:
        TableError: no rows, or a column is missing.
    """
    missing = [name for name in TABLES["leaderboard"].names if name not in leaderboard.columns]
    if missing or leaderboard.empty:
        raise TableError(f"leaderboard: {len(leaderboard)} rows, missing columns {missing}; nothing to draw")
    rows = order_rows(leaderboard)
    recipes = rows["recipe"].unique().tolist()
    height = len(recipes) * ROW_INCHES
    subtitle = textwrap.fill(_describe_sets(rows), 112)
    above = 0.85 + 0.14 * subtitle.count("\n")
    figure = new_figure(title, subtitle, above + height + 1.05)
    axes = add_panel(figure, left=1.45, bottom=1.05, width=3.2, height=height)
    axes.text(1.03, 1.02, "optimism [95 %]", transform=axes.transAxes, fontsize=9, va="bottom")
    for position, recipe in enumerate(recipes):
        _draw_recipe(axes, rows[rows["recipe"] == recipe].to_dict("records"), position)
    axes.set_ylim(len(recipes) - 0.5, -0.5)
    axes.set_yticks(range(len(recipes)), [_wrap(recipe) for recipe in recipes])
    axes.tick_params(axis="y", length=0, labelsize=8 if max(map(len, recipes)) <= NAME_LETTERS else 7)
    axes.set_xlabel("macro-F1, 95 % interval of the group bootstrap", fontsize=9)
    handles = [_handle(protocol) for protocol in dict.fromkeys(rows["protocol"])]
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=4,
        fontsize=8,
        frameon=False,
        bbox_to_anchor=(0, 0.2 / figure.get_size_inches()[1]),
    )
    return figure


def _draw_recipe(axes: Axes, rows: list[Row], position: int) -> None:
    offsets = (np.arange(len(rows)) - (len(rows) - 1) / 2) * min(0.26, 0.8 / len(rows))
    places = {row["protocol"]: (row["macro_f1"], position + offsets[i]) for i, row in enumerate(rows)}
    for row in rows:
        value, height = places[row["protocol"]]
        colour, marker = STYLES.get(row["protocol"], EXTERNAL)
        axes.plot(
            [row["macro_f1_low"], row["macro_f1_high"]], [height, height], color=colour, lw=2, alpha=0.55
        )
        axes.plot(value, height, marker, color=colour, ms=6, mec="white", mew=0.7, zorder=3)
    claims = [row for row in rows if not np.isnan(row["optimism"])]
    if not claims:
        return
    arrow = {"arrowstyle": "->", "color": GREY, "lw": 1, "shrinkA": 4, "shrinkB": 4}
    axes.annotate("", xy=places[HONEST], xytext=places[claims[0]["protocol"]], arrowprops=arrow, zorder=2)
    for line, claim in enumerate(claims):
        axes.annotate(
            _word(claim),
            xy=(1, position),
            xycoords=("axes fraction", "data"),
            xytext=(8, 6 * (len(claims) - 1) - 12 * line),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )


def _word(claim: Row) -> str:
    low, high = claim["optimism_low"], claim["optimism_high"]
    interval = "" if np.isnan(low) else f" [{low:z.3f}, {high:z.3f}]"
    return f"{claim['protocol']} {claim['optimism']:+z.3f}{interval}"


def _describe_sets(rows: pd.DataFrame) -> str:
    """Images and groups of each protocol's test sets, as ranges where recipes differ."""
    return "test images: " + "; ".join(
        f"{protocol} {_range(part['n'])} in {_range(part['groups'])} groups"
        for protocol, part in rows.groupby("protocol", sort=False)
    )


def _range(values: "pd.Series[int]") -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _handle(protocol: str) -> Line2D:
    colour, marker = STYLES.get(protocol, EXTERNAL)
    return Line2D([], [], color=colour, marker=marker, lw=2, ms=6, label=protocol)


def _wrap(name: str) -> str:
    """A long recipe name over two lines, broken at the middle underscore that leaves both short."""
    if len(name) <= NAME_LETTERS:
        return name
    breaks = [index + 1 for index, letter in enumerate(name) if letter == "_"]
    fits = [index for index in breaks if max(index, len(name) - index) <= NAME_LETTERS]
    place = min(fits or [NAME_LETTERS], key=lambda index: abs(index - len(name) / 2))
    return f"{name[:place]}\n{name[place:]}"
