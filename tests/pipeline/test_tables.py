"""What is written is what was declared, and it comes back as it was."""

import io
import json
import random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import TableError
from pipeline.labels import LABELS
from pipeline.schemas import QUARANTINE_REASONS, SCHEMA_VERSION, TABLES, Column, Table
from pipeline.tables import (
    arrow_schema,
    check_arrow,
    find_table,
    from_arrow,
    to_arrow,
)

KINDS = {"string", "int64", "float64", "bool", "binary", "strings", "floats", "members", "image"}


def make_value(column: Column, number: int) -> Any:
    if column.nullable and number % 3 == 0:
        return None
    member = {"collection": "c", "path": f"{number}.jpg", "published_split": None, "label": "glioma"}
    return {
        "string": f"{column.name} {number} é",
        "int64": number - 2,
        "floats": [number / 3, -1.0],
        "float64": number / 7,
        "bool": number % 2 == 0,
        "binary": bytes([number, 0, 255]),
        "strings": ["a", f"b{number}"][: number % 3],
        "members": [member, member][: number % 3],
        "image": {"bytes": b"png" + bytes([number]), "path": None},
    }[column.kind]


def make_frame(table: Table, rows: int = 12) -> pd.DataFrame:
    data = {column.name: [make_value(column, number) for number in range(rows)] for column in table.columns}
    return pd.DataFrame(data, columns=table.names)


def write(arrow: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(arrow, stream)
    return stream.getvalue()


FILES = TABLES["files"]


# --- declarations ---


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_explains_itself(table: Table) -> None:
    assert table.row
    assert set(table.key) <= set(table.names)
    assert len(set(table.names)) == len(table.names)
    for column in table.columns:
        assert column.kind in KINDS
        assert len(column.description) > 2, f"{table.name}.{column.name} has no description"
        assert not (column.name in table.key and column.nullable)
    for field, column in zip(arrow_schema(table), table.columns, strict=True):
        assert field.metadata[b"description"].decode() == column.description


def test_the_tables_of_the_design_are_there() -> None:
    design = {"files", "quarantine", "images", "pictures", "patients", "groups", "splits", "variants"}
    design |= {"predictions", "metrics"}
    assert design <= set(TABLES)


def test_probabilities_come_in_the_order_of_the_labels() -> None:
    columns = [name for name in TABLES["predictions"].names if name.startswith("p_")]
    assert columns == [f"p_{label}" for label in LABELS]


def test_every_quarantine_reason_is_explained() -> None:
    assert all(QUARANTINE_REASONS.values())
    [column] = [column for column in TABLES["quarantine"].columns if column.name == "reason"]
    assert all(reason in column.description for reason in QUARANTINE_REASONS)


def test_the_schema_carries_its_version() -> None:
    metadata = arrow_schema(FILES).metadata
    assert json.loads(metadata[b"falx"]) == {"table": "files", "schema_version": SCHEMA_VERSION}


def test_pictures_are_shown_as_pictures_by_hugging_face() -> None:
    features = json.loads(arrow_schema(TABLES["variants"]).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["severity"] == {"dtype": "int64", "_type": "Value"}
    assert b"huggingface" not in arrow_schema(FILES).metadata


def test_a_folder_of_tables_shares_one_schema() -> None:
    assert find_table("splits/patient") is TABLES["splits"]
    with pytest.raises(
        TableError, match=r"there is no table 'split/patient'; declared in .*: scan, scanned, files"
    ):
        find_table("split/patient")


# --- round trips ---


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_comes_back_as_it_was(table: Table) -> None:
    frame = make_frame(table)
    back = from_arrow(table.name, pq.read_table(io.BytesIO(write(to_arrow(table.name, frame)))))
    assert list(back.columns) == table.names
    keys = list(table.key)
    expected = frame.sort_values(keys).reset_index(drop=True)
    for column in table.columns:
        found, wanted = back[column.name].tolist(), expected[column.name].tolist()
        assert [None if is_null(value) else value for value in found] == [
            None if is_null(value) else value for value in wanted
        ], column.name
    assert to_arrow(table.name, back).equals(to_arrow(table.name, frame))


def is_null(value: Any) -> bool:
    return not isinstance(value, list | dict) and bool(pd.isna(value))


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_row_and_column_order_do_not_reach_the_bytes(table: Table) -> None:
    frame = make_frame(table)
    shuffled = frame.sample(frac=1, random_state=3)[random.Random(1).sample(table.names, len(table.names))]
    assert write(to_arrow(table.name, shuffled)) == write(to_arrow(table.name, frame))


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_empty_tables_keep_their_types(table: Table) -> None:
    arrow = to_arrow(table.name, pd.DataFrame(columns=table.names))
    assert arrow.schema.equals(arrow_schema(table), check_metadata=True)
    assert from_arrow(table.name, arrow).empty


def test_rows_are_sorted_by_their_key() -> None:
    frame = make_frame(FILES).assign(collection=list("bbbbaaaacccc"), path=list("dcbadcbadcbA"))
    back = from_arrow("files", to_arrow("files", frame))
    keys = list(zip(back["collection"], back["path"], strict=True))
    assert keys == sorted(keys)
    assert keys[8] == ("c", "A")  # by code point, whatever the language of the machine


def test_nullable_numbers_stay_whole() -> None:
    back = from_arrow("files", to_arrow("files", make_frame(FILES)))
    assert str(back["width"].dtype) == "Int64"
    assert str(back["bytes"].dtype) == "int64"
    assert back["width"].isna().sum() == 4


def test_lists_come_back_as_python_lists() -> None:
    back = from_arrow("images", to_arrow("images", make_frame(TABLES["images"])))
    assert all(type(value) is list for column in ("labels", "members") for value in back[column])


# --- refusals ---


def test_missing_and_unknown_columns_are_named() -> None:
    frame = make_frame(FILES).rename(columns={"md5": "sha256"})
    with pytest.raises(
        TableError, match=r"table 'files': missing columns \['md5'\], unknown columns \['sha256'\]"
    ):
        to_arrow("files", frame)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("files", "bytes", 1.5),
        ("files", "bytes", "many"),
        ("files", "path", 7),
        ("files", "path", "caf\udce9.jpg"),
        ("pictures", "mirrored", "yes"),
        ("pictures", "score", "high"),
        ("images", "labels", "glioma"),
        ("images", "members", [1]),
        ("thumbnails", "pixels", 5),
    ],
)
def test_a_wrong_type_is_refused(table: str, column: str, value: Any) -> None:
    frame = make_frame(TABLES[table]).astype({column: object})
    frame.at[1, column] = value
    with pytest.raises(TableError, match=f"table '{table}': column '{column}' has the wrong type"):
        to_arrow(table, frame)


