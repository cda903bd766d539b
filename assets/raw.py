"""Group `raw`: one asset a collection, brought into place and verified against the lock file."""

from typing import Any

import dagster as dg

from assets.materials import OWNER, code_version
from pipeline.catalog import Catalog, Collection
from resources.raw import ABSENT, RawState, RawStore


def raw_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """One asset for each collection of the catalog."""
    return [_raw_asset(collection) for collection in catalog.collections.values()]


def _raw_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        name=collection.name,
        key_prefix="raw",
        group_name="raw",
        owners=[OWNER],
        kinds={"kaggle" if collection.source.kaggle else "file"},
        tags={"falx/collection": collection.name},
        code_version=code_version("lock.py", "archives.py", "phantoms"),
        description=describe_collection(collection),
        metadata={"licence": collection.licence.stated, "citation": collection.citation},
    )
    def raw(context: dg.AssetExecutionContext, raw_store: RawStore) -> dg.MaterializeResult[Any]:
        state = raw_store.ensure(collection, log=context.log.info)
        for warning in state.warnings:
            context.log.warning(f"{collection.name}: {warning}")
        if state.status == "absent":
            context.log.warning(
                f"{collection.name}: SKIPPED under profile {raw_store.profile}: {state.reason}"
            )
        return dg.MaterializeResult(
            metadata=describe_state(state, raw_store.profile),
            data_version=dg.DataVersion(state.entry.digest if state.entry else ABSENT),
        )

    return raw


def describe_collection(collection: Collection) -> str:
    """What the asset page says of a collection."""
    source = collection.source.kaggle
    origin = f"Kaggle `{source.slug}`, version {source.version}" if source else "downloaded by a person"
    role = "\n\nIt names patients: copies of its slices inherit them." if collection.reference else ""
    return f"**{collection.title}**\n\n{collection.description}\n\nSource: {origin}.{role}"


def describe_state(state: RawState, profile: str) -> dict[str, Any]:
    """Metadata of a raw materialisation."""
    shown: dict[str, Any] = {
        "status": f"SKIPPED: {state.reason}" if state.status == "absent" else state.status,
        "profile": profile,
        "folder": dg.MetadataValue.path(str(state.folder)),
        "files": state.entry.files if state.entry else 0,
    }
    if state.entry:
        shown["megabytes"] = round(state.entry.bytes / 1e6, 2)
        shown["digest"] = state.entry.digest[:16]
    if state.warnings:
        shown["warnings"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in state.warnings))
    return shown
