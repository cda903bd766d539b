"""Table `explanations`: how often heat points at the tumour, against what needs no training to do so.

Every figure is a mean over images, so a draw of groups is a row of one matrix product; all figures of a
subset share their draws, and a difference is drawn in pairs. Intervals as in `pipeline.evaluation.bootstrap`.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.errors import ExplanationError
from pipeline.evaluation.bootstrap import draw_weights, find_interval
from pipeline.evaluation.canvas import BLACK, BLUE, GREY, ORANGE, PURPLE, add_panel, new_figure
from pipeline.evaluation.metrics import ALL, DRAWS, protocol_seed
from pipeline.evaluation.predictions import Floats
from pipeline.explanations.heat import METHODS
from pipeline.schemas import TABLES

RIGHT = "right"
TRAINED = "trained"
BASELINES = ("random_weights", "centre_blob", "chance")
METRICS = {
    "hit": "share of images whose hottest pixel lies inside the tumour's box",
    "near": "the same within 15/224 of the side around the box",
    "share": "mean share of the heat inside the box",
}
WRONG_REASON = "wrong_reason"
EMPTY = "empty"

_PANELS = (("hit", "hottest pixel inside the box"), ("share", "share of the heat inside"))
_CHANCE = {"hit": "area", "near": "near_area", "share": "area"}
_NAMES = {
    "grad_cam": "Grad-CAM",
    "saliency": "saliency",
    "trained": "trained network",
    "random_weights": "same network, random weights",
    "centre_blob": "blob in the middle",
    "chance": "heat spread evenly",
}
_STYLES = {"trained": (BLUE, "o"), "random_weights": (ORANGE, "s"), "centre_blob": (PURPLE, "^")}
_STYLES["chance"] = (GREY, "D")


def summarise(heats: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Table `explanations` of the rows of table `heats`, of one or several models.

    For each subset and method: `METRICS` of the trained network and of each of `BASELINES`, and the trained
    network minus each baseline (`over_<baseline>`); `empty`, the share of maps without heat; under `right`
    also `wrong_reason`, the share of the right answers that were right for the wrong reason by this method.

    Args:
        heats: in any order.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Returns:
        Sorted by its key; a subset without images has no rows; NaN where there are too few groups.

    Raises:
        ExplanationError: there are no rows, or a model lacks one of the methods or baselines.
    """
    if heats.empty:
        raise ExplanationError("heats: the table has no rows; materialise explanations again")
    parts = [
        _summarise_method(rows, method, draws, protocol_seed(seed, str(rows["protocol"].iloc[0])))
        for _, rows in heats.groupby("model_id", sort=True)
        for method in METHODS
    ]
    return pd.concat(parts, ignore_index=True).sort_values(
        list(TABLES["explanations"].key), ignore_index=True
    )


def pointing_figure(explanations: pd.DataFrame) -> Figure:
    """Hits and shares of heat, each method against its baselines, with 95 % intervals.

    Args:
        explanations: rows of one model.
    """
    rows = explanations[explanations["subset"] == ALL]
    first = rows.iloc[0]
    title = f"{first['recipe']}, {first['protocol']}: does the heat lie on the tumour?"
    subtitle = f"{first['n']} tumour images with a box in {first['groups']} groups; 95 % group bootstrap"
    figure = new_figure(title, subtitle, 3.1)
    for place, (metric, words) in enumerate(_PANELS):
        axes = add_panel(figure, left=2.05 + place * 2.5, bottom=0.65, width=2.3, height=1.7)
        _draw_panel(axes, rows[rows["metric"] == metric])
        axes.set_title(words, fontsize=8.5, loc="left")
        if place:
            axes.tick_params(labelleft=False)
    return figure


def tell_pointing(explanations: pd.DataFrame) -> list[str]:
    """What the heat of a model is worth, a line for each method and figure, for a person; one model."""
    whole = explanations[explanations["subset"] == ALL]
    lines = [f"{whole['n'].iloc[0]} tumour images with a box, in {whole['groups'].iloc[0]} groups"]
    for method in METHODS:
        found = whole[whole["method"] == method]
        for metric, words in _PANELS:
            gains = [f"{_say(found, metric, f'over_{name}')} over {_NAMES[name]}" for name in BASELINES]
            lines.append(f"{_NAMES[method]}, {words}: {'; '.join([_say(found, metric, TRAINED), *gains])}")
    return lines


def tell_verdicts(heats: pd.DataFrame) -> str:
    """How many images were right, wrong, and right for the wrong reason, by each method; one model."""
    spread = {method: _spread(heats, method) for method in METHODS}
    wrong = int((spread[METHODS[0]]["verdict"] == "wrong").sum())
    reasons = np.array([rows[WRONG_REASON].to_numpy() > 0 for rows in spread.values()])
    told = ", ".join(
        f"{int(row.sum())} by {_NAMES[name]}" for name, row in zip(METHODS, reasons, strict=True)
    )
    size = reasons.shape[1]
    return (
        f"{size} tumour images with a box: {size - wrong} right, of these for the wrong reason {told}, "
        f"{int(reasons.all(axis=0).sum())} by both; {wrong} wrong"
    )


