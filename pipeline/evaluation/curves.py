"""Curves over epochs and over severities."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.errors import TableError
from pipeline.evaluation.canvas import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    GREY,
    MARKERS,
    PALETTE,
    VERMILLION,
    add_panel,
    new_figure,
)
from pipeline.evaluation.metrics import ALL, METRICS
from pipeline.evaluation.predictions import CLEAN, Floats
from pipeline.schemas import TABLES

HISTORY_KEYS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_macro_f1", "lr")

_LOSSES = {"train_loss": ("train", GREY, "--"), "val_loss": ("val", BLUE, "-")}
_SCORES = {
    "train_accuracy": ("train accuracy", GREY, "--"),
    "val_accuracy": ("val accuracy", BLUE, "-"),
    "val_macro_f1": ("val macro-F1", VERMILLION, "-."),
}
_RATE = {"lr": ("learning rate", BLACK, "-")}


def history_figure(
    history: Sequence[Mapping[str, float]], *, title: str, subtitle: str = "", best_epoch: int | None = None
) -> Figure:
    """Training curves: loss, scores and learning rate by epoch.

    Args:
        history: one mapping an epoch with `HISTORY_KEYS`; other keys are left aside, NaN leaves a gap.
        title: the training: recipe, protocol, seed.
        subtitle: what it was trained and validated on: images, groups, protocol.
        best_epoch: marked where given.

    Raises:
        TableError: no epoch, or one lacks a key.
    """
    columns = _read_history(history)
    epochs = columns["epoch"]
    note = "" if best_epoch is None else f"green line: best epoch, {best_epoch}"
    figure = new_figure(f"{title}: training", subtitle, 3.5, note)
    panels = ((0.5, 1.8, "loss", _LOSSES), (2.75, 2.2, "score", _SCORES), (5.5, 1.35, "learning rate", _RATE))
    for left, width, name, lines in panels:
        axes = add_panel(figure, left=left, bottom=0.7, width=width, height=1.95)
        for key, (label, colour, dash) in lines.items():
            marker = "o" if len(epochs) <= 20 else ""
            axes.plot(epochs, columns[key], dash, color=colour, lw=1.5, marker=marker, ms=3, label=label)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREEN, linewidth=1)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if lines is _RATE:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.legend(fontsize=7.5, frameon=False)
    return figure


def severity_figure(metrics: pd.DataFrame, *, metric: str = "accuracy", title: str | None = None) -> Figure:
    """A metric against severity: one line per degradation from the clean images on, intervals as bands.

    Args:
        metrics: rows of the metrics table, of one model.
        metric: one that every variant has.
        title: the model's name in the title; recipe, protocol and seed where not given.

    Raises:
        TableError: columns are missing, there are several models, no clean row or no degraded one.
    """
    rows = _take_metric(metrics, metric)
    first = rows.iloc[0]
    name = metric.replace("macro_f1", "macro-F1").replace("_", " ")
    described = f"{first['recipe']}, {first['protocol']}, seed {first['seed']}"
    figure = new_figure(
        f"{title or described}: {name} on poorer images",
        f"protocol {first['protocol']}: {first['n']:,} test images in {first['groups']:,} groups; "
        "bands: 95 % group bootstrap",
        3.6,
    )
    axes = add_panel(figure, left=0.65, bottom=0.72, width=4.5, height=2.2)
    degraded = rows[rows["degradation"] != CLEAN]
    # Many bands on each other are a fog; the table has the intervals.
    shade = 0.15 if degraded["degradation"].nunique() <= len(PALETTE) else 0.04
    for index, (degradation, part) in enumerate(degraded.groupby("degradation")):
        line = pd.concat([rows[rows["degradation"] == CLEAN], part]).sort_values("severity")
        _draw_line(axes, line, str(degradation), index, shade)
    axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"])
    axes.set_xlabel("severity", fontsize=9)
    axes.set_ylabel(name, fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.03))
    return figure


def _draw_line(axes: Axes, line: pd.DataFrame, name: str, index: int, shade: float) -> None:
    # Colours repeat after seven lines: with another dash, and hollow markers.
    turn, style = divmod(index, len(PALETTE))
    severity, value, low, high = (line[key].to_numpy(float) for key in ("severity", "value", "low", "high"))
    axes.fill_between(severity, low, high, color=PALETTE[style], alpha=shade, linewidth=0)
    label = name.replace("_", " ")
    axes.plot(
        severity,
        value,
        linestyle=DASHES[(style + 3 * turn) % len(DASHES)],
        color=PALETTE[style],
        marker=MARKERS[style],
        markerfacecolor="white" if turn % 2 else PALETTE[style],
        ms=4,
        lw=1.5,
        label=label,
    )


def _read_history(history: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    if not history:
        raise TableError("training history: no epoch to draw; train at least one")
    for position, row in enumerate(history):
        missing = [key for key in HISTORY_KEYS if key not in row]
        if missing:
            raise TableError(f"training history: row {position} lacks {missing}; it has {sorted(row)}")
    return {key: np.array([row[key] for row in history], dtype=np.float64) for key in HISTORY_KEYS}


def _take_metric(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The metric's rows for the class `all`, with columns degradation and severity (0 where clean)."""
    missing = [name for name in TABLES["metrics"].names if name not in metrics.columns]
    if missing:
        raise TableError(f"metrics: missing columns {missing}; declared in pipeline/schemas")
    models = metrics["model_id"].unique().tolist()
    if len(models) != 1:
        raise TableError(f"metrics: {len(models)} models; a severity figure shows one")
    rows = metrics[(metrics["metric"] == metric) & (metrics["class"] == ALL)]
    variants = set(rows["variant"])
    if CLEAN not in variants or len(variants) < 2:
        raise TableError(
            f"metrics: {metric!r} needs a clean and a degraded row, there are {sorted(variants)}; "
            f"metrics are {', '.join(METRICS)}"
        )
    parts = rows["variant"].str.partition(":")
    return rows.assign(degradation=parts[0], severity=parts[2].replace("", "0").astype("int64"))
