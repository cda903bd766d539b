"""Ledgers: rows are only ever added, and a kill loses none."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import TableError
from resources.lake import Lake
from resources.ledgers import append_row, read_rows


def row(number: int) -> dict:
    at = f"2026-01-01T00:00:{number:02d}"
    named = {"recipe": "r", "protocol": "patient", "seed": 0, "images": "d", "why": "evaluation"}
    return {"opened_at": at, "model_id": "m", **named}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(home=str(tmp_path))


def test_a_ledger_begins_empty_and_keeps_every_row(lake):
    assert len(read_rows(lake, "openings")) == 0
    for number in range(3):
        append_row(lake, "openings", row(number))
    assert read_rows(lake, "openings").to_dict("records") == [row(number) for number in range(3)]


def test_rows_that_are_added_at_once_are_all_kept(lake):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: append_row(lake, "openings", row(number)), range(12)))
    assert len(read_rows(lake, "openings")) == 12


def test_a_kill_between_table_and_manifest_loses_no_row(lake):
    append_row(lake, "openings", row(0))
    lake.manifest_path("openings").unlink()
    append_row(lake, "openings", row(1))
    assert len(read_rows(lake, "openings")) == 2


def test_a_damaged_ledger_is_never_begun_anew(lake):
    append_row(lake, "openings", row(0))
    lake.path("openings").write_bytes(b"no table")
    with pytest.raises(TableError, match=r"the ledger 'openings' cannot be carried on.*from a backup"):
        append_row(lake, "openings", row(1))


def test_a_row_cannot_be_replaced(lake):
    append_row(lake, "openings", row(0))
    with pytest.raises(TableError):
        append_row(lake, "openings", row(0))
    assert len(read_rows(lake, "openings")) == 1
