"""Which image trains, validates and tests, under each protocol. Every row says which rule put it there."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from pipeline.catalog import Collection
from pipeline.curation.ledger import PARTS, carry_forward
from pipeline.curation.milp import Demand, Ints, share_out
from pipeline.digests import seed_for
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.tables import find_table

SHARES = (0.70, 0.15, 0.15)
VAL_SHARE = 0.15  # of a published training part
GROUP_WEIGHT = 10.0  # one group off target costs as much as ten images: groups are what intervals count
COLLECTION_WEIGHT = 0.5  # a class within one collection, in images
NO_LABEL = "its files carry different labels and no reference decides"

Row = dict[Hashable, Any]


def split_published(
    files: pd.DataFrame, images: pd.DataFrame, collections: Mapping[str, Collection]
) -> pd.DataFrame:
    """Protocol `published`: the collections' own folders, file by file, with the folder's own label.

    15 % of each published training part become val, per collection and label, drawn by image_id; an image
    whose bytes lie in several strata is drawn in the first of them, so that byte-identical files stay
    together. Copies across the published folders stay: they are what the gate measures.

    Args:
        files: table `files`; set-aside files and collections without a published split are absent.
        images: table `images`; every kept file is a member of one.
        collections: the catalog; a collection's rows are used only if it is in there.

    Raises:
        GateError: a kept file is a member of no image.
    """
    kept = files[files["reason"].isna() & files["published_split"].notna()]
    kept = kept[kept["collection"].isin(list(collections))].sort_values(["collection", "path"])
    stray = sorted(set(kept["md5"]) - set(images["image_id"]))
    if stray:
        raise GateError(f"{len(stray)} kept files belong to no image, the first has MD5 {stray[0]}")
    rows = kept.to_dict("records")
    strata: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["published_split"] == "train" and isinstance(row["label"], str):
            stratum = (row["collection"], row["label"])
            strata[row["md5"]] = min(strata.get(row["md5"], stratum), stratum)
    val = _draw_parts(strata, (1 - VAL_SHARE, VAL_SHARE), "published")
    return _make_table(
        (row["md5"], row["collection"], row["path"], row["label"], *_place_file(row, val)) for row in rows
    )


def split_stratified(images: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Protocol `stratified`: MD5-distinct images, 70/15/15 by label, drawn by (seed, image_id).

    Args:
        images: table `images`; an image without a label is left out.
        seed: another seed, another draw.
    """
    rows = images.sort_values("image_id").to_dict("records")
    strata = {row["image_id"]: ("", row["label"]) for row in rows if isinstance(row["label"], str)}
    drawn = _draw_parts(strata, SHARES, "stratified", seed)
    placed = {
        image_id: (PARTS[part], "70/15/15 of the images of its label") for image_id, part in drawn.items()
    }
    return _place_images(rows, placed, {row["image_id"]: NO_LABEL for row in rows})


