"""Assignments carried forward: whoever has been in test stays in test, whatever is added later."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.curation.groups import form_groups

PARTS = ("train", "val", "test")  # weakest first: what gives way when two turn out to be connected

Row = dict[Hashable, Any]


def carry_forward(
    rows: Sequence[Row],
    previous: pd.DataFrame | None,
    patients: pd.DataFrame,
    pictures: pd.DataFrame | None,
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """What earlier assignments say of the rows of today; an image that was left out counts as new.

    Args:
        rows: image_id and group_id of each image that may be used.
        previous: an earlier table of protocol `patient`; None where there is none.
        patients: table `patients`, which with `pictures` tells what is connected without newcomers.
        pictures: table `pictures`; without it all images of a group count as connected.

    Returns:
        image_id -> (split, why) of what keeps or joins a split, and image_id -> why of what may not be used.
    """
    if previous is None:
        return {}, {}
    before = {row["image_id"]: row["split"] for row in previous.to_dict("records") if row["split"] in PARTS}
    members: dict[str, list[str]] = {}
    for row in rows:
        members.setdefault(row["group_id"], []).append(row["image_id"])
    kept: dict[str, tuple[str, str]] = {}
    barred: dict[str, str] = {}
    for ids in members.values():
        held = sorted({before[one] for one in ids if one in before}, key=PARTS.index)
        if len(held) == 1:
            kept |= {
                one: (held[0], "kept from before" if one in before else f"joins its group in {held[0]}")
                for one in ids
            }
        elif held:
            old = [one for one in ids if one in before]
            bridge = f"bridges splits: its group is in {' and '.join(held)} already"
            barred |= {one: bridge for one in ids if one not in before}
            barred |= _bar_weaker(old, before, patients, pictures)
            kept |= {one: (before[one], "kept from before") for one in old if one not in barred}
    return kept, barred


def _bar_weaker(
    old: Sequence[str], before: Mapping[str, str], patients: pd.DataFrame, pictures: pd.DataFrame | None
) -> dict[str, str]:
    """Of old images that are connected across splits, those outside the strongest split, with why."""
    theirs = patients[patients["image_id"].isin(old)]
    if pictures is None:
        links = pd.DataFrame({"image_id": list(old), "picture_id": "one"})
    else:
        links = pictures[pictures["image_id"].isin(old)]
    barred: dict[str, str] = {}
    for _, ids in form_groups(links, theirs).groupby("group_id")["image_id"]:
        strongest = max((before[one] for one in ids), key=PARTS.index)
        why = f"now shares a picture or patient with {strongest}: {{}} gives way"
        barred |= {one: why.format(before[one]) for one in ids if before[one] != strongest}
    return barred
