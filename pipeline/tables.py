"""The tables at the edges of assets: frames to Arrow and back, checked when written and when read."""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

from pipeline.errors import TableError
from pipeline.schemas import SCHEMA_VERSION, TABLES, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def find_table(name: str) -> Table:
    """The schema of a lake table: the first part of `splits/patient` is `splits`.

    Raises:
        TableError: no such table is declared.
    """
    head = name.split("/", 1)[0]
    if head not in TABLES:
        raise TableError(f"there is no table {name!r}; declared in pipeline/schemas: {', '.join(TABLES)}")
    return TABLES[head]


def arrow_schema(table: Table) -> "pa.Schema":
    """The Arrow schema of a table; `image` columns carry Hugging Face's feature metadata."""
    import json

    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "binary": pa.binary(),
        "strings": pa.list_(pa.string()),
        "floats": pa.list_(pa.float64()),
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "members": pa.list_(
            pa.struct(
                [
                    ("collection", pa.string()),
                    ("path", pa.string()),
                    ("published_split", pa.string()),
                    ("label", pa.string()),
                ]
            )
        ),
    }
    fields = [
        pa.field(
            column.name,
            kinds[column.kind],
            # `datasets` shows an image only where Arrow's field may be null; check_arrow still refuses nulls.
            column.nullable or column.kind == "image",
            {"description": column.description},
        )
        for column in table.columns
    ]
    metadata = {"falx": json.dumps({"table": table.name, "schema_version": SCHEMA_VERSION})}
    if any(column.kind == "image" for column in table.columns):
        features = {column.name: _feature(column.kind) for column in table.columns}
        metadata["huggingface"] = json.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata)


def _feature(kind: str) -> dict[str, str]:
    return {"_type": "Image"} if kind == "image" else {"dtype": kind, "_type": "Value"}


def to_arrow(name: str, frame: "pd.DataFrame") -> "pa.Table":
    """A frame as the Arrow table that is stored: declared columns, types and order, rows sorted by key.

    Raises:
        TableError: columns are missing or unknown, a value has the wrong type, a null stands where
            none may, or two rows have one key.
    """
    import pyarrow as pa

    table = find_table(name)
    missing = [column for column in table.names if column not in frame.columns]
    unknown = [str(column) for column in frame.columns if column not in table.names]
    if missing or unknown:
        raise TableError(f"table {name!r}: missing columns {missing}, unknown columns {unknown}")
    schema = arrow_schema(table)
    arrays = [_convert(frame[field.name], field, name) for field in schema]
    arrow = pa.Table.from_arrays(arrays, schema=schema)
    check_arrow(name, arrow)
    return arrow.sort_by([(column, "ascending") for column in table.key])


def _convert(values: "pd.Series[Any]", field: "pa.Field", name: str) -> "pa.Array":
    import pyarrow as pa

    try:
        if pa.types.is_integer(field.type) and values.dtype == object:
            return pa.array(values, from_pandas=True).cast(field.type)  # given the type, it cuts 1.5 to 1
        if pa.types.is_list(field.type) and any(isinstance(value, str) for value in values):
            raise TypeError("text in place of a list")  # which would become a list of letters
        return pa.array(values, field.type, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise TableError(f"table {name!r}: column {field.name!r} has the wrong type: {error}") from error


def check_arrow(name: str, arrow: "pa.Table") -> None:
    """Check a stored table against its declared schema, nulls and keys included.

    Raises:
        TableError: the first difference, named.
    """
    table = find_table(name)
    expected = arrow_schema(table)
    if arrow.schema.names != expected.names or arrow.schema.types != expected.types:
        raise TableError(
            f"table {name!r} has another schema than declared (version {SCHEMA_VERSION}):\n"
            f"found    {_describe(arrow.schema)}\ndeclared {_describe(expected)}\n"
            "Materialise the asset again to write it anew."
        )
    for column in table.columns:
        nulls = arrow.column(column.name).null_count
        if nulls and not column.nullable:
            raise TableError(f"table {name!r}: column {column.name!r} has {nulls} nulls and may have none")
    keys = arrow.select(list(table.key))
    distinct = keys.group_by(list(table.key)).aggregate([]).num_rows
    if distinct != arrow.num_rows:
        raise TableError(f"table {name!r}: {arrow.num_rows - distinct} rows repeat the key {table.key}")


def _describe(schema: "pa.Schema") -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def from_arrow(name: str, arrow: "pa.Table") -> "pd.DataFrame":
    """A stored table as a frame, after the same check as on writing.

    Nullable integers arrive as pandas' `Int64`; strings as pandas' `str`; lists as Python lists.
    """
    import pandas as pd
    import pyarrow as pa

    check_arrow(name, arrow)
    integers = {pa.int64(): pd.Int64Dtype()}
    nullable = {column.name for column in find_table(name).columns if column.nullable}
    frame: pd.DataFrame = arrow.to_pandas()
    for field in arrow.schema:
        if field.type in integers and field.name in nullable:
            frame[field.name] = arrow.column(field.name).to_pandas(types_mapper=integers.get)
        elif pa.types.is_list(field.type):
            frame[field.name] = pd.Series(arrow.column(field.name).to_pylist(), dtype=object)
    return frame


def list_rows(frame: "pd.DataFrame", columns: "Iterable[str] | None" = None) -> list[dict[Hashable, Any]]:
    """`frame.to_dict("records")`, of some columns only where they are named, in a fifth of its time."""
    names = [str(name) for name in frame.columns] if columns is None else list(columns)
    values = [list_cells(frame[name]) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def map_cells(frame: "pd.DataFrame", key: str, value: str) -> dict[Any, Any]:
    """What stands in column `value` for each of column `key`; of equal keys the last counts."""
    return dict(zip(list_cells(frame[key]), list_cells(frame[value]), strict=True))


def list_cells(column: "pd.Series[Any]") -> list[Any]:
    """A column as a list: a tenth of the time of walking through one that Arrow holds."""
    import pandas as pd

    cells: list[Any] = column.to_numpy(dtype=object).tolist()
    masked = isinstance(column.dtype, pd.Int64Dtype)
    return [None if cell is pd.NA else cell for cell in cells] if masked else cells