@pytest.mark.parametrize(("column", "value"), [("path", None), ("licence", np.nan), ("bytes", None)])
def test_a_null_where_none_may_stand_is_refused(column: str, value: Any) -> None:
    frame = make_frame(FILES).astype({column: object})
    frame.at[1, column] = value
    with pytest.raises(TableError, match=f"table 'files': column '{column}' has 1 nulls and may have none"):
        to_arrow("files", frame)


def test_a_figure_that_is_no_number_is_refused_where_one_is_needed() -> None:
    frame = make_frame(TABLES["pictures"])
    frame.loc[2, "score"] = np.nan
    with pytest.raises(TableError, match="column 'score' has 1 nulls"):
        to_arrow("pictures", frame)


def test_rows_with_one_key_are_refused() -> None:
    frame = make_frame(FILES)
    frame.loc[4:5, ["collection", "path"]] = ["c", "p"]
    with pytest.raises(TableError, match=r"table 'files': 1 rows repeat the key \('collection', 'path'\)"):
        to_arrow("files", frame)


def test_a_stored_table_of_another_schema_is_refused_with_the_difference() -> None:
    stored = to_arrow("quarantine", make_frame(TABLES["quarantine"]))
    for other in (
        stored.drop_columns(["detail"]),
        stored.rename_columns(["collection", "path", "why", "detail"]),
    ):
        with pytest.raises(
            TableError, match=r"another schema than declared.*\n.*\n.*\nMaterialise the asset again"
        ):
            check_arrow("quarantine", other)
    changed = stored.set_column(3, "detail", pa.array([1] * stored.num_rows))
    with pytest.raises(TableError, match=r"found .*detail int64.*\ndeclared .*detail string"):
        from_arrow("quarantine", changed)


def test_a_stored_table_is_checked_for_nulls_and_keys_too() -> None:
    stored = to_arrow("groups", make_frame(TABLES["groups"]))
    with pytest.raises(TableError, match="12 rows repeat the key"):
        from_arrow("groups", pa.concat_tables([stored, stored]))
    holed = stored.set_column(2, stored.schema.field(2), pa.nulls(stored.num_rows, pa.string()))
    with pytest.raises(TableError, match="'safety' has 12 nulls"):
        from_arrow("groups", holed)
