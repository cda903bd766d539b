"""Group `curation`, the end: the audit, as a table, as one HTML page that opens offline, and as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import code_version, result_of, store_table, table_asset
from assets.splits import split_key
from pipeline.labels import PROTOCOLS
from pipeline.protocols import split_table
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    from pipeline.audit.evidence import Evidence

GROUP = "curation"
CODE = code_version("audit", "pages")
TABLES = (
    "files", "quarantine", "images", "pictures", "pairs", "review", "patients", "groups", "conflicts",
    "foreign", "looks", "thumbnails",
)  # fmt: skip
COUNTED = ("files", "quarantine", "images", "pictures", "patients", "groups", "conflicts", "foreign")
SPLITS = [split_table(protocol) for protocol in PROTOCOLS]


@table_asset("audit", GROUP, CODE, [*TABLES, "folds", *(split_key(protocol) for protocol in PROTOCOLS)])
def audit(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """How many published test images are in training, and the way from files to patients, counted.

    The evidence behind every number is one HTML page that opens offline; the same as JSON, and the tables
    described as Croissant.
    """
    from pipeline.audit.counts import audit_collections
    from pipeline.audit.markdown import render_audit
    from pipeline.audit.report import write_reports

    manifest = store_table(
        context,
        lake,
        "audit",
        lambda: audit_collections(
            **{name: lake.read(name) for name in COUNTED},
            splits={protocol: lake.read(split_table(protocol)) for protocol in PROTOCOLS},
        ),
        inputs=[*TABLES, "folds", *SPLITS],
        code=CODE,
    )
    tables = {name: lake.path(name) for name in (*TABLES, "folds", *SPLITS)}
    written = write_reports(gather_evidence(lake, raw_store), report_folder(raw_store), tables=tables)
    shown = render_audit(lake.read("audit"))
    paths = {name: dg.MetadataValue.path(str(path)) for name, path in written.items()}
    return result_of(manifest, summary=dg.MetadataValue.md(shown), **paths)


def report_folder(raw_store: RawStore) -> Path:
    """Where reports for people lie."""
    return Path(raw_store.home) / "reports"


def gather_evidence(lake: Lake, raw_store: RawStore) -> "Evidence":
    """The tables of the curation, as they lie in the lake."""
    from pipeline.audit.evidence import Evidence
    from pipeline.lock import read_lock

    return Evidence(
        **{name: lake.read(name) for name in TABLES},
        folds=lake.read("folds"),
        splits={protocol: lake.read(split_table(protocol)) for protocol in PROTOCOLS},
        lock=read_lock(raw_store.lock_path),
        collections=raw_store.catalog.collections,
    )
