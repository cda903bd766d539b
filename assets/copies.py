"""Group `curation`, second half: what images show. Copies, patients, groups, and contradicted labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import (
    code_version,
    counts,
    picture,
    result_of,
    store_table,
    table_asset,
    thumbnails_of,
)
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

GROUP = "curation"
SEARCH = (
    "pairs", "candidates", "verdicts", "thumbnails", "borders", "orientation", "retrieval", "cells",
    "reencodings", "spectra", "views", "starts", "alignment", "levels", "refinement", "scores",
    "nearest", "parities", "closeness",
)  # fmt: skip
CODE = {
    "pairs": code_version(*(f"curation/{module}.py" for module in SEARCH)),
    "pictures": code_version("curation/pictures.py", "curation/orientation.py"),
    "patients": code_version("curation/patients.py", "curation/boxes.py", "curation/aside.py"),
    "groups": code_version("curation/groups.py"),
    "conflicts": code_version("curation/conflicts.py"),
}


@table_asset("pairs", GROUP, CODE["pairs"], ["thumbnails", "images"])
def pairs(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """Every pair of images that was compared closely: proven copies, the grey band, near misses."""
    manifest = store_table(
        context,
        lake,
        "pairs",
        lambda: _compare(lake, raw_store),
        inputs=["thumbnails", "images"],
        code=CODE["pairs"],
    )
    frame = lake.read("pairs")
    lake.write("compared", lake.read("images")[["image_id"]], inputs=manifest.digest, code=CODE["pairs"])
    return result_of(manifest, frame, verdicts=dg.MetadataValue.md(counts(frame, ["evidence"], "verdict")))


def _compare(lake: Lake, raw_store: RawStore) -> "pd.DataFrame":
    """What the same code compared before is taken over; only what is new is compared."""
    from pipeline.curation.pairs import compare_images

    thumbnails = lake.read("thumbnails")
    own = thumbnails[thumbnails["image_id"].isin(lake.read("images")["image_id"])]
    found: pd.DataFrame = compare_images(own, workers=raw_store.workers, **_recall(lake))
    return found


def _recall(lake: Lake) -> dict[str, Any]:
    """The stored pairs and the images that they were found among, if both are whole and belong together."""
    pairs, compared = lake.manifest("pairs"), lake.manifest("compared")
    if pairs is None or compared is None or (pairs.code, pairs.digest) != (CODE["pairs"], compared.inputs):
        return {}
    if not (lake.is_whole("pairs") and lake.is_whole("compared")):
        return {}
    return {"previous": lake.read("pairs"), "known": frozenset(lake.read("compared")["image_id"])}


@table_asset("pictures", GROUP, CODE["pictures"], ["pairs", "images", "decisions", "thumbnails"])
def pictures(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """Which images show one picture: copies under re-encoding, filters, scale, crop, rotation, mirror."""
    from pipeline.curation.pictures import find_pictures
    from pipeline.curation.sheets import draw_copies

    references = raw_store.references
    inputs = ["pairs", "images", "decisions"]
    manifest = store_table(
        context,
        lake,
        "pictures",
        lambda: find_pictures(
            lake.read("pairs"),
            lake.read("images"),
            references=references,
            decisions=_applicable(context, lake),
        ),
        inputs=inputs,
        code=CODE["pictures"],
        parameters={"references": references},
    )
    frame = lake.read("pictures")
    sheet = draw_copies(lake.read("images"), frame, thumbnails_of(lake))
    return result_of(
        manifest,
        frame,
        pictures=int(frame["picture_id"].nunique()),
        mirrored=int(frame["mirrored"].sum()),
        **({"weakest joins": picture(sheet, "the joins with the lowest scores")} if sheet else {}),
        **{"by evidence": dg.MetadataValue.md(counts(frame, ["evidence"], "mirrored"))},
    )


def _applicable(context: dg.AssetExecutionContext, lake: Lake) -> "pd.DataFrame":
    """The decisions on pairs that are here; one on an image that is not waits until it is."""
    from pipeline.curation.decisions import list_absent

    decisions = lake.read("decisions")
    pairs_only = decisions[decisions["action"].isin(["accept", "reject"])]
    absent = list_absent(pairs_only, set(lake.read("images")["image_id"]))
    for row in absent.to_dict("records"):
        pair = f"{row['action']} {row['first']} {row['second']}"
        context.log.warning(f"{pair} waits: no image {row['absent']} is here")
    gone = set(zip(absent["first"], absent["second"], strict=True))
    here = [(row.first, row.second) not in gone for row in pairs_only.itertuples()]
    return pairs_only.loc[here]


@table_asset("review", GROUP, CODE["pictures"], ["pairs", "images", "decisions"])
def review(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """Pairs in the grey band, for a person to decide: too alike to pass by, too unlike to be proven.

    `reports/review.csv` lists the undecided ones: write `accept` or `reject`, your name and the reason into
    copies of its rows in the decision file; the next run reads it.
    """
    from pipeline.atomic import write_text
    from pipeline.curation.decisions import render_review
    from pipeline.curation.pictures import list_review

    inputs = ["pairs", "images", "decisions"]
    manifest = store_table(
        context,
        lake,
        "review",
        lambda: list_review(*(lake.read(name) for name in inputs)),
        inputs=inputs,
        code=CODE["pictures"],
    )
    frame = lake.read("review")
    sheet = Path(raw_store.home) / "reports" / "review.csv"
    write_text(sheet, render_review(frame))
    undecided = int(frame["decision"].isna().sum())
    return result_of(manifest, frame, undecided=undecided, sheet=dg.MetadataValue.path(str(sheet)))


@table_asset("patients", GROUP, CODE["patients"], ["pictures", "images", "records", "files", "thumbnails"])
def patients(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """The patient of every image that is a reference slice or a copy of one, with the tumour's box."""
    from pipeline.curation.aside import keep_members
    from pipeline.curation.patients import find_patients
    from pipeline.curation.sheets import draw_boxes

    collections = raw_store.catalog.collections
    suffixes = {name: collection.patient_suffix or "" for name, collection in collections.items()}
    manifest = store_table(
        context,
        lake,
        "patients",
        lambda: find_patients(
            lake.read("pictures"),
            lake.read("images"),
            keep_members(lake.read("records"), lake.read("files")),
            collections,
        ),
        inputs=["pictures", "images", "records", "files"],
        code=CODE["patients"],
        parameters=suffixes,
    )
    frame = lake.read("patients")
    sheet = draw_boxes(frame, lake.read("pictures"), thumbnails_of(lake))
    return result_of(
        manifest,
        frame,
        patients=int(frame["patient_id"].nunique()),
        **{"images with a patient": int(frame["patient_id"].notna().sum())},
        **({"boxes": picture(sheet, "tumour boxes on copies and on their slices")} if sheet else {}),
    )


