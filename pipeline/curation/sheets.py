"""Contact sheets of what curation found, drawn from the 64-pixel thumbnails: evidence for the eye."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.imaging.sheets import fit_sheet
from pipeline.labels import LABELS

SIDE = 64

Pixels = npt.NDArray[np.uint8]


def draw_labels(images: pd.DataFrame, thumbnails: pd.DataFrame, *, each: int = 8) -> bytes:
    """A row of examples for each label, the first by image_id, so that the choice is blind.

    Args:
        images: table `images`; those without a label are left out.
        thumbnails: table `thumbnails`, same image_ids.
        each: pictures a label.

    Raises:
        ValueError: no image has a label.
    """
    chosen = images.sort_values("image_id").groupby("label").head(each)
    chosen = chosen.assign(order=chosen["label"].map(LABELS.index)).sort_values(["order", "image_id"])
    pixels = _open(thumbnails)
    captions = [f"{row['label']}\n{row['collection']}" for row in chosen.to_dict("records")]
    return fit_sheet([pixels[name] for name in chosen["image_id"]], captions, columns=each, tile=88)


def draw_copies(
    images: pd.DataFrame, pictures: pd.DataFrame, thumbnails: pd.DataFrame, *, count: int = 8
) -> bytes | None:
    """The joins with the lowest scores, each image above the one that it was proven against.

    These are the joins to doubt first. None where nothing was joined.

    Args:
        images, pictures, thumbnails: the tables, same image_ids.
        count: pairs shown.
    """
    joined = pictures[pictures["joined_to"] != pictures["image_id"]]
    weakest = joined.sort_values(["score", "image_id"]).head(count).to_dict("records")
    if not weakest:
        return None
    pixels = _open(thumbnails)
    collection = dict(zip(images["image_id"], images["collection"], strict=True))
    upper = [f"{collection[row['image_id']]}\n{row['evidence']} {row['score']:.3f}" for row in weakest]
    lower = [f"{collection[row['joined_to']]}\n{_turn(row)}" for row in weakest]
    shown = [pixels[row["image_id"]] for row in weakest] + [pixels[row["joined_to"]] for row in weakest]
    return fit_sheet(shown, upper + lower, columns=len(weakest), tile=88)


def _turn(row: Mapping[Any, Any]) -> str:
    turns = [name for name in ("mirrored", "flipped") if row[name]]
    return " ".join(turns) or "upright"


def _open(thumbnails: pd.DataFrame) -> dict[str, Pixels]:
    return {
        row["image_id"]: np.frombuffer(row["pixels"], np.uint8).reshape(SIDE, SIDE)
        for row in thumbnails.to_dict("records")
    }
