"""Which image trains, validates and tests, under each protocol. Every row says which rule put it there."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.catalog import Collection
from pipeline.curation.balance import assign_groups, repeat_parts
from pipeline.curation.eligibility import NO_LABEL, list_entries, make_table, place_entries
from pipeline.curation.ledger import PARTS, carry_forward, extend_ledger, recall_splits
from pipeline.digests import seed_for
from pipeline.errors import GateError
from pipeline.tables import list_rows

SHARES = (0.70, 0.15, 0.15)
VAL_SHARE = 0.15  # of a published training part
DRAWN = "70/15/15 of the groups of its label"

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
    rows = list_rows(kept)
    strata: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["published_split"] == "train" and isinstance(row["label"], str):
            stratum = (row["collection"], row["label"])
            strata[row["md5"]] = min(strata.get(row["md5"], stratum), stratum)
    val = _draw_parts(strata, (1 - VAL_SHARE, VAL_SHARE), "published")
    return make_table(
        [
            (row["md5"], row["collection"], row["path"], row["label"], *_place_file(row, val), None, None)
            for row in rows
        ]
    )


def split_stratified(images: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Protocol `stratified`: MD5-distinct images, 70/15/15 by label, drawn by (seed, image_id).

    Args:
        images: table `images`; an image without a label is left out.
        seed: another seed, another draw.
    """
    rows = list_rows(images.sort_values("image_id"))
    strata = {row["image_id"]: ("", row["label"]) for row in rows if isinstance(row["label"], str)}
    drawn = _draw_parts(strata, SHARES, "stratified", seed)
    placed = {one: (PARTS[part], "70/15/15 of the images of its label") for one, part in drawn.items()}
    aside = ("left_out", NO_LABEL)
    return make_table(
        [
            (one, row["collection"], row["path"], row["label"], *placed.get(one, aside), None, None)
            for row in rows
            for one in [row["image_id"]]
        ]
    )


def split_patient(
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    pictures: pd.DataFrame,
    ledger: pd.DataFrame | None = None,
    previous: pd.DataFrame | None = None,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    looks: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Protocol `patient`: whole groups, 70/15/15, balanced in images and groups of each label.

    Left out, each with why: what `conflicts` sets aside, and what earlier assignments bar (see
    `carry_forward`): a newcomer that bridges splits, and the weaker side where old images turn out to be
    connected. Whoever has a home in the ledger is there or left out: nothing ever moves from test to train.
    The rest goes group by group (see `assign_groups`).

    The table follows from the ledger: split, extend the ledger by it, write the ledger, then this table.
    Splitting the same tables again with the extended ledger gives the same table, so that a kill between
    the two writes loses nothing.

    Args:
        images: table `images`.
        patients: table `patients`, same image_ids.
        groups: table `groups`, same image_ids.
        pictures: table `pictures`, same image_ids.
        ledger: table `ledger`: all assignments ever made, also of images that are gone.
        previous: an earlier table of this protocol, for assignments that the ledger lacks.
        conflicts: table `conflicts`; without it the rules of `list_conflicts` are applied here.
        keep_contradicted: for those rules: train on images that the reference contradicts, under its label.
        looks: table `looks`, for the choice between the copies of a picture.
        foreign: table `foreign`: what does not look like a brain MR slice is left out, unless kept.

    Raises:
        GateError: a class has too few groups for every split to hold it; the ledger contradicts itself, or
            `previous` contradicts it.
        TableError: the tables hold different images.
    """
    entries = list_entries(
        images, patients, groups, pictures,
        conflicts=conflicts, keep_contradicted=keep_contradicted, looks=looks, foreign=foreign,
    )  # fmt: skip
    if previous is not None:
        ledger = extend_ledger(ledger, previous, pictures=pictures, patients=patients)
    placed = carry_forward(entries, recall_splits(ledger), strength=lambda part, _: PARTS.index(part))
    free = [entry for entry in entries if entry.aside is None and entry.image_id not in placed]
    kept = {
        part: [entry for entry in entries if placed.get(entry.image_id, ("",))[0] == part] for part in PARTS
    }
    parts = assign_groups(free, kept, dict(zip(PARTS, SHARES, strict=True)), protocol="patient")
    placed |= {entry.image_id: (parts[entry.group_id], DRAWN) for entry in free}
    return place_entries(entries, placed)


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
        for image_id, part in zip(ids, repeat_parts(apportion(len(ids), shares)), strict=True)
    }


def apportion(count: int, shares: Sequence[float]) -> list[int]:
    """`count` things over `shares` by largest remainder (Hamilton); ties go to the later part, test first."""
    quotas = [round(count * share, 9) for share in shares]
    floors = [int(quota) for quota in quotas]
    order = sorted(range(len(shares)), key=lambda part: (floors[part] - quotas[part], -part))
    for part in order[: count - sum(floors)]:
        floors[part] += 1
    return floors
