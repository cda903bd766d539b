"""Group `curation`, first half: every raw file read once, and which of them are images of a brain."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import (
    OWNER,
    PREVIEW_ROWS,
    code_version,
    counts,
    digest_entries,
    picture,
    result_of,
    store_table,
    table_asset,
    table_metadata,
    thumbnails_of,
)
from pipeline.catalog import Catalog
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.curation.inventory import Inventory

GROUP = "curation"
CODE = {
    "inventory": code_version(
        "imaging/decode.py",
        "imaging/dicom.py",
        "imaging/jpeg.py",
        "imaging/matlab.py",
        "imaging/windows.py",
        "collections",
        "catalog.py",
        "curation/inventory.py",
        "curation/scan.py",
        "curation/guard.py",
        "curation/inspection.py",
    ),
    "decisions": code_version("curation/decisions.py"),
    "foreign": code_version(
        "curation/foreign.py", "curation/skull.py", "curation/textures.py", "curation/thumbnails.py"
    ),
    "files": code_version("curation/aside.py"),
    "images": code_version("curation/inventory.py"),
}
INVENTORY = {
    "scan": "Every file of every raw folder, once: what it is, what its publisher calls it, and why it "
    "cannot be used if it cannot.",
    "records": "What the reference collections say of their slices: patient and tumour box.",
    "thumbnails": "Every MD5-distinct image at 128 × 128 pixels, for the search for copies.",
    "looks": "Every MD5-distinct image measured: brightness, contrast, colour, border, JPEG table.",
}


def inventory_asset(catalog: Catalog) -> dg.AssetsDefinition:
    """Scan, records, thumbnails and looks: one read and one decode of every raw file."""
    raw = [dg.AssetKey(["raw", name]) for name in catalog.collections]
    specs = [
        dg.AssetSpec(
            name,
            deps=raw,
            group_name=GROUP,
            code_version=CODE["inventory"],
            owners=[OWNER],
            kinds={"python", "pandas", "parquet"},
            description=description,
            metadata=table_metadata(name),
        )
        for name, description in INVENTORY.items()
    ]

    @dg.multi_asset(name="inventory", specs=specs)
    def inventory(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> Any:
        folders = raw_store.require_any()
        digest = lake.digest_inputs([], {"raw": raw_store.digests(), "catalog": raw_store.catalog_digest})
        if not all(lake.is_current(name, inputs=digest, code=CODE["inventory"]) for name in INVENTORY):
            unchanged = _take_inventory(lake, raw_store, folders, digest)
            for name in sorted(unchanged):
                context.log.info(f"{name}: unchanged since it was read, no file of it is read again")
        else:
            context.log.info("raw collections and code unchanged: no file is read again")
        for name in INVENTORY:
            manifest = lake.manifest(name)
            assert manifest is not None
            counted = name == "scan"
            frame = lake.read(name) if counted else lake.head(name, PREVIEW_ROWS)
            shown = {"per collection": dg.MetadataValue.md(_count_files(frame))} if counted else {}
            result = result_of(manifest, frame, **shown)
            yield result._replace(asset_key=dg.AssetKey(name))

    return inventory


def _take_inventory(
    lake: Lake, raw_store: RawStore, folders: Mapping[str, Path], digest: str
) -> frozenset[str]:
    """Read what changed, store the tables; the collections whose files were not read again."""
    from pipeline.curation.inventory import take_inventory

    known = raw_store.catalog.collections
    state = _describe_state(raw_store)
    previous, unchanged = _recall(lake, state)
    found = take_inventory(
        {name: known[name] for name in folders},
        folders,
        workers=raw_store.workers,
        previous=previous,
        unchanged=unchanged,
    )
    # Forgotten first and remembered last: a kill in between means that everything is read again.
    lake.forget("scanned")
    tables = {
        "scan": found.files,
        "records": found.records,
        "thumbnails": found.thumbnails,
        "looks": found.looks,
    }
    for name, frame in tables.items():
        lake.write(name, frame, inputs=digest, code=CODE["inventory"])
    lake.write("scanned", state, inputs=digest, code=CODE["inventory"])
    return unchanged


def _describe_state(raw_store: RawStore) -> "pd.DataFrame":
    import pandas as pd

    known = raw_store.catalog.collections
    rows = [
        (name, digest, digest_entries([known[name]]), CODE["inventory"])
        for name, digest in raw_store.digests().items()
    ]
    return pd.DataFrame(rows, columns=["collection", "digest", "entry", "code"])


def _recall(lake: Lake, state: "pd.DataFrame") -> "tuple[Inventory | None, frozenset[str]]":
    """The stored inventory, and its collections that are today as they were then."""
    from pipeline.curation.inventory import Inventory

    if not all(lake.is_whole(name) for name in ("scanned", *INVENTORY)):
        return None, frozenset()
    unchanged = frozenset(lake.read("scanned").merge(state)["collection"])
    if not unchanged:
        return None, unchanged
    files, records, thumbnails, looks = (
        lake.read(name) for name in ("scan", "records", "thumbnails", "looks")
    )
    return Inventory(files, records, thumbnails, looks), unchanged


def _count_files(files: "pd.DataFrame") -> str:
    return counts(files.assign(reason=files["reason"].fillna("member")), ["collection"], "reason")


def digest_decisions(lake: Lake, raw_store: RawStore) -> str:
    """Digest of what `decisions` is made from as the disk is now: tells whether to read the file again."""
    return lake.digest_inputs([], _decision_file(raw_store))


def _decision_file(raw_store: RawStore) -> dict[str, str]:
    return {"file": raw_store.decisions_digest}


@table_asset("decisions", GROUP, CODE["decisions"], [])
def decisions(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """What people decided: pairs that are copies or are not, images that stay in or go out.

    Read from the decision file (`FALX_DECISIONS`, a CSV of action, first, second, who, why).
    """
    from pipeline.curation.decisions import read_decisions

    manifest = store_table(
        context,
        lake,
        "decisions",
        lambda: read_decisions(Path(raw_store.decisions)),
        inputs=[],
        code=CODE["decisions"],
        parameters=_decision_file(raw_store),
    )
    frame = lake.read("decisions")
    return result_of(manifest, frame, file=dg.MetadataValue.path(raw_store.decisions))


@table_asset("foreign", GROUP, CODE["foreign"], ["scan", "looks", "thumbnails", "decisions"])
def foreign(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[Any]:
    """Images that do not look like a brain MR slice, by cheap statistics: blank, noise, photographs, CT."""
    from pipeline.curation.foreign import judge_looks
    from pipeline.curation.sheets import draw_foreign

    inputs = ["looks", "thumbnails", "scan", "decisions"]
    manifest = store_table(
        context,
        lake,
        "foreign",
        lambda: judge_looks(*(lake.read(name) for name in inputs)),
        inputs=inputs,
        code=CODE["foreign"],
    )
    frame = lake.read("foreign")
    sheet = draw_foreign(frame, thumbnails_of(lake))
    shown = {"set aside for review": picture(sheet, "images that look foreign")} if sheet else {}
    return result_of(manifest, frame, **shown)


@table_asset("files", GROUP, CODE["files"], ["scan", "decisions"])
def files(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[Any]:
    """Every file, with the last word on whether it is used: the scan, and people's removals."""
    from pipeline.curation.aside import set_aside

    inputs = ["scan", "decisions"]
    manifest = store_table(
        context,
        lake,
        "files",
        lambda: set_aside(*(lake.read(name) for name in inputs)),
        inputs=inputs,
        code=CODE["files"],
    )
    frame = lake.read("files")
    return result_of(manifest, frame, **{"per collection": dg.MetadataValue.md(_count_files(frame))})


