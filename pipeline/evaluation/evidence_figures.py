"""The figures of table `evidence`: reliability, risk against coverage, conformal sets, subsets."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.abstention import trace_risk
from pipeline.evaluation.calibration import BINS, Bins, bin_answers, calibrate
from pipeline.evaluation.canvas import BLACK, BLUE, GREY, ORANGE, PURPLE, VERMILLION, add_panel, new_figure
from pipeline.evaluation.conformal import COVERAGE
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.predictions import Answers, read_answers, take_variant
from pipeline.evaluation.subsets import COLLECTION, THREE_CLASS, Confusion, list_confusions
from pipeline.labels import LABELS, TUMOURS

SHORT = ("gli", "men", "pit", "no")

_PANEL, _STEP, _ACROSS = 1.25, 1.7, 4
"""Side of a small confusion matrix, distance from one to the next (inches), matrices a row."""


def reliability_figure(predictions: pd.DataFrame, evidence: pd.DataFrame) -> Figure:
    """Accuracy against confidence in 15 bins, before and after temperature scaling; counts below.

    Args:
        predictions: rows of one model; degraded variants are left aside.
        evidence: its rows of the evidence table.

    Raises:
        TableError: as `take_variant`.
        KeyError: `evidence` lacks a figure of the model.
    """
    rows = take_variant(predictions)
    answers = read_answers(rows)
    temperature = _value(evidence, "temperature")
    figure = new_figure(f"{_name(rows)}: is it right as often as it says?", _count(rows, answers), 4.5)
    states = (("before", answers, VERMILLION), ("after", calibrate(answers, temperature), BLUE))
    for place, (state, shown, colour) in enumerate(states):
        left = 0.65 + place * 3.3
        axes = add_panel(figure, left=left, bottom=1.5, width=2.75, height=2.0)
        bins = bin_answers(shown)
        _draw_reliability(axes, bins, colour)
        words = "as the model answers" if state == "before" else f"divided by temperature {temperature:.2f}"
        axes.set_title(f"{words}\nECE {_say(evidence, f'ece_{state}')}", fontsize=8.5, loc="left")
        below = add_panel(figure, left=left, bottom=0.62, width=2.75, height=0.55)
        below.bar((np.arange(BINS) + 0.5) / BINS, bins.count, 0.9 / BINS, color=GREY)
        below.set_xlim(0, 1)
        below.set_xlabel("confidence: probability of the answer", fontsize=8.5)
        if not place:
            axes.set_ylabel("share right", fontsize=8.5)
            below.set_ylabel("images", fontsize=8.5)
    return figure


def risk_figure(predictions: pd.DataFrame, evidence: pd.DataFrame) -> Figure:
    """Share of wrong answers against the share of images answered, the surest first.

    Args, Raises: as `reliability_figure`.
    """
    rows = take_variant(predictions)
    answers = read_answers(rows)
    coverage, risk = trace_risk(calibrate(answers, _value(evidence, "temperature")))
    figure = new_figure(f"{_name(rows)}: what abstaining buys", _count(rows, answers), 3.6)
    axes = add_panel(figure, left=0.75, bottom=0.72, width=5.9, height=2.1)
    axes.step(coverage, risk, where="post", color=BLUE, lw=1.6, label="surest answers first")
    axes.axhline(risk[-1], color=GREY, lw=1, ls=":", label=f"answering everything: {risk[-1]:.3f}")
    marks = evidence[evidence["metric"].str.startswith("risk_at_")]
    for place, row in enumerate(marks.sort_values("metric").to_dict("records")):
        share = int(str(row["metric"]).rsplit("_", 1)[1]) / 100
        span = [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]
        label = "95 % group bootstrap" if not place else None
        axes.errorbar(share, row["value"], yerr=span, fmt="o", color=VERMILLION, ms=4, lw=1.2, label=label)
    axes.set_title(f"area under the curve {_say(evidence, 'aurc')}", fontsize=8.5, loc="left")
    axes.set(xlim=(0, 1.02))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: share of images answered", fontsize=9)
    axes.set_ylabel("risk: share of wrong answers", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def sets_figure(predictions: pd.DataFrame, evidence: pd.DataFrame) -> Figure:
    """Coverage of the conformal sets against the promised 90 %, and their mean size, by class and group.

    Args, Raises: as `reliability_figure`.
    """
    rows = take_variant(predictions)
    figure = new_figure(
        f"{_name(rows)}: sets that should hold the truth {100 * COVERAGE:.0f} % of the time",
        _count(rows, read_answers(rows)),
        3.3,
    )
    chosen = [("coverage", ALL, "all images"), ("group_coverage", ALL, "all groups, a voice each")]
    present = set(evidence.loc[evidence["metric"] == "coverage", "class"])
    chosen += [("coverage", label, str(label)) for label in LABELS if label in present]
    left = add_panel(figure, left=1.75, bottom=0.7, width=2.7, height=1.85)
    for place, (metric, label, _) in enumerate(chosen):
        _draw_interval(left, _row(evidence, metric, label=label), place, BLUE if label == ALL else ORANGE)
    left.axvline(COVERAGE, color=GREY, ls="--", lw=1)
    left.set_yticks(range(len(chosen)), [words for _, _, words in chosen])
    left.set_title("share of sets that hold the truth", fontsize=8.5, loc="left")
    right = add_panel(figure, left=4.75, bottom=0.7, width=1.95, height=1.85)
    for place, (metric, label, _) in enumerate(chosen):
        if metric == "coverage":
            _draw_interval(right, _row(evidence, "set_size", label=label), place, PURPLE)
    right.set_yticks(range(len(chosen)), [""] * len(chosen))
    right.set_title("labels in a set", fontsize=8.5, loc="left")
    for axes in (left, right):
        axes.set_ylim(len(chosen) - 0.5, -0.5)
    return figure


def subsets_figure(predictions: pd.DataFrame) -> Figure:
    """A small confusion matrix for each collection, and one of the three tumours by themselves.

    Args:
        predictions: rows of one model; degraded variants are left aside.

    Raises:
        TableError: as `take_variant`.
    """
    rows = take_variant(predictions)
    shown = list_confusions(rows)
    lines = -(-len(shown) // _ACROSS)
    height = 0.95 + lines * (_STEP + 0.35)
    figure = new_figure(
        f"{_name(rows)}: what was called what, part by part", _count(rows, read_answers(rows)), height
    )
    for place, confusion in enumerate(shown):
        line, column = divmod(place, _ACROSS)
        bottom = height - 0.95 - _PANEL - line * (_STEP + 0.35) - 0.2
        _draw_confusion(
            add_panel(figure, left=0.45 + column * _STEP, bottom=bottom, width=_PANEL, height=_PANEL),
            confusion,
        )
    return figure


def _draw_reliability(axes: Axes, bins: Bins, colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=":")
    axes.bar((np.arange(BINS) + 0.5) / BINS, bins.accuracy, 0.9 / BINS, color=colour, alpha=0.45)
    axes.plot(bins.confidence, bins.accuracy, "o", color=colour, ms=4)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.tick_params(labelbottom=False)


def _draw_interval(axes: Axes, row: "pd.Series[float]", place: int, colour: str) -> None:
    axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=2, alpha=0.55)
    axes.plot(row["value"], place, "o", color=colour, ms=5)
    axes.annotate(
        f"{row['value']:.3f}", (row["value"], place), (0, 5), textcoords="offset points", fontsize=7
    )


def _draw_confusion(axes: Axes, confusion: Confusion) -> None:
    three = confusion.subset == THREE_CLASS
    size = len(TUMOURS) if three else len(LABELS)
    counts = confusion.counts[:size, :size]
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for truth, called in np.ndindex(counts.shape):
        colour = "white" if shares[truth, called] > 0.55 else BLACK
        text = f"{counts[truth, called]:,.0f}"
        axes.text(called, truth, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.grid(visible=False)
    axes.set_xticks(range(size), SHORT[:size])
    axes.set_yticks(range(size), SHORT[:size])
    axes.tick_params(labelsize=7)
    name = "three classes" if three else confusion.subset.removeprefix(COLLECTION)
    sizes = f"{counts.sum():,.0f} images, {confusion.groups:,} groups"
    axes.set_title(f"{name}\n{sizes}", fontsize=7.5, loc="left")


def _row(evidence: pd.DataFrame, metric: str, *, label: str = ALL) -> "pd.Series[float]":
    found = evidence[(evidence["metric"] == metric) & (evidence["class"] == label)]
    if found.empty:
        raise KeyError(f"the evidence has no figure {metric!r} for class {label!r}; materialise it again")
    return found.iloc[0]


def _value(evidence: pd.DataFrame, metric: str) -> float:
    return float(_row(evidence, metric)["value"])


def _say(evidence: pd.DataFrame, metric: str) -> str:
    row = _row(evidence, metric)
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}"


def _name(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{first['recipe']}, {first['protocol']}, seed {first['seed']}"


def _count(rows: pd.DataFrame, answers: Answers) -> str:
    sizes = f"{answers.size:,} test images in {answers.group_count:,} groups"
    return f"protocol {rows['protocol'].iloc[0]}: {sizes}; clean"
