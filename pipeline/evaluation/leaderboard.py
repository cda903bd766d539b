"""The leaderboard: each recipe under each protocol, and what the protocol adds to its score.

Optimism = macro-F1 under a protocol minus macro-F1 under `patient`, same recipe. Its interval subtracts, draw
by draw, two independent group bootstraps, one of each test set. Where the sets share patients this is wider
than need be, never narrower, since shared patients move both scores the same way.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import find_interval
from pipeline.evaluation.metrics import DRAWS
from pipeline.evaluation.standings import Standing, measure_standings
from pipeline.labels import PROTOCOLS
from pipeline.schemas import TABLES

HONEST = "patient"
OPTIMISTIC = ("published", "stratified")
WIDTH = 110

Row = dict[Any, Any]
"""One row of the leaderboard, column -> value."""


def rank_recipes(
    predictions: Iterable[pd.DataFrame], verdicts: Mapping[str, str], *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Table `leaderboard`: one row per recipe × protocol, from the clean predictions.

    Several seeds of a recipe are averaged, draw by draw: the interval tells what other patients could change,
    the spread (one standard deviation over seeds) what another training could. With one seed the interval
    equals the metrics table's.

    Args:
        predictions: predictions tables, each of one or several models, in any order.
        verdicts: protocol -> verdict of the gate.
        draws: bootstrap draws.
        seed: a result is a function of the rows' content, the verdicts, `draws` and `seed` alone.

    Returns:
        Rows in the order of `order_rows`. Optimism is NaN under `patient` and `external:*`, and where the
        recipe has no `patient` row; intervals are NaN where there are too few groups (see metrics.py).

    Raises:
        TableError: as `measure_standings`; nothing to rank; a protocol without verdict.
    """
    frames = list(predictions)
    if not frames:
        raise TableError("leaderboard: no predictions to rank; materialise those of at least one recipe")
    standings = measure_standings(pd.concat(frames, ignore_index=True), draws=draws, seed=seed)
    unjudged = sorted({standing.protocol for standing in standings} - set(verdicts))
    if unjudged:
        raise TableError(f"leaderboard: no gate verdict for {unjudged}; verdicts given: {sorted(verdicts)}")
    honest = {standing.recipe: standing for standing in standings if standing.protocol == HONEST}
    rows = [_describe(standing, honest.get(standing.recipe), verdicts) for standing in standings]
    return order_rows(pd.DataFrame(rows, columns=TABLES["leaderboard"].names))


def order_rows(leaderboard: pd.DataFrame) -> pd.DataFrame:
    """Rows as people read them: best macro-F1 under `patient` first, a recipe's protocols in their order."""
    honest = _honest_scores(leaderboard)
    known = {str(protocol): position for position, protocol in enumerate(PROTOCOLS)}
    keyed = leaderboard.assign(
        _worst=[-honest.get(recipe, float("-inf")) for recipe in leaderboard["recipe"]],
        _protocol=[known.get(protocol, len(known)) for protocol in leaderboard["protocol"]],
    )
    keyed = keyed.sort_values(["_worst", "recipe", "_protocol", "protocol"], ignore_index=True)
    return keyed.drop(columns=["_worst", "_protocol"])


def tell_optimism(leaderboard: pd.DataFrame) -> list[str]:
    """One sentence per row that has an optimism, in the order of `order_rows`."""
    honest = _honest_scores(leaderboard)
    rows = order_rows(leaderboard).dropna(subset=["optimism"])
    return [_tell(row, honest[row["recipe"]]) for row in rows.to_dict("records")]


def render_leaderboard(leaderboard: pd.DataFrame) -> str:
    """The leaderboard as aligned plain text for a terminal, at most 110 columns wide."""
    heads = ["", "macro-F1 [95 %]", "optimism [95 %]", "accuracy", "missed", "images", "groups", "gate"]
    lines: list[list[str]] = []
    for recipe, rows in _by_recipe(leaderboard):
        lines.append([recipe])
        lines += [[f"  {row['protocol']}", *_cells(row)] for row in rows]
    table = _align([heads, *lines])
    ruler = "─" * max(len(line) for line in table)
    return "\n".join([table[0], ruler, *table[1:], ruler, *_explain(leaderboard)]) + "\n"