def split_patient(
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    previous: pd.DataFrame | None = None,
    pictures: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Protocol `patient`: whole groups, 70/15/15, balanced in images and groups of each label.

    Left out, each with why: an image without a label; one whose label contradicts the reference; all of a
    picture group of unknown patient whose labels disagree. The rest goes group by group: alike groups by
    the MILP's counts, in the order of a hash of group_id.

    Assignments of `previous` are carried forward. A group keeps its split and newcomers join it there. A
    group whose images were in several splits keeps them where they were; its newcomers are left out, and
    where the old images themselves are connected, the weaker side (train before val before test) is left
    out: nothing ever moves from test to train.

    Args:
        images: table `images`.
        patients: table `patients`, same image_ids.
        groups: table `groups`, same image_ids.
        previous: an earlier table of this protocol.
        pictures: table `pictures`; tells which old images of a bridged group are connected without the
            newcomers. Without it all of them count as connected.

    Raises:
        GateError: a class has too few groups for every split to hold it.
    """
    known = images.merge(patients, on="image_id").merge(groups, on="image_id").sort_values("image_id")
    rows = known.to_dict("records")
    aside = _find_conflicts(rows)
    eligible = [row for row in rows if row["image_id"] not in aside]
    kept, barred = carry_forward(eligible, previous, patients, pictures)
    aside |= barred
    open_rows = [row for row in eligible if row["image_id"] not in aside and row["image_id"] not in kept]
    kept_rows = [(row, kept[row["image_id"]][0]) for row in eligible if row["image_id"] in kept]
    parts = _assign_groups(open_rows, kept_rows)
    placed = kept | {
        row["image_id"]: (parts[row["group_id"]], "70/15/15 of the groups of its label") for row in open_rows
    }
    return _place_images(rows, placed, aside)


def _place_file(row: Row, val: Mapping[str, int]) -> tuple[str, str]:
    if not isinstance(row["label"], str):
        return "left_out", "no label"
    if row["published_split"] == "test":
        return "test", "the published test folder"
    if val[row["md5"]]:
        return "val", "15 % of the published training folder"
    return "train", "the published training folder"


def _draw_parts(
    strata: Mapping[str, tuple[str, str]], shares: Sequence[float], *key: object
) -> dict[str, int]:
    """A part for each image_id: per stratum by largest remainder, in the order of a hash of the id."""
    members: dict[tuple[str, str], list[str]] = {}
    for image_id in sorted(strata, key=lambda one: (seed_for(*key, one), one)):
        members.setdefault(strata[image_id], []).append(image_id)
    return {
        image_id: part
        for ids in members.values()
        for image_id, part in zip(ids, _repeat_parts(apportion(len(ids), shares)), strict=True)
    }


def _repeat_parts(counts: Sequence[int]) -> list[int]:
    return [part for part, count in enumerate(counts) for _ in range(count)]


def apportion(count: int, shares: Sequence[float]) -> list[int]:
    """`count` things over `shares` by largest remainder (Hamilton); ties go to the later part, test first."""
    quotas = [round(count * share, 9) for share in shares]
    floors = [int(quota) for quota in quotas]
    order = sorted(range(len(shares)), key=lambda part: (floors[part] - quotas[part], -part))
    for part in order[: count - sum(floors)]:
        floors[part] += 1
    return floors


def _find_conflicts(rows: Sequence[Row]) -> dict[str, str]:
    """Images that cannot be trained on or scored against, with why."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        if row["safety"] == "picture" and isinstance(row["label"], str):
            seen.setdefault(row["group_id"], set()).add(row["label"])
    aside: dict[str, str] = {}
    for row in rows:
        label, reference, labels = row["label"], row["reference_label"], seen.get(row["group_id"], set())
        if not isinstance(label, str):
            aside[row["image_id"]] = NO_LABEL
        elif isinstance(reference, str) and label != reference:
            aside[row["image_id"]] = f"label contradicts reference: {label} here, {reference} there"
        elif len(labels) > 1:
            aside[row["image_id"]] = (
                f"copies of this picture carry different labels: {', '.join(sorted(labels))}"
            )
    return aside


def _refuse_scarce(rows: Iterable[Row]) -> NoReturn:
    groups: dict[str, set[str]] = {label: set() for label in LABELS}
    for row in rows:
        groups[row["label"]].add(row["group_id"])
    counts = ", ".join(f"{label} has {len(found)}" for label, found in groups.items())
    raise GateError(
        f"split `patient`: not every class can be in train, val and test. Groups per class: {counts}; each "
        f"needs at least {len(PARTS)} that share no picture or patient, and one in each split that earlier "
        "assignments leave open: add a collection with new patients of the scarce classes"
    )


def _assign_groups(open_rows: Sequence[Row], kept_rows: Sequence[tuple[Row, str]]) -> dict[str, str]:
    """A split for each open group."""
    cells = sorted(
        {(row["collection"], row["label"]) for row in [*open_rows, *(row for row, _ in kept_rows)]}
    )
    counts = _count_features(((row, row["group_id"]) for row in open_rows), cells)
    placed = np.zeros((len(PARTS), 2 * len(LABELS) + len(cells)), np.int64)
    for part, held in enumerate(PARTS):
        own = ((row, row["group_id"]) for row, split in kept_rows if split == held)
        placed[part] = sum(_count_features(own, cells).values(), placed[part])
    alike: dict[tuple[int, ...], list[str]] = {}
    for group_id in sorted(counts, key=lambda one: (seed_for("patient", one), one)):
        alike.setdefault(tuple(counts[group_id].tolist()), []).append(group_id)
    types = sorted(alike)
    amounts = share_out(
        Demand(
            types=np.array(types, np.int64).reshape(len(types), placed.shape[1]),
            sizes=np.array([len(alike[kind]) for kind in types], np.int64),
            placed=placed,
            shares=np.array(SHARES),
            weights=np.repeat([1.0, GROUP_WEIGHT, COLLECTION_WEIGHT], [len(LABELS), len(LABELS), len(cells)]),
            required=np.arange(placed.shape[1]) < len(LABELS),
            wanted=np.arange(placed.shape[1]) >= 2 * len(LABELS),
        )
    )
    if amounts is None:
        _refuse_scarce([*open_rows, *(row for row, _ in kept_rows)])
    return {
        group_id: PARTS[part]
        for kind, row in zip(types, amounts.tolist(), strict=True)
        for group_id, part in zip(alike[kind], _repeat_parts(row), strict=True)
    }


def _count_features(rows: Iterable[tuple[Row, str]], cells: Sequence[tuple[str, str]]) -> dict[str, Ints]:
    """Per group: images of each label, whether it has the label, images of each collection × label."""
    width = len(LABELS)
    counts: dict[str, Ints] = {}
    for row, group_id in rows:
        vector = counts.setdefault(group_id, np.zeros(2 * width + len(cells), np.int64))
        label = LABELS.index(row["label"])
        vector[label] += 1
        vector[width + label] = 1
        vector[2 * width + cells.index((row["collection"], row["label"]))] += 1
    return counts


def _place_images(
    rows: Sequence[Row], placed: Mapping[str, tuple[str, str]], aside: Mapping[str, str]
) -> pd.DataFrame:
    return _make_table(
        (
            row["image_id"],
            row["collection"],
            row["path"],
            row["label"],
            *(placed.get(row["image_id"]) or ("left_out", aside[row["image_id"]])),
        )
        for row in rows
    )


def _make_table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    table = find_table("splits")
    return pd.DataFrame(list(rows), columns=table.names).sort_values(list(table.key), ignore_index=True)
