"""Ledgers in the lake: tables whose rows are only ever added, by one process at a time.

A kill between table and manifest leaves a whole table without one: it is read all the same, so that no row
that was added is ever lost.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import TableError
from pipeline.tables import find_table
from resources.lake import Lake

if TYPE_CHECKING:
    import pandas as pd


def read_rows(lake: Lake, name: str) -> "pd.DataFrame":
    """All rows of a ledger, sorted by key; none where nothing was added yet.

    Raises:
        TableError: it is damaged, or of another schema version.
    """
    with lake.locked(name):
        return _read(lake, name)


def _read(lake: Lake, name: str) -> "pd.DataFrame":
    import pandas as pd

    path, whole = lake.path(name), lake.manifest_path(name).is_file()
    if not path.is_file() and not whole:
        return pd.DataFrame(columns=find_table(name).names)
    try:
        return lake.read(name) if whole else lake.rescue(name)
    except TableError as error:
        raise TableError(
            f"the ledger {name!r} cannot be carried on: {error}. Restore {path} and its manifest from a "
            "backup; a ledger is never made again, since only it remembers"
        ) from error


def append_row(lake: Lake, name: str, row: Mapping[str, Any]) -> None:
    """Add one row; those that are there stay as they are. Whole or not at all.

    Raises:
        TableError: as `read_rows`; the row does not match the schema, or its key is taken.
    """
    import pandas as pd

    with lake.locked(name):
        before = _read(lake, name)
        added = pd.DataFrame([dict(row)], columns=find_table(name).names)
        frame = pd.concat([before, added], ignore_index=True) if len(before) else added
        lake.write(name, frame, inputs="", code="")