@table_asset("groups", GROUP, CODE["groups"], ["pictures", "patients"])
def groups(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[Any]:
    """The smallest units that may never be split: connected pictures and patients."""
    from pipeline.curation.groups import form_groups

    manifest = store_table(
        context,
        lake,
        "groups",
        lambda: form_groups(lake.read("pictures"), lake.read("patients")),
        inputs=["pictures", "patients"],
        code=CODE["groups"],
    )
    frame = lake.read("groups")
    return result_of(
        manifest,
        frame,
        groups=int(frame["group_id"].nunique()),
        **{"images by safety": dg.MetadataValue.md(counts(frame, ["safety"], "safety"))},
    )


@table_asset("conflicts", GROUP, CODE["conflicts"], ["images", "pictures", "patients", "thumbnails"])
def conflicts(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """Images whose label is contradicted, with both labels, the rule, and whether they are set aside."""
    from pipeline.curation.conflicts import list_conflicts
    from pipeline.curation.sheets import draw_conflicts

    inputs = ["images", "pictures", "patients"]
    keep = raw_store.keep_contradicted
    manifest = store_table(
        context,
        lake,
        "conflicts",
        lambda: list_conflicts(*(lake.read(name) for name in inputs), keep_contradicted=keep),
        inputs=inputs,
        code=CODE["conflicts"],
        parameters={"keep_contradicted": keep},
    )
    frame = lake.read("conflicts")
    sheet = draw_conflicts(frame, lake.read("pictures"), lake.read("patients"), thumbnails_of(lake))
    shown = {"contradicted": picture(sheet, "images whose label is contradicted")} if sheet else {}
    shown |= {"by kind": dg.MetadataValue.md(counts(frame, ["kind"], "set_aside"))} if len(frame) else {}
    return result_of(manifest, frame, **shown)


def copies_assets() -> list[dg.AssetsDefinition]:
    """From images to groups, in the order of the flow."""
    return [pairs, pictures, review, patients, groups, conflicts]
