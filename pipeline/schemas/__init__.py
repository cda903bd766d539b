"""The schemas of all tables: columns, types, units, keys. What a room adds to a table, it declares here."""

from pipeline.schemas import curation, evaluation, release
from pipeline.schemas.columns import Column, Table
from pipeline.schemas.curation import QUARANTINE_REASONS

__all__ = ["QUARANTINE_REASONS", "SCHEMA_VERSION", "TABLES", "Column", "Table"]

SCHEMA_VERSION = 1

TABLES: dict[str, Table] = {
    table.name: table for table in (*curation.TABLES, *evaluation.TABLES, *release.TABLES)
}