def _summarise_method(heats: pd.DataFrame, method: str, draws: int, seed: int) -> pd.DataFrame:
    wide = _spread(heats, method)
    right = wide["verdict"] != "wrong"
    found = [
        {"subset": subset, **figure}
        for subset, rows in ((ALL, wide), (RIGHT, wide[right]))
        if len(rows)
        for figure in _measure(rows, subset, draws, seed)
    ]
    constant = {name: heats[name].iloc[0] for name in ("model_id", "recipe", "protocol", "seed")}
    return pd.DataFrame(found).assign(**constant, method=method)[TABLES["explanations"].names]


def _spread(heats: pd.DataFrame, method: str) -> pd.DataFrame:
    """One row an image, a column for each metric of each subject: `hit:trained`, …, and `empty`."""
    parts = {}
    for name, wanted in ((TRAINED, method), ("random_weights", method), ("centre_blob", "none")):
        rows = heats[(heats["drawn_from"] == name) & (heats["method"] == wanted)]
        parts[name] = rows.set_index("image_id").sort_index()
    trained = parts[TRAINED]
    for name, rows in parts.items():
        if not rows.index.equals(trained.index) or rows.empty:
            raise ExplanationError(
                f"heats: {len(trained)} images of {TRAINED} under {method}, {len(rows)} of {name}; each "
                "image needs all of them. Materialise explanations again"
            )
    columns = {f"{metric}:{name}": rows[metric] for name, rows in parts.items() for metric in METRICS}
    columns |= {f"{metric}:chance": trained[_CHANCE[metric]] for metric in METRICS}
    elsewhere = (trained["hit"] < 0.5) & (trained["share"] < trained["area"]) & (trained["empty"] == 0)
    columns |= {EMPTY: trained["empty"], WRONG_REASON: (trained["verdict"] != "wrong") & elsewhere}
    meta = trained[["collection", "path", "group_id", "verdict"]]
    return pd.concat([meta, pd.DataFrame(columns).astype(float)], axis=1).sort_values(["collection", "path"])


def _measure(rows: pd.DataFrame, subset: str, draws: int, seed: int) -> Iterator[dict[str, object]]:
    codes, groups = pd.factorize(rows["group_id"])
    values = dict(_list_columns(rows, subset))
    sums = np.zeros((len(groups), len(values) + 1))
    np.add.at(sums, codes, np.column_stack([np.ones(len(rows)), *values.values()]))
    drawn = np.concatenate([weights @ sums for weights in draw_weights(len(groups), draws, seed)])
    means: Floats = drawn[:, 1:] / drawn[:, :1]
    for place, ((metric, subject), column) in enumerate(values.items()):
        low, high = find_interval(means[:, place], len(groups))
        figure = {"metric": metric, "subject": subject, "value": float(column.mean())}
        yield {**figure, "low": low, "high": high, "n": len(rows), "groups": len(groups)}


def _list_columns(rows: pd.DataFrame, subset: str) -> Iterator[tuple[tuple[str, str], Floats]]:
    for metric in METRICS:
        own = rows[f"{metric}:{TRAINED}"].to_numpy()
        yield (metric, TRAINED), own
        for name in BASELINES:
            other = rows[f"{metric}:{name}"].to_numpy()
            yield (metric, name), other
            yield (metric, f"over_{name}"), own - other
    yield (EMPTY, TRAINED), rows[EMPTY].to_numpy()
    if subset == RIGHT:
        yield (WRONG_REASON, TRAINED), rows[WRONG_REASON].to_numpy()


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    labels, place = [], 0.0
    for method in METHODS:
        for subject in (TRAINED, *BASELINES):
            row = rows[(rows["method"] == method) & (rows["subject"] == subject)].iloc[0]
            colour, marker = _STYLES[subject]
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
            axes.plot(row["value"], place, marker=marker, color=colour, markersize=5)
            labels.append(
                (place, f"{_NAMES[method]}: {_NAMES[subject]}" if subject == TRAINED else _NAMES[subject])
            )
            place += 1
        place += 0.6
    axes.set_yticks([at for at, _ in labels], [text for _, text in labels], fontsize=7.5, color=BLACK)
    axes.invert_yaxis()
    axes.set_xlim(left=0)


def _say(found: pd.DataFrame, metric: str, subject: str) -> str:
    row = found[(found["metric"] == metric) & (found["subject"] == subject)].iloc[0]
    sign = "+" if subject.startswith("over_") else ""
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:{sign}.3f}, {row['high']:{sign}.3f}]"
    return f"{row['value']:{sign}.3f}{interval}"
