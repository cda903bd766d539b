"""What every asset shares: the declared table, its code version, reuse, and metadata for people."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline.digests import digest_json, digest_sources
from pipeline.recipe import Strict
from pipeline.schemas import Table
from pipeline.tables import find_table
from resources.lake import Lake, Manifest

if TYPE_CHECKING:
    import pandas as pd

PIPELINE = Path(__file__).resolve().parent.parent / "pipeline"
OWNER = "team:falx"
SHARED = ("schemas/columns.py", "schemas/curation.py", "tables.py", "labels.py", "digests.py")
"""What every asset rests on. Who writes tables of evaluation and release names their schemas: a word changed
there trains no model anew."""
PREVIEW_ROWS = 8
INLINE_CHARACTERS = 950
KINDS = {"string": "string", "int64": "int", "float64": "float", "bool": "bool", "binary": "binary"}


@cache
def code_version(*modules: str) -> str:
    """Digest of the source of pipeline modules: `curation/pictures.py`, or `collections` for a whole folder,
    folders inside included.

    An asset is stale when this changes, so nobody has to remember to raise a number.
    """
    paths: list[Path] = []
    for module in (*SHARED, *modules):
        path = PIPELINE / module
        paths += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return digest_sources(paths)[:16]


def with_catalog(assets: Iterable[dg.AssetsDefinition], *parts: Strict) -> list[dg.AssetsDefinition]:
    """The assets with catalog entries in their code version: a changed YAML file makes them stale too."""
    version = digest_entries(parts)[:8]

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=f"{spec.code_version}-{version}")

    return [asset.map_asset_specs(add) for asset in assets]


def digest_entries(entries: Iterable[Strict]) -> str:
    """Digest of catalog entries, in the order given."""
    return digest_json([entry.model_dump(mode="json") for entry in entries])


def column_schema(table: Table) -> dg.TableSchema:
    """The declared schema of a table, as Dagster shows it."""
    columns = [
        dg.TableColumn(
            column.name,
            KINDS.get(column.kind, column.kind),
            description=column.description,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable, unique=(column.name,) == table.key
            ),
        )
        for column in table.columns
    ]
    key = f"a row is {table.row}; key: {', '.join(table.key)}"
    return dg.TableSchema(columns, constraints=dg.TableConstraints([key]))


def table_asset(
    table: str, group: str, code: str, deps: Iterable[Any], **arguments: Any
) -> Callable[[Callable[..., dg.MaterializeResult[Any]]], dg.AssetsDefinition]:
    """`dg.asset` with what every table has: schema, owner, kinds, code version, storage.

    Args:
        table: name in the lake, also the asset's key; further arguments go to `dg.asset`.
    """
    *prefix, name = table.split("/")
    return dg.asset(  # type: ignore[no-any-return]
        name=name,
        key_prefix=prefix,
        group_name=group,
        deps=list(deps),
        code_version=code,
        owners=[OWNER],
        kinds={"python", "pandas", "parquet"},
        tags={"falx/table": find_table(table).name},
        metadata=table_metadata(table),
        **arguments,
    )


def table_metadata(name: str) -> dict[str, Any]:
    """What the asset page says of a table before it is materialised."""
    table = find_table(name)
    return {
        "dagster/column_schema": column_schema(table),
        "a row is": table.row,
        "file": f"$FALX_HOME/lake/{name}.parquet",
    }


def store_table(
    context: dg.AssetExecutionContext,
    lake: Lake,
    name: str,
    make: Callable[[], "pd.DataFrame"],
    *,
    inputs: Sequence[str],
    code: str,
    parameters: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make and store a table, unless the stored one was made from the same inputs by the same code."""
    digest = lake.digest_inputs(inputs, parameters)
    if lake.is_current(name, inputs=digest, code=code):
        context.log.info(f"{name}: inputs and code unchanged, the stored table is reused")
        found = lake.manifest(name)
        assert found is not None
        return found
    manifest = lake.write(name, make(), inputs=digest, code=code)
    context.log.info(f"{name}: {manifest.rows} rows written")
    return manifest


def thumbnails_of(lake: Lake) -> "Callable[[Sequence[str]], pd.DataFrame]":
    """What gives the thumbnails of the images named, for contact sheets."""
    return lambda image_ids: lake.pick("thumbnails", image_ids)


def result_of(
    manifest: Manifest, frame: "pd.DataFrame | None" = None, /, **metadata: Any
) -> dg.MaterializeResult[Any]:
    """The materialisation of a stored table: data version, row count, digest, and what else is given."""
    shown: dict[str, Any] = {
        "dagster/row_count": manifest.rows,
        "digest": manifest.digest[:16],
        "size": f"{manifest.bytes / 1e3:,.0f} kB",
        **metadata,
    }
    if frame is not None:
        shown["preview"] = dg.MetadataValue.md(preview(frame, total=manifest.rows))
    return dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(manifest.digest))


def preview(frame: "pd.DataFrame", rows: int = PREVIEW_ROWS, *, total: int | None = None) -> str:
    """The first rows as a Markdown table; long cells are cut, pictures are named by size.

    Args:
        frame: a table, or its first rows.
        rows: how many are shown.
        total: how many the table has, where `frame` is not all of it.
    """
    names = [str(name) for name in frame.columns]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in frame.head(rows).itertuples(index=False):
        lines.append("| " + " | ".join(_cell(value) for value in row) + " |")
    more = (len(frame) if total is None else total) - rows
    return "\n".join(lines) + (f"\n\n… and {more:,} more" if more > 0 else "")


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict) and "bytes" in value:
        return f"PNG, {len(value['bytes'])} bytes"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= 40 else text[:18] + "…" + text[-18:]


def counts(frame: "pd.DataFrame", by: Sequence[str], across: str) -> str:
    """A Markdown table of how many rows fall into `by` × `across`."""
    import pandas as pd

    table = pd.crosstab([frame[name].fillna("–") for name in by], frame[across].fillna("–"))
    heads = [*by, *map(str, table.columns), "all"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(by) + "--:|" * (len(heads) - len(by))]
    for index, row in table.iterrows():
        keys = index if isinstance(index, tuple) else (index,)
        values = [f"{int(value):,}" for value in [*row, row.sum()]]
        lines.append("| " + " | ".join([*map(str, keys), *values]) + " |")
    return "\n".join(lines)


def picture(png: bytes, caption: str) -> dg.MarkdownMetadataValue:
    """A PNG of at most 100 kB as metadata that Dagster renders.

    Raises:
        ValueError: the PNG is larger; Dagster keeps every byte of it in its event log.
    """
    if len(png) > 100_000:
        raise ValueError(f"{caption}: {len(png)} bytes; at most 100,000 may go into the event log")
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")
