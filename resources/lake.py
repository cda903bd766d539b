"""The lake: every table between assets as one Parquet file with a manifest, written whole or not at all."""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from pipeline.atomic import replacing_file, write_text
from pipeline.digests import digest_file, digest_json
from pipeline.errors import TableError
from pipeline.schemas import SCHEMA_VERSION
from pipeline.tables import arrow_schema, find_table, from_arrow, to_arrow

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


PARSED_TABLES = 32
PARSED_BYTES = 1 << 20
"""Of a Parquet file: a larger table is parsed each time that it is read."""
_PARSED: "dict[str, pd.DataFrame]" = {}


class Manifest(BaseModel):
    """What a table was made from and what it holds; its presence means that the table is complete."""

    table: str
    schema_version: int
    inputs: str
    code: str
    rows: int
    bytes: int
    digest: str


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Tables under `<home>/lake/<name>.parquet`, each with `<name>.manifest.json` beside it."""

    home: str

    def path(self, name: str) -> Path:
        """Where the table's Parquet file lies."""
        return Path(self.home) / "lake" / f"{name}.parquet"

    def manifest_path(self, name: str) -> Path:
        """Where the table's manifest lies."""
        return self.path(name).with_suffix(".manifest.json")

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of a complete table of the present schema version, else None.

        Raises:
            TableError: there is one, but damaged.
        """
        path = self.manifest_path(name)
        if not path.is_file() or not self.path(name).is_file():
            return None
        try:
            found = Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise TableError(
                f"{path} is no manifest that Falx wrote, so table {name!r} cannot be trusted; remove the "
                "manifest and materialise the asset again"
            ) from error
        return found if found.schema_version == SCHEMA_VERSION else None

    def digest(self, name: str) -> str:
        """SHA-256 of a complete table.

        Raises:
            TableError: the table is not there.
        """
        found = self.manifest(name)
        if found is None:
            raise TableError(
                f"table {name!r} is not in the lake, or of another schema version ({self.path(name)}); "
                f"materialise the asset {name!r} first"
            )
        return found.digest

    def digest_inputs(self, names: Iterable[str], parameters: Mapping[str, Any] | None = None) -> str:
        """Digest of what a table is made from: the tables `names` and plain parameters."""
        tables = {name: self.digest(name) for name in names}
        return digest_json({"tables": tables, "parameters": dict(parameters or {})})

    def forget(self, name: str) -> None:
        """Take the manifest away: the table counts as incomplete until it is written again."""
        self.manifest_path(name).unlink(missing_ok=True)

    def is_whole(self, name: str) -> bool:
        """Whether the table is there, complete, of the present schema version, and unharmed."""
        found = self.manifest(name)
        return found is not None and digest_file(self.path(name)) == found.digest

    def is_current(self, name: str, *, inputs: str, code: str) -> bool:
        """Whether the stored table was made from these inputs by this code, and is unharmed."""
        found = self.manifest(name)
        return found is not None and (found.inputs, found.code) == (inputs, code) and self.is_whole(name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Alone with a table that is read, extended and written again; others wait."""
        path = self.path(name).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def read(self, name: str) -> "pd.DataFrame":
        """A table as a frame, rows sorted by key.

        Raises:
            TableError: it is missing, incomplete, damaged, or has another schema than declared.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        expected = self.digest(name)
        data = self.path(name).read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise TableError(
                f"table {name!r} ({self.path(name)}) was changed or damaged after it was written; "
                "materialise its asset again"
            )
        # The bytes are read and checked each time; what they say is parsed once for many readers. Frames
        # share columns until one is written to (pandas copies then): none sees what another does.
        kept = _PARSED.get(expected)
        if kept is None:
            kept = from_arrow(name, pq.read_table(pa.BufferReader(data)))
            if len(data) <= PARSED_BYTES:
                _keep(expected, kept)
        return kept.copy(deep=False)

    def head(self, name: str, rows: int) -> "pd.DataFrame":
        """The first rows of a table of any size; its digest is checked first.

        Raises:
            TableError: it is missing, damaged, or has another schema than declared.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._check_bytes(name)
        with pq.ParquetFile(self.path(name), memory_map=True) as file:
            first = next(file.iter_batches(batch_size=rows), None)
            batches = [] if first is None else [first]
            return from_arrow(name, pa.Table.from_batches(batches, file.schema_arrow))

    def pick(self, name: str, image_ids: "Iterable[str]") -> "pd.DataFrame":
        """The rows of some images of a large table; only their cells become Python's.

        Raises:
            TableError: it is missing, incomplete, damaged, or has another schema than declared.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._check_bytes(name)
        wanted, parts = pa.array(sorted(set(image_ids)), pa.string()), []
        with pq.ParquetFile(self.path(name), memory_map=True) as file:
            for batch in file.iter_batches(batch_size=1024):
                parts.append(batch.filter(pc.is_in(batch.column("image_id"), wanted)))
            return from_arrow(name, pa.Table.from_batches(parts, file.schema_arrow))

    def read_parts(self, name: str) -> Iterator["pd.DataFrame"]:
        """A large table part by part, in key order, in bounded memory; its digest is checked first.

        Raises:
            TableError: it is missing, damaged, or has another schema than declared.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._check_bytes(name)
        with pq.ParquetFile(self.path(name)) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from_arrow(name, pa.Table.from_batches([batch]))

    def _check_bytes(self, name: str) -> None:
        if digest_file(self.path(name)) != self.digest(name):
            raise TableError(f"table {name!r} ({self.path(name)}) was changed; materialise its asset again")

    def rescue(self, name: str) -> "pd.DataFrame":
        """A whole table whose manifest a kill kept from being written; its digest cannot be checked.

        Raises:
            TableError: it is damaged, or has another schema than declared.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.path(name))
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(
                f"table {name!r} ({self.path(name)}) has no manifest and cannot be read: {error}; "
                "materialise its asset again"
            ) from error
        return from_arrow(name, table)

    def write(self, name: str, frame: "pd.DataFrame", *, inputs: str, code: str) -> Manifest:
        """Store a frame: checked, sorted by key, whole or not at all; the manifest comes last.

        Raises:
            TableError: the frame does not match the declared schema; the stored table stays as it was.
        """
        return self._write(name, [to_arrow(name, frame)], inputs=inputs, code=code)

    def write_stream(
        self, name: str, frames: Iterable["pd.DataFrame"], *, inputs: str, code: str
    ) -> Manifest:
        """Store frames that follow one another in key order, one row group each, in bounded memory.

        Raises:
            TableError: a frame does not match the declared schema, or frames are out of key order.
        """
        return self._write(name, _in_order(name, frames), inputs=inputs, code=code)

    def _write(self, name: str, tables: Iterable["pa.Table"], *, inputs: str, code: str) -> Manifest:
        import pyarrow.parquet as pq

        path, rows = self.path(name), 0
        with replacing_file(path) as temporary:
            schema = arrow_schema(find_table(name))
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table)
                    rows += table.num_rows
            found = Manifest(
                table=name,
                schema_version=SCHEMA_VERSION,
                inputs=inputs,
                code=code,
                rows=rows,
                bytes=temporary.stat().st_size,
                digest=digest_file(temporary),
            )
            self.manifest_path(name).unlink(missing_ok=True)
        write_text(self.manifest_path(name), json.dumps(found.model_dump(), indent=2) + "\n")
        return found


def _keep(digest: str, frame: "pd.DataFrame") -> None:
    """Keep a parsed table; the longest kept one goes where there are too many."""
    while len(_PARSED) >= PARSED_TABLES:
        _PARSED.pop(next(iter(_PARSED)))
    _PARSED[digest] = frame


def _in_order(name: str, frames: Iterable["pd.DataFrame"]) -> Iterator["pa.Table"]:
    key, last = find_table(name).key, None
    for frame in frames:
        table = to_arrow(name, frame)
        if not table.num_rows:
            continue
        first, final = (tuple(table.column(column)[row].as_py() for column in key) for row in (0, -1))
        if last is not None and first <= last:
            raise TableError(f"table {name!r}: rows {first} follow {last}; frames must come in key order")
        last = final
        yield table
