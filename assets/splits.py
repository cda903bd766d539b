"""Group `curation`: who trains, validates and tests under each protocol, frozen once and carried forward."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import code_version, counts, result_of, store_table, table_asset
from pipeline.catalog import Catalog
from pipeline.errors import GateError, TableError
from pipeline.protocols import collection_of, fold_of, list_protocols, split_table
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

GROUP = "curation"
MODULES = (
    "splits",
    "milp",
    "balance",
    "eligibility",
    "ledger",
    "copies",
    "groups",
    "folds",
    "external",
    "orientation",
)
CODE = code_version("protocols.py", *(f"curation/{module}.py" for module in MODULES))
TABLES = ("images", "patients", "groups")
EVIDENCE = (*TABLES, "pictures", "conflicts", "foreign", "looks")
TEXTS = {
    "published": "The collections' own Training and Testing folders, file by file: the claim as published. "
    "15 % of the training part, drawn by content, is val. Leaks are measured here, not removed.",
    "stratified": "MD5-distinct images, 70/15/15, stratified by label: the honest effort of R1 and R5. "
    "Copies with other bytes still cross it.",
    "patient": "Whole groups, 70/15/15, as balanced as groups allow: no picture and no patient crosses. "
    "The only split whose score we stand behind; a leak here stops training.",
    "fold": "Fold {} of five patient-disjoint folds tests, the next one is val, the rest trains: for a score "
    "with all patients in it.",
    "external": "Trained on the other collections, tested on {}, minus every shared picture and patient. "
    "Where nothing independent is left, every row is left out and says so.",
}


def split_inputs(protocol: str) -> tuple[str, ...]:
    """The tables that a protocol's split is made from."""
    own = {"published": ("files", "images"), "stratified": ("images",)}
    return own.get(protocol, EVIDENCE if not fold_of(protocol) else (*EVIDENCE, "folds"))


def split_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """One asset for each protocol, and the folds."""
    return [folds, *(_split_asset(protocol) for protocol in list_protocols(catalog.collections))]


def split_key(protocol: str) -> dg.AssetKey:
    """The asset of a protocol's split: `splits/patient`, `splits/fold/1`."""
    return dg.AssetKey(split_table(protocol).split("/"))


def _describe(protocol: str) -> str:
    kind, _, what = protocol.partition(":")
    return TEXTS[kind].format(what)


def _split_asset(protocol: str) -> dg.AssetsDefinition:
    name, inputs = split_table(protocol), split_inputs(protocol)

    @table_asset(name, GROUP, CODE, inputs, description=_describe(protocol))
    def split(
        context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
    ) -> dg.MaterializeResult[Any]:
        manifest = store_table(
            context,
            lake,
            name,
            lambda: make_split(protocol, lake, raw_store),
            inputs=inputs,
            code=CODE,
            parameters={
                "seed": raw_store.seed,
                "catalog": raw_store.catalog_digest,
                "keep_contradicted": raw_store.keep_contradicted,
            },
        )
        frame = lake.read(name)
        refused = frame["why"].iloc[0] if len(frame) and (frame["split"] == "left_out").all() else ""
        return result_of(
            manifest,
            frame,
            **({"refused": refused} if refused else {}),
            **{"split × label": dg.MetadataValue.md(counts(frame, ["split"], "label"))},
            **{"split × collection": dg.MetadataValue.md(counts(frame, ["split"], "collection"))},
        )

    return split


def make_split(protocol: str, lake: Lake, raw_store: RawStore) -> "pd.DataFrame":
    """The table `splits` of a protocol; under `patient` it follows from the ledger, written first."""
    from pipeline.curation.splits import split_patient, split_published, split_stratified

    images = lake.read("images")
    if protocol == "published":
        return split_published(lake.read("files"), images, raw_store.catalog.collections)
    if protocol == "stratified":
        return split_stratified(images, seed=raw_store.seed)
    tables = [lake.read(name) for name in TABLES]
    known = _read_evidence(lake, raw_store)
    if protocol == "patient":
        with lake.locked("ledger"):
            ledger, previous = read_frozen(lake, "ledger"), read_frozen(lake, "splits/patient")
            split = split_patient(
                *tables, ledger=ledger, previous=previous, looks=lake.read("looks"), **known
            )
            _check_losses(lake, split)
            _extend_ledger(lake, ledger, split=split)
        return split
    return _make_guarded(protocol, tables, lake, known)