def render_leaderboard_markdown(leaderboard: pd.DataFrame) -> str:
    """The leaderboard as a markdown table, best recipe under `patient` first."""
    heads = [
        *("recipe", "protocol", "macro-F1 [95 %]", "optimism [95 %]"),
        *("accuracy", "missed tumours", "images", "groups", "gate"),
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * 6 + "---|"]
    for recipe, rows in _by_recipe(leaderboard):
        for row in rows:
            cells = [recipe, row["protocol"], *_cells(row)[:-1], row["gate"].replace("|", "\\|")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _describe(
    standing: Standing, honest: Standing | None, verdicts: Mapping[str, str]
) -> dict[str, str | int | float]:
    row = {name: getattr(standing, name) for name in TABLES["leaderboard"].names if hasattr(standing, name)}
    row["macro_f1_low"], row["macro_f1_high"] = find_interval(standing.draws, standing.groups)
    row["gate"] = verdicts[standing.protocol]
    row["optimism"] = row["optimism_low"] = row["optimism_high"] = float("nan")
    if honest is not None and standing.protocol in OPTIMISTIC:
        fewest = min(standing.groups, honest.groups)
        row["optimism"] = standing.macro_f1 - honest.macro_f1
        row["optimism_low"], row["optimism_high"] = find_interval(standing.draws - honest.draws, fewest)
    return row


def _honest_scores(leaderboard: pd.DataFrame) -> dict[str, float]:
    rows = leaderboard[leaderboard["protocol"] == HONEST]
    return dict(zip(rows["recipe"], rows["macro_f1"], strict=True))


def _by_recipe(leaderboard: pd.DataFrame) -> Iterable[tuple[str, list[Row]]]:
    for recipe, rows in order_rows(leaderboard).groupby("recipe", sort=False):
        seeds = int(rows["seeds"].max())
        yield (f"{recipe} ({seeds} seeds)" if seeds > 1 else str(recipe)), rows.to_dict("records")


def _cells(row: Row) -> list[str]:
    optimism = f"{row['optimism']:+z.3f}{_range(row['optimism_low'], row['optimism_high'])}"
    return [
        f"{row['macro_f1']:.3f}{_spread(row)}{_range(row['macro_f1_low'], row['macro_f1_high'])}",
        "" if pd.isna(row["optimism"]) else optimism,
        f"{row['accuracy']:.3f}",
        "–" if pd.isna(row["miss_rate"]) else f"{row['miss_rate']:.3f}",
        f"{row['n']:,}",
        f"{row['groups']:,}",
        row["gate"].split(":", 1)[0],
    ]


def _spread(row: Row) -> str:
    return "" if pd.isna(row["macro_f1_spread"]) else f" ± {row['macro_f1_spread']:.3f}"


def _range(low: float, high: float, digits: int = 3) -> str:
    return "" if pd.isna(low) else f" [{low:z.{digits}f}, {high:z.{digits}f}]"


def _align(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines with as many cells as the first as columns, the others (headings) as they are."""
    full = [line for line in lines if len(line) == len(lines[0])]
    widths = [max(len(line[column]) for line in full) for column in range(len(lines[0]))]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    return [_align_line(line, widths) if line in full else _shorten(line[0], WIDTH) for line in lines]


def _align_line(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = line
    cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
    return "  ".join([_shorten(first, widths[0]).ljust(widths[0]), *cells, last]).rstrip()


def _explain(leaderboard: pd.DataFrame) -> list[str]:
    verdicts = dict(zip(leaderboard["protocol"], leaderboard["gate"], strict=True))
    notes = [f"{name}: {verdict}" for name, verdict in sorted(verdicts.items()) if verdict != "passed"]
    notes = ["What the gate found:", *notes] if notes else ["The gate found nothing."]
    if (leaderboard["seeds"] > 1).any():
        notes.append("± one standard deviation over seeds, of which the score is the mean.")
    notes.append("missed = share of tumours called no_tumor; intervals: group bootstrap, 95 %.")
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _tell(row: Row, honest: float) -> str:
    place = {"published": "as published", "stratified": "on a stratified split of images"}[row["protocol"]]
    sentence = (
        f"{row['recipe']}: {row['macro_f1']:.2f} {place}, {honest:.2f} on patients it has never seen: "
        f"optimism {row['optimism']:+z.2f}"
    )
    low, high = float(row["optimism_low"]), float(row["optimism_high"])
    if math.isnan(low):
        return f"{sentence}, with too few groups for an interval"
    doubt = "" if low > 0 or high < 0 else ", which these test sets cannot tell from none"
    return f"{sentence}{_range(low, high, digits=2)}{doubt}"
