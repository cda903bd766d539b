"""The search for copies by its scores: the histogram, the gap, and the pairs nearest to the threshold."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Bin, Comparison, Pair, Scores
from pipeline.tables import list_rows, map_cells

BIN_WIDTH = 0.01
LOWEST = 0.30  # scores below are far from any decision; they are counted in the first bin
NEAREST = 24
ALIGNED, DECISION = "aligned", "decision"

Row = Mapping[Hashable, Any]


def measure_comparison(evidence: Evidence) -> Comparison:
    """Scores of all compared pairs, way by way, with the weakest accepted and strongest rejected ones.

    Pairs that a person decided stand outside histograms and extremes: their scores prove nothing. Ties are
    broken by image_id, so that the order of rows never shows.
    """
    pairs, images = evidence.pairs, evidence.images
    home = dict(zip(images["image_id"], images["collection"] + "/" + images["path"], strict=True))
    labels = map_cells(images, "image_id", "label")
    ways = sorted(set(pairs["evidence"]) - {DECISION}, key=lambda way: (way != ALIGNED, way))
    return Comparison(
        pairs=len(pairs),
        by_verdict=_count(pairs["verdict"]),
        by_evidence=_count(pairs["evidence"]),
        scores=[_measure_scores(way, pairs[pairs["evidence"] == way], home, labels) for way in ways],
        review=_list_review(evidence),
    )


def _measure_scores(
    way: str, pairs: pd.DataFrame, home: Mapping[str, str], labels: Mapping[str, Any]
) -> Scores:
    keys = ["score", "first", "second"]
    copies = pairs[pairs["verdict"] == "copy"].sort_values(keys)
    rejected = pairs[pairs["verdict"] == "rejected"].sort_values(keys, ascending=[False, True, True])
    return Scores(
        evidence=way,
        by_verdict=_count(pairs["verdict"]),
        histogram=_bin_scores(pairs),
        lowest_copy=float(copies["score"].iloc[0]) if len(copies) else None,
        highest_rejected=float(rejected["score"].iloc[0]) if len(rejected) else None,
        nearest_copies=[_describe(row, home, labels) for row in list_rows(copies.head(NEAREST))],
        nearest_rejected=[_describe(row, home, labels) for row in list_rows(rejected.head(NEAREST))],
    )


def _count(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(values.value_counts().items())}


def _bin_scores(pairs: pd.DataFrame) -> list[Bin]:
    bins = round((1 - LOWEST) / BIN_WIDTH)
    # Scores have six decimals: the small shift keeps 0.90 in the bin that starts at 0.90.
    place = np.floor((pairs["score"].to_numpy(float) - LOWEST) / BIN_WIDTH + 1e-6)
    place = np.clip(place, 0, bins - 1).astype(int)
    verdict = pairs["verdict"].to_numpy(object)
    counts = {
        name: np.bincount(place[verdict == name], minlength=bins) for name in ("copy", "review", "rejected")
    }
    return [
        Bin(
            low=-1.0 if k == 0 else round(LOWEST + k * BIN_WIDTH, 6),
            high=round(LOWEST + (k + 1) * BIN_WIDTH, 6),
            **{name: int(count[k]) for name, count in counts.items()},
        )
        for k in range(bins)
    ]


def _describe(row: Row, files: Mapping[str, str], labels: Mapping[str, Any]) -> Pair:
    first, second = row["first"], row["second"]
    return Pair(
        first=first,
        second=second,
        first_file=files.get(first, "set aside"),
        second_file=files.get(second, "set aside"),
        first_label=_text(labels.get(first)),
        second_label=_text(labels.get(second)),
        score=row["score"],
        worst=None if pd.isna(row["worst"]) else row["worst"],
        evidence=row["evidence"],
        verdict=row["verdict"],
        why=row["why"],
    )


def _list_review(evidence: Evidence) -> list[Pair]:
    keys = ["first", "second"]
    known = evidence.review.merge(evidence.pairs[[*keys, "evidence", "verdict", "why"]], on=keys, how="left")
    return [
        Pair(
            first=row["first"],
            second=row["second"],
            first_file=row["first_file"],
            second_file=row["second_file"],
            first_label=_text(row["first_label"]),
            second_label=_text(row["second_label"]),
            score=row["score"],
            worst=None if pd.isna(row["worst"]) else row["worst"],
            evidence=_text(row["evidence"]) or "not compared",
            verdict=_text(row["verdict"]) or "review",
            why=_text(row["why"]) or "",
            decision=_text(row["decision"]),
        )
        for row in list_rows(known.sort_values(["score", *keys], ascending=[False, True, True]))
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
