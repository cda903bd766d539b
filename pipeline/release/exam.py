"""The exam: which val images challenger and champion are compared on, so that neither has seen any of them.

An image of val is *settled* if it was in val when the champion was released: people and clauses have trusted
its label before. The others are *newcomers*: their labels come from the same hands as the data that the
challenger was trained on, so that a mislabelled collection agrees with the model that learned from it.
"""

from dataclasses import dataclass

import pandas as pd

from pipeline.curation.copies import keep_one_copy
from pipeline.errors import ReleaseError

SETTLED, NEWCOMER = "settled", "newcomer"
COLUMNS = ["image_id", "collection", "path", "label", "group_id", "part"]


@dataclass(frozen=True)
class Exam:
    """The rows to be answered, and how many val images were left out as the champion's training saw them."""

    rows: pd.DataFrame
    """Columns `COLUMNS`, sorted by (collection, path)."""
    seen: int


def set_exam(split: pd.DataFrame, groups: pd.DataFrame, known: pd.DataFrame | None = None) -> Exam:
    """Choose the val images on which a challenger of the present split may be compared with the champion.

    Every picture counts once, of all collections: models that were trained on some of them are judged on the
    same images as the others. What shares a group with an image that the champion was trained on is left out.

    Args:
        split: table `splits` under `patient`.
        groups: table `groups`.
        known: table `known` of the champion: its train and val images; None where there is no champion, and
            every image is settled.

    Raises:
        ReleaseError: no val image is left.
    """
    trained, judged = _recall(known, "train"), _recall(known, "val")
    val = keep_one_copy(_prefer_judged(split[split["split"] == "val"], judged))
    homes = groups[["image_id", "group_id"]]
    rows = val.merge(homes, on="image_id", how="left", validate="many_to_one")
    seen = rows["group_id"].isin(set(homes.loc[homes["image_id"].isin(trained), "group_id"]))
    settled = rows["image_id"].isin(judged) if known is not None else pd.Series(True, index=rows.index)
    rows = rows.assign(part=settled.map({True: SETTLED, False: NEWCOMER}))[~seen]
    if rows.empty:
        raise ReleaseError(
            f"of {len(val)} val images under `patient` none is new to the champion, so nothing can be "
            "compared; bring in new patients, or take the champion back with `make rollback`"
        )
    return Exam(rows[COLUMNS].sort_values(["collection", "path"], ignore_index=True), int(seen.sum()))


def remember(split: pd.DataFrame) -> pd.DataFrame:
    """Table `known` of a model that was trained on this split: its train and val images, whatever it used.

    More than a recipe with few collections trained on: an image that it could have seen counts as seen.
    """
    rows = split.loc[split["split"].isin(["train", "val"]), ["image_id", "split"]]
    return rows.drop_duplicates().sort_values("image_id", ignore_index=True)


def _prefer_judged(val: pd.DataFrame, judged: set[str]) -> pd.DataFrame:
    """Without new copies of pictures that the champion was judged on: those pictures are not new."""
    old = val["image_id"].isin(judged)
    pictures = set(val.loc[old, "picture_id"].dropna())
    return val[old | ~val["picture_id"].isin(pictures)]


def _recall(known: pd.DataFrame | None, part: str) -> set[str]:
    return set() if known is None else set(known.loc[known["split"] == part, "image_id"])
