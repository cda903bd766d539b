"""What each protocol puts where: part × label × collection, in images, pictures, patients and groups."""

from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Cell, Crossing, LeftOut
from pipeline.labels import LABELS, SPLITS

FOLD = "fold"


def measure_splits(evidence: Evidence) -> tuple[list[Cell], list[LeftOut], list[Crossing]]:
    """Cells of all protocols and of the folds (`fold`, parts 1 to 5), what was left out, what crosses.

    Rows without a label are in no cell; they are left out, and counted there. What crosses is recounted here
    from pictures and patients, whatever the split's own code promised.
    """
    cells: list[Cell] = []
    left: list[LeftOut] = []
    crossings: list[Crossing] = []
    for protocol, rows in sorted(_join_splits(evidence).items()):
        parts = SPLITS if protocol != FOLD else sorted(set(rows["split"]) - {"left_out"})
        cells += _count_cells(protocol, rows, parts)
        left += _count_left_out(protocol, rows[rows["split"] == "left_out"])
        crossings.append(_count_crossing(protocol, rows[rows["split"] != "left_out"]))
    return cells, left, crossings


def _join_splits(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Every protocol's rows with picture, patient and group; the folds as one protocol more."""
    known = evidence.pictures[["image_id", "picture_id"]]
    known = known.merge(evidence.patients[["image_id", "patient_id"]], on="image_id")
    known = known.merge(evidence.groups[["image_id", "group_id"]], on="image_id")
    names = ["image_id", "collection", "label", "split", "why", "copy_rank"]
    splits = {protocol: split[names] for protocol, split in evidence.splits.items()}
    if len(evidence.folds):
        folds = evidence.folds.merge(evidence.images[["image_id", "collection", "label"]], on="image_id")
        places = ["left_out" if pd.isna(fold) else str(int(fold)) for fold in folds["fold"]]
        splits[FOLD] = folds.assign(split=places, copy_rank=None)[names]
    return {protocol: rows.merge(known, on="image_id") for protocol, rows in splits.items()}


def _count_crossing(protocol: str, rows: pd.DataFrame) -> Crossing:
    sides = rows["split"] if protocol == FOLD else (rows["split"] == "test").astype(str)
    crossing = {}
    for column in ("image_id", "picture_id", "patient_id"):
        several = sides.groupby(rows[column]).nunique() > 1
        crossing[column] = set(several.index[several])
    tested = rows if protocol == FOLD else rows[rows["split"] == "test"]
    hit = tested["picture_id"].isin(crossing["picture_id"]) | tested["patient_id"].isin(
        crossing["patient_id"]
    )
    return Crossing(
        protocol=protocol,
        test=len(tested),
        images=len(crossing["image_id"]),
        pictures=len(crossing["picture_id"]),
        patients=len(crossing["patient_id"]),
        affected=int(hit.sum()),
    )


def _count_cells(protocol: str, joined: pd.DataFrame, parts: Sequence[str]) -> Iterator[Cell]:
    ranks = joined["copy_rank"]
    joined = joined.assign(stands=ranks.isna() | (ranks == 0))
    for part in parts:
        for label in LABELS:
            rows = joined[(joined["split"] == part) & (joined["label"] == label)]
            for collection, own in rows.groupby("collection"):
                yield Cell(
                    protocol=protocol,
                    part=part,
                    collection=str(collection),
                    label=label,
                    rows=len(own),
                    trained=int(own["stands"].sum()),
                    pictures=int(own["picture_id"].nunique()),
                    patients=int(own["patient_id"].nunique()),
                    groups=int(own["group_id"].nunique()),
                )


def _count_left_out(protocol: str, rows: pd.DataFrame) -> list[LeftOut]:
    counts = rows["why"].value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [LeftOut(protocol=protocol, why=str(why), rows=int(count)) for why, count in ordered]
