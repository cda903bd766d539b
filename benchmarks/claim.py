"""The figure of docs/what_98_means.md: what each published test image is a copy of, from an audit's JSON.

python -m benchmarks.claim HOME/reports/audit.json docs/what_98_means.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.atomic import write_bytes
from pipeline.evaluation.canvas import add_panel, new_figure, png

KINDS = {
    "byte_identical": ("the same bytes: what MD5 sees", "#7a0c1e"),
    "same_picture": ("the same picture, re-encoded or re-scaled", "#c2412d"),
    "turned": ("the same picture, mirrored or turned", "#e8894a"),
    "same_patient": ("another slice of a training patient", "#f2c879"),
    "none": ("no known twin", "#8fb3a8"),
}


def draw_claim(tests: list[dict[str, Any]]) -> bytes:
    """PNG: a bar a published test set and class, cut by the closest twin in the own training folder."""
    rows = [test for test in tests if test["whose"] == "own"]
    figure = new_figure(
        "Published test images, by their closest twin in training",
        "Each image counts once, by the first kind that applies",
        height := 2.0 + 0.3 * len(rows),
        note="",
    )
    axes = add_panel(figure, 2.4, 1.2, 4.4, height - 1.8)
    names = [f"{row['collection']}, {row['label'] or 'all'} ({row['total']:,})" for row in rows]
    starts = [0.0] * len(rows)
    for kind, (words, colour) in KINDS.items():
        shares = [100 * row[kind] / row["total"] for row in rows]
        axes.barh(names, shares, left=starts, color=colour, label=words, height=0.72)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the test images")
    figure.legend(*axes.get_legend_handles_labels(), loc="lower left", ncol=2, frameon=False, fontsize=8)
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audit", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    write_bytes(options.target, draw_claim(json.loads(options.audit.read_text())["tests"]))


if __name__ == "__main__":
    main()
