"""The costliest mistakes one by one: tumours that were called `no_tumor`, and the pictures of them."""

from collections.abc import Callable, Sequence

import pandas as pd

from pipeline.curation.thumbnails import open_thumbnails
from pipeline.evaluation.predictions import PROBABILITIES, read_answers, take_variant
from pipeline.imaging.sheets import fit_sheet
from pipeline.labels import LABELS, TUMOURS
from pipeline.tables import list_rows

COLUMNS = ["image_id", "collection", "path", "label", "group_id", *PROBABILITIES]
SHOWN = 24

Thumbnails = Callable[[Sequence[str]], pd.DataFrame]
"""What gives the rows of table `thumbnails` of the images named."""


def list_misses(predictions: pd.DataFrame) -> pd.DataFrame:
    """The clean tumour images of one model that it called `no_tumor`, the surest mistake first.

    Returns:
        `COLUMNS`, a row a file; empty where no tumour was missed.

    Raises:
        TableError: as `take_variant`.
    """
    rows = take_variant(predictions).sort_values(["collection", "path"], ignore_index=True)
    called = read_answers(rows).predicted == LABELS.index("no_tumor")
    missed: pd.DataFrame = rows.loc[called & rows["label"].isin(TUMOURS).to_numpy(), COLUMNS]
    order = ["p_no_tumor", "collection", "path"]
    ordered: pd.DataFrame = missed.sort_values(order, ascending=[False, True, True], ignore_index=True)
    return ordered


def draw_misses(misses: pd.DataFrame, thumbnails: Thumbnails, *, count: int = SHOWN) -> bytes | None:
    """A contact sheet of the surest misses: true class, probability of `no_tumor`, collection and file.

    Args:
        misses: as `list_misses` gives them.
        thumbnails: gives the thumbnails of the images named.
        count: pictures shown.

    Returns:
        PNG of at most 100 kB; None where there is no miss.
    """
    shown = list_rows(misses.head(count))
    if not shown:
        return None
    chosen = thumbnails([row["image_id"] for row in shown])
    pixels = dict(zip(chosen["image_id"], open_thumbnails(chosen), strict=True))
    captions = [
        f"{row['label']}\nno_tumor {row['p_no_tumor']:.3f}\n{row['collection']}\n"
        f"{str(row['path']).rsplit('/', 1)[-1]}"
        for row in shown
    ]
    return fit_sheet([pixels[row["image_id"]] for row in shown], captions, columns=6, tile=112)


def render_misses(misses: pd.DataFrame, *, count: int = SHOWN) -> str:
    """The misses as a markdown table, at most `count` rows, and how many more there are."""
    if misses.empty:
        return "no tumour was called no_tumor"
    heads = ["file", "true class", *PROBABILITIES, "group", "image"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * len(PROBABILITIES) + "---|---|"]
    for row in list_rows(misses.head(count)):
        file = f"{row['collection']}/{row['path']}".replace("|", "\\|")
        chances = [f"{row[name]:.3f}" for name in PROBABILITIES]
        cells = [file, row["label"], *chances, row["group_id"][:12], row["image_id"]]
        lines.append("| " + " | ".join(cells) + " |")
    more = len(misses) - count
    return "\n".join(lines) + (
        f"\n\n… and {more:,} more, all in `misses.csv` of the MLflow run" if more > 0 else ""
    )