def _check_losses(lake: Lake, split: "pd.DataFrame") -> None:
    """Refuse a split that would be emptied for good, with the way out; nothing has been written yet."""
    from pipeline.curation.ledger import check_losses

    try:
        check_losses(split)
    except GateError as error:
        names = ("ledger", "splits/patient", "folds")
        frozen = ", ".join(str(lake.path(name).with_suffix(".*")) for name in names)
        raise GateError(
            f"{error}. Nothing was changed. Take the collection out again, or begin anew with all of them: "
            "in a new FALX_HOME, or, where no model was scored under `patient` yet, without the frozen files "
            f"{frozen}"
        ) from error


def _make_guarded(
    protocol: str, tables: "list[pd.DataFrame]", lake: Lake, known: dict[str, Any]
) -> "pd.DataFrame":
    from pipeline.curation.external import explain_external
    from pipeline.curation.folds import split_fold

    looks = lake.read("looks")
    number = fold_of(protocol)
    if number:
        images, patients, groups = tables
        return split_fold(lake.read("folds"), images, patients, groups, number, looks=looks, **known)
    collection = collection_of(protocol)
    assert collection is not None
    found = explain_external(collection, *tables, looks=looks, **known)
    # That a collection cannot be tested on is a finding, not a failure of the graph: training is refused.
    split = found.refused if found.split is None else found.split
    assert split is not None
    return split


def _read_evidence(lake: Lake, raw_store: RawStore) -> dict[str, Any]:
    return {
        "pictures": lake.read("pictures"),
        "conflicts": lake.read("conflicts"),
        "foreign": lake.read("foreign"),
        "keep_contradicted": raw_store.keep_contradicted,
    }


def _extend_ledger(lake: Lake, ledger: "pd.DataFrame | None", **news: "pd.DataFrame") -> None:
    from pipeline.curation.ledger import extend_ledger

    extended = extend_ledger(ledger, pictures=lake.read("pictures"), patients=lake.read("patients"), **news)
    if ledger is None or len(extended) != len(ledger):
        lake.write("ledger", extended, inputs="", code=CODE)


@table_asset("folds", GROUP, CODE, [*EVIDENCE[:-1], split_key("patient")])
def folds(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """Five patient-disjoint folds of equal size: every patient is tested once, by a model it is new to."""
    inputs = EVIDENCE[:-1]
    manifest = store_table(
        context,
        lake,
        "folds",
        lambda: _make_folds(lake, raw_store),
        inputs=inputs,
        code=CODE,
        parameters={"keep_contradicted": raw_store.keep_contradicted},
    )
    frame = lake.read("folds")
    labelled = frame.merge(lake.read("images")[["image_id", "label"]], on="image_id")
    labelled["fold"] = labelled["fold"].astype("string").fillna("left out")
    return result_of(
        manifest, frame, **{"fold × label": dg.MetadataValue.md(counts(labelled, ["fold"], "label"))}
    )


def _make_folds(lake: Lake, raw_store: RawStore) -> "pd.DataFrame":
    from pipeline.curation.folds import make_folds

    with lake.locked("ledger"):
        ledger = read_frozen(lake, "ledger")
        made = make_folds(
            *(lake.read(name) for name in TABLES),
            ledger=ledger,
            previous=read_frozen(lake, "folds"),
            **_read_evidence(lake, raw_store),
        )
        _extend_ledger(lake, ledger, folds=made)
    return made


def read_frozen(lake: Lake, name: str) -> "pd.DataFrame | None":
    """Assignments made before, which are carried forward; None where there are none yet.

    Raises:
        TableError: they are damaged, lost, or of another schema version; nobody may be moved from test to
            train by an accident on the disk.
    """
    path, whole = lake.path(name), lake.manifest_path(name).is_file()
    if not path.is_file() and not whole:
        return None
    try:
        # A kill between table and manifest leaves a whole table: it still says who was in test.
        return lake.read(name) if whole else lake.rescue(name)
    except TableError as error:
        raise TableError(
            f"the frozen assignments {name!r} cannot be carried forward: {error}. Restore {path} from a "
            "backup; only if no model was scored on it yet, remove it and its manifest to split anew"
        ) from error
