"""Slices to try the app with: test images of `patient`, which no model under `patient` was trained on."""

from dataclasses import dataclass

import pandas as pd

from pipeline.curation.copies import keep_one_copy
from pipeline.digests import seed_for
from pipeline.labels import LABELS


@dataclass(frozen=True)
class Example:
    """A slice of the lake; `label` is the truth, which the page hides until it is asked for."""

    image_id: str
    collection: str
    path: str
    label: str


def choose_examples(split: pd.DataFrame, *, each: int = 4) -> list[Example]:
    """A few test images of every label, mixed, one copy a picture; which ones follows from their ids alone.

    Args:
        split: table `splits/patient`.
        each: images of each label, or as many as there are.
    """
    tested = keep_one_copy(split[split["split"] == "test"]).drop_duplicates("image_id")
    rows = sorted(tested.to_dict("records"), key=lambda row: seed_for("example", row["image_id"]))
    chosen = [row for label in LABELS for row in [one for one in rows if one["label"] == label][:each]]
    chosen.sort(key=lambda row: seed_for("place", row["image_id"]))
    return [
        Example(*(str(row[name]) for name in ("image_id", "collection", "path", "label"))) for row in chosen
    ]
