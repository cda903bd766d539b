"""The figures of a model and of the leaderboard: each names protocol, images and groups behind it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.evaluation.bootstrap import count_confusions, rank_class
from pipeline.evaluation.canvas import (
    BLACK,
    DASHES,
    GREY,
    PALETTE,
    VERMILLION,
    add_panel,
    embed,
    new_figure,
    png,
    sparkline_svg,
)
from pipeline.evaluation.curves import history_figure, severity_figure
from pipeline.evaluation.metrics import measure_confusion
from pipeline.evaluation.optimism import leaderboard_figure
from pipeline.evaluation.predictions import CLEAN, Answers, Floats, read_answers, take_variant
from pipeline.evaluation.roc import trace_roc
from pipeline.labels import LABELS, TUMOURS

__all__ = [
    "confusion_figure",
    "embed",
    "history_figure",
    "leaderboard_figure",
    "png",
    "roc_figure",
    "severity_figure",
    "sparkline_svg",
]


def confusion_figure(predictions: pd.DataFrame, *, variant: str = CLEAN, title: str | None = None) -> Figure:
    """Counts and row shares of one model's answers, with recall, precision and F1 beside each class.

    Cells that call a tumour `no_tumor` are framed.

    Args:
        predictions: rows of one model; other variants than `variant` are left aside.
        variant: clean, or degradation:severity.
        title: the model's name in the title; recipe, protocol and seed where not given.

    Raises:
        TableError: as `take_variant`.
    """
    rows = take_variant(predictions, variant)
    answers = read_answers(rows)
    counts = count_confusions(answers).sum(axis=0)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    figure = new_figure(f"{title or _name(rows)}: what was called what", _count(rows, answers), 4.2)
    axes = add_panel(figure, left=1.35, bottom=0.66, width=3.7, height=2.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for truth, called in np.ndindex(counts.shape):
        text = f"{counts[truth, called]:,.0f}\n{shares[truth, called]:.1%}"
        colour = "white" if shares[truth, called] > 0.55 else BLACK
        axes.text(called, truth, text, ha="center", va="center", fontsize=9, color=colour)
    axes.grid(visible=False)
    axes.set_xticks(range(len(LABELS)), LABELS)
    images = [f"{label}\n{n:,.0f} images" for label, n in zip(LABELS, support[:, 0], strict=True)]
    axes.set_yticks(range(len(LABELS)), images)
    axes.set_xlabel("called", fontsize=9)
    axes.set_ylabel("true class", fontsize=9, labelpad=8)
    _frame_misses(axes)
    _write_report(axes, counts, answers)
    return figure


def roc_figure(predictions: pd.DataFrame, *, variant: str = CLEAN, title: str | None = None) -> Figure:
    """One-vs-rest ROC curves with their areas; the second panel enlarges the corner that matters.

    Args:
        predictions: rows of one model; other variants than `variant` are left aside.
        variant: clean, or degradation:severity.
        title: the model's name in the title; recipe, protocol and seed where not given.

    Raises:
        TableError: as `take_variant`.
    """
    rows = take_variant(predictions, variant)
    answers = read_answers(rows)
    figure = new_figure(
        f"{title or _name(rows)}: ROC, each class against the rest", _count(rows, answers), 3.9
    )
    whole = add_panel(figure, left=0.62, bottom=0.72, width=2.85, height=2.5)
    corner = add_panel(figure, left=3.95, bottom=0.72, width=2.85, height=2.5)
    curves = [trace_roc(answers, index) for index in range(len(LABELS))]
    for index, label in enumerate(LABELS):
        called_wrongly, found = curves[index]
        area = rank_class(answers, index).resample(np.ones((answers.group_count, 1)))[0]
        text = f"{label}: no area" if np.isnan(area) else f"{label}: area {area:.3f}"
        for axes in (whole, corner):
            axes.plot(
                called_wrongly,
                found,
                color=PALETTE[index],
                linestyle=DASHES[index],
                linewidth=1.6,
                label=text,
            )
    whole.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    side = _choose_corner(curves)
    whole.add_patch(Rectangle((0, 1 - side), side, side, fill=False, ec=GREY, lw=0.8))
    whole.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    corner.set(xlim=(-0.02 * side, 1.02 * side), ylim=(1 - 1.02 * side, 1 + 0.02 * side))
    corner.set_title("the corner, enlarged", fontsize=8.5, color=GREY, loc="left")
    whole.legend(loc="lower right", fontsize=8, frameon=False)
    for axes in (whole, corner):
        axes.set_xlabel("share of the rest called so", fontsize=9)
    whole.set_ylabel("share of the class found", fontsize=9)
    return figure


def _frame_misses(axes: Axes) -> None:
    column = LABELS.index("no_tumor")
    corner = (column - 0.47, -0.46)
    axes.add_patch(Rectangle(corner, 0.94, len(TUMOURS) - 0.08, fill=False, ec=VERMILLION, lw=1.6))
    axes.text(column, -0.56, "missed tumours", fontsize=8, color=VERMILLION, ha="center", va="bottom")


def _write_report(axes: Axes, counts: Floats, answers: Answers) -> None:
    """Recall, precision and F1 of each class, to the right of its row."""
    found = measure_confusion(counts[None], answers.present)
    for column, metric in enumerate(("recall", "precision", "f1")):
        place = len(LABELS) - 0.15 + column * 0.68
        axes.text(place, -0.56, metric.replace("f1", "F1"), fontsize=8, color=GREY, ha="center", va="bottom")
        for row, label in enumerate(LABELS):
            value = found[metric, label][0]
            text = "–" if np.isnan(value) else f"{value:.3f}"
            axes.text(place, row, text, fontsize=9, ha="center", va="center")


def _choose_corner(curves: list[tuple[Floats, Floats]]) -> float:
    """Side of the smallest corner, of those offered, that every curve passes through."""
    sides = (0.02, 0.05, 0.1, 0.2, 0.5)
    drawn = [(wrong, found) for wrong, found in curves if len(wrong)]
    fits = (side for side in sides if all(found[wrong <= side][-1] >= 1 - side for wrong, found in drawn))
    return next(fits, 1.0)


def _name(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{first['recipe']}, {first['protocol']}, seed {first['seed']}"


def _count(rows: pd.DataFrame, answers: Answers) -> str:
    variant = rows["variant"].iloc[0]
    state = "clean" if variant == CLEAN else variant.replace("_", " ").replace(":", ", severity ")
    sizes = f"{answers.size:,} test images in {answers.group_count:,} groups"
    return f"protocol {rows['protocol'].iloc[0]}: {sizes}; {state}"
