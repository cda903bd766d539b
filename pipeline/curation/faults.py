"""Faults in tables: one row moved, lost or changed in a healthy world. Each says in words what it planted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.catalog import Collection
from pipeline.curation.chain import Curated
from pipeline.digests import seed_for
from pipeline.errors import GateError
from pipeline.labels import LABELS


@dataclass(frozen=True)
class World:
    """Collections on disk, the lock that pins their bytes, and the tables that were made of them.

    The catalog entries carry the counts that were found, so that a file more or less is also a wrong count.
    """

    collections: Mapping[str, Collection]
    folders: Mapping[str, Path]
    lock: Path
    curated: Curated


@dataclass(frozen=True)
class Fault:
    """A world with one fault in it.

    Attributes:
        words: what was planted.
        added: `collection/path` of each file that was put into a raw folder.
        forced: the files that a split must not train on together, those of `added` first.
    """

    words: str
    world: World
    added: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()


def plant_nothing(world: World, seed: int, scratch: Path) -> Fault:
    """The healthy control."""
    return Fault("nothing", world)


def leak_image(world: World, seed: int, scratch: Path) -> Fault:
    """A test image a second time, in training."""
    row = choose_row(list_used(world, "test"), seed, "image")
    again = pd.DataFrame([row]).assign(split="train", path="again.jpg")
    split = pd.concat([world.curated.split, again], ignore_index=True)
    words = f"{name_row(row)} stands in test, and once more in train"
    return Fault(words, _replace_tables(world, split=split))


def leak_picture(world: World, seed: int, scratch: Path) -> Fault:
    """One of several images of a test picture in training; of an unknown patient, where there is one."""
    used = list_used(world, "test").merge(world.curated.patients[["image_id", "patient_id"]], on="image_id")
    copied = used[_count_within(used, "picture_id", "image_id") > 1]
    unknown = copied[copied["patient_id"].isna()]
    row = choose_row(unknown if len(unknown) else copied, seed, "picture")
    words = f"{name_row(row)} moved from test to train; a copy of it stays in test"
    return Fault(words, _move(world, [row["image_id"]], "train"))


def leak_patient(world: World, seed: int, scratch: Path) -> Fault:
    """All images of one picture of a test patient in training; other pictures of the head stay."""
    used = list_used(world, "test").merge(world.curated.patients[["image_id", "patient_id"]], on="image_id")
    used = used[used["patient_id"].notna()]
    row = choose_row(used[_count_within(used, "patient_id", "picture_id") > 1], seed, "patient")
    ids = used.loc[used["picture_id"] == row["picture_id"], "image_id"].tolist()
    words = f"{name_row(row)} moved from test to train; {row['patient_id']} has other pictures in test"
    return Fault(words, _move(world, ids, "train"))


def move_group(world: World, seed: int, scratch: Path) -> Fault:
    """A whole group from test to training: nothing is shared, and yet what was test is trained on."""
    used = list_used(world, "test").merge(world.curated.groups[["image_id", "group_id"]], on="image_id")
    row = choose_row(used, seed, "group")
    ids = used.loc[used["group_id"] == row["group_id"], "image_id"].tolist()
    words = f"{name_row(row)} and the rest of its group ({len(ids)} images in all) moved from test to train"
    return Fault(words, _move(world, ids, "train"))


def lose_row(world: World, seed: int, scratch: Path) -> Fault:
    """A training image that the split forgets."""
    row = choose_row(list_used(world, "train"), seed, "row")
    split = world.curated.split
    kept = split[split["image_id"] != row["image_id"]].reset_index(drop=True)
    return Fault(f"{name_row(row)} struck from the split without a word", _replace_tables(world, split=kept))


def lose_account(world: World, seed: int, scratch: Path) -> Fault:
    """A file that was set aside, and is then in no account."""
    aside = world.curated.quarantine
    row = choose_row(aside, seed, "account")
    kept = aside[(aside["collection"] != row["collection"]) | (aside["path"] != row["path"])]
    words = f"{name_row(row)} ({row['reason']}) struck from the quarantine"
    return Fault(words, _replace_tables(world, quarantine=kept.reset_index(drop=True)))


def change_label(world: World, seed: int, scratch: Path) -> Fault:
    """A test image that is scored against another label than its own."""
    row = choose_row(list_used(world, "test"), seed, "relabel")
    wrong = LABELS[(LABELS.index(row["label"]) + 1) % len(LABELS)]
    split = world.curated.split.copy()
    split.loc[split["image_id"] == row["image_id"], "label"] = wrong
    words = f"{name_row(row)}, a {row['label']}, called {wrong} in the split"
    return Fault(words, _replace_tables(world, split=split))


def empty_class(world: World, seed: int, scratch: Path) -> Fault:
    """A class that validation lacks."""
    label = LABELS[seed_for(seed, "class") % len(LABELS)]
    used = list_used(world, "val")
    ids = used.loc[used["label"] == label, "image_id"].tolist()
    return Fault(f"all {len(ids)} {label} images of val left out", _move(world, ids, "left_out"))


def force_training(world: World, places: Sequence[str]) -> World:
    """A world whose split trains on the files of `places` (collection/path), whatever curation said.

    A file that the split does not have is added, under the label as its collection spells it.
    """
    split = world.curated.split.copy()
    chosen = (split["collection"] + "/" + split["path"]).isin(list(places))
    seen = dict(zip(world.curated.images["image_id"], world.curated.images["labels"], strict=True))
    for image_id in split.loc[chosen, "image_id"]:
        split.loc[split["image_id"] == image_id, "label"] = seen[image_id][0]
    split.loc[chosen, "split"] = "train"
    known = set((split["collection"] + "/" + split["path"])[chosen])
    files = world.curated.files
    missing = files[(files["collection"] + "/" + files["path"]).isin(set(places) - known)]
    rows = missing.rename(columns={"md5": "image_id"}).assign(
        label=missing["published_label"], split="train", why="forced", picture_id=None, copy_rank=None
    )
    if len(rows):
        split = pd.concat([split.astype(object), rows[split.columns].astype(object)], ignore_index=True)
    return _replace_tables(world, split=split)


def list_used(world: World, part: str) -> pd.DataFrame:
    """Rows of the world's split that are in a part of it."""
    split = world.curated.split
    return split[split["split"] == part]


def choose_row(rows: pd.DataFrame, seed: int, what: str) -> "pd.Series":
    """One row of a table with collection and path: a function of the seed and of its content, in any order.

    Raises:
        GateError: there is none, so the fault cannot be planted.
    """
    if rows.empty:
        raise GateError(f"control {what!r}: these tables hold nothing to plant it in; draw larger phantoms")
    keys = [seed_for(seed, what, row["collection"], row["path"]) for row in rows.to_dict("records")]
    return rows.iloc[int(np.argmin(keys))]


def name_row(row: "pd.Series") -> str:
    """`collection/path`."""
    return f"{row['collection']}/{row['path']}"


def _count_within(rows: pd.DataFrame, group: str, what: str) -> "pd.Series[int]":
    return rows.groupby(group)[what].transform("nunique")


def _move(world: World, ids: Sequence[str], part: str) -> World:
    split = world.curated.split.copy()
    split.loc[split["image_id"].isin(list(ids)), "split"] = part
    return _replace_tables(world, split=split)


def _replace_tables(world: World, **tables: Any) -> World:
    return replace(world, curated=replace(world.curated, **tables))