@table_asset("quarantine", GROUP, CODE["images"], ["files"])
def quarantine(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[Any]:
    """Files that are set aside, each with its reason: files = members of `images` + quarantine."""
    from pipeline.curation.inventory import list_quarantine

    manifest = store_table(
        context,
        lake,
        "quarantine",
        lambda: list_quarantine(lake.read("files")),
        inputs=["files"],
        code=CODE["images"],
    )
    frame = lake.read("quarantine")
    shown = {"by reason": dg.MetadataValue.md(counts(frame, ["collection"], "reason"))} if len(frame) else {}
    return result_of(manifest, frame, **shown)


@table_asset("images", GROUP, CODE["images"], ["files", "thumbnails"])
def images(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """MD5-distinct decodable images with their files and labels."""
    from pipeline.curation.inventory import list_images
    from pipeline.curation.sheets import draw_labels

    references = raw_store.references
    manifest = store_table(
        context,
        lake,
        "images",
        lambda: list_images(lake.read("files"), references=references),
        inputs=["files"],
        code=CODE["images"],
        parameters={"references": references},
    )
    frame = lake.read("images")
    sheet = picture(draw_labels(frame, thumbnails_of(lake)), "images of each label")
    per_collection = dg.MetadataValue.md(counts(frame, ["collection"], "label"))
    return result_of(manifest, frame, examples=sheet, **{"per collection": per_collection})


def scan_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """From raw folders to images, in the order of the flow."""
    return [inventory_asset(catalog), decisions, foreign, files, quarantine, images]
