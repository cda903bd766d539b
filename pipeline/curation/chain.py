"""Curation from raw folders to the split `patient` in one call: the functions of the assets, in order."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.catalog import Collection
from pipeline.curation.aside import keep_members, set_aside
from pipeline.curation.conflicts import list_conflicts
from pipeline.curation.foreign import judge_looks
from pipeline.curation.groups import form_groups
from pipeline.curation.inventory import Inventory, list_images, list_quarantine, take_inventory
from pipeline.curation.ledger import extend_ledger
from pipeline.curation.pairs import compare_images
from pipeline.curation.patients import find_patients
from pipeline.curation.pictures import find_pictures
from pipeline.curation.splits import split_patient
from pipeline.tables import find_table, from_arrow, to_arrow


@dataclass(frozen=True)
class Curated:
    """What was found on disk, and the tables up to the split `patient`, each under its own name."""

    found: Inventory
    foreign: pd.DataFrame
    files: pd.DataFrame
    quarantine: pd.DataFrame
    images: pd.DataFrame
    pairs: pd.DataFrame
    pictures: pd.DataFrame
    patients: pd.DataFrame
    groups: pd.DataFrame
    conflicts: pd.DataFrame
    ledger: pd.DataFrame
    split: pd.DataFrame


def curate(
    collections: Mapping[str, Collection],
    folders: Mapping[str, Path],
    *,
    workers: int = 1,
    before: Curated | None = None,
    unchanged: Container[str] = (),
) -> Curated:
    """All tables of the collections in `folders`, without decisions of people.

    Args:
        collections: the catalog's entries, by name.
        folders: collection -> its raw folder.
        workers: threads or processes; they change nothing but time.
        before: an earlier state of the same collections. Its assignments are carried forward; what it knows
            of an image or a pair is not measured again.
        unchanged: collections whose files are those that `before` was made of; they are not read again.

    Raises:
        SourceError: a folder cannot be read.
        GateError: the images do not fill a split, or the earlier assignments contradict it.
    """
    known: list[str] = list(before.images["image_id"]) if before else []
    found = take_inventory(
        collections,
        folders,
        workers=workers,
        previous=before.found if before else None,
        unchanged=unchanged,
    )
    references = sorted(name for name, collection in collections.items() if collection.reference)
    decisions = pd.DataFrame(columns=find_table("decisions").names)
    foreign = _judge_new(found, decisions, before)
    files = set_aside(found.files, decisions)
    images = list_images(files, references=references)
    own = found.thumbnails[found.thumbnails["image_id"].isin(images["image_id"])]
    pairs = compare_images(own, workers=workers, previous=before.pairs if before else None, known=known)
    pictures = find_pictures(pairs, images, references=references)
    patients = find_patients(pictures, images, keep_members(found.records, files), collections)
    groups = form_groups(pictures, patients)
    conflicts = list_conflicts(images, pictures, patients)
    ledger = before.ledger if before else None
    split = split_patient(
        images, patients, groups, pictures=pictures, ledger=ledger, conflicts=conflicts, looks=found.looks,
        foreign=foreign,
    )  # fmt: skip
    ledger = extend_ledger(ledger, split, pictures=pictures, patients=patients)
    return Curated(
        found, foreign, files, list_quarantine(files), images, pairs, pictures, patients, groups, conflicts,
        ledger, split,
    )  # fmt: skip


def _judge_new(found: Inventory, decisions: pd.DataFrame, before: Curated | None) -> pd.DataFrame:
    """The table `foreign`: whether an image is foreign is a function of its pixels, so old verdicts stand."""
    if before is None:
        return judge_looks(found.looks, found.thumbnails, found.files, decisions)
    old = list(before.found.looks["image_id"])
    looks, thumbnails = (frame[~frame["image_id"].isin(old)] for frame in (found.looks, found.thumbnails))
    judged = judge_looks(looks, thumbnails, found.files, decisions)
    still = before.foreign[before.foreign["image_id"].isin(found.looks["image_id"])]
    frame = pd.concat([still, judged]).sort_values("image_id", ignore_index=True)
    return from_arrow("foreign", to_arrow("foreign", frame))
