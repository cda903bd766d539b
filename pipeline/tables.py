"""The tables at the edges of assets: columns, types, units, keys; checked when written and when read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TableError
from pipeline.labels import LABELS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA_VERSION = 1

QUARANTINE_REASONS = {
    "empty": "the file has no bytes",
    "truncated": "the image data ends early",
    "corrupt": "the bytes claim to be an image but cannot be decoded",
    "not_an_image": "no image format that Falx reads",
    "too_large": "more pixels than a slice can have",
    "hidden": "inside a dot-folder, or a dot-file",
    "sidecar": "a table that describes the images, read as such",
    "mask": "a segmentation mask, never an image",
    "unmapped_label": "its folder's label is not in the collection's label map",
    "unlabelled": "the collection gives no label for it",
    "unreadable": "the file cannot be opened or changed while it was read",
    "link": "a symbolic link, which is never followed",
}


@dataclass(frozen=True)
class Column:
    """One column: `kind` is string, int64, float64, bool, binary, image, strings or members."""

    name: str
    kind: str
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that identify a row."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [column.name for column in self.columns]


def _table(name: str, row: str, key: Sequence[str], *columns: Column) -> Table:
    return Table(name, row, tuple(key), columns)


_IMAGE_ID = Column("image_id", "string", "MD5 of the file's bytes, in hex")
_COLLECTION = Column("collection", "string", "the collection's name in the catalog")
_PATH = Column("path", "string", "path relative to the collection's folder, `/` between parts")
_MODEL = (
    Column("model_id", "string", "digest of recipe, protocol, seed and training data"),
    Column("recipe", "string", "recipe name in the catalog"),
    Column("protocol", "string", "how the test set was chosen"),
    Column("seed", "int64", "seed of the training"),
)
_PROBABILITIES = tuple(Column(f"p_{label}", "float64", f"probability of {label}, 0 to 1") for label in LABELS)

_ALL = (
    _table(
        "files",
        "one file found in a raw folder",
        ["collection", "path"],
        _COLLECTION,
        _PATH,
        Column("bytes", "int64", "size in bytes; 0 where it was not looked at, as behind a link"),
        Column("md5", "string", "MD5 of the bytes, in hex; null where the file was not read", True),
        Column("width", "int64", "pixels as seen; null where not decoded", True),
        Column("height", "int64", "pixels as seen; null where not decoded", True),
        Column("mode", "string", "colour mode as stored: L, RGB, RGBA, P, I;16, …", True),
        Column("format", "string", "format found in the bytes, whatever the name says", True),
        Column("published_split", "string", "train or test, where the collection's folders say so", True),
        Column("published_label", "string", "label as the collection spells it", True),
        Column("label", "string", "published_label on the one label scale", True),
        Column("licence", "string", "licence of the collection, as stated"),
        Column("reason", "string", "why the file is set aside; null for a member of `images`", True),
        Column("detail", "string", "what exactly was found", True),
    ),
    _table(
        "quarantine",
        "one file set aside, with the reason",
        ["collection", "path"],
        _COLLECTION,
        _PATH,
        Column("reason", "string", "one of: " + ", ".join(QUARANTINE_REASONS)),
        Column("detail", "string", "what exactly was found"),
    ),
    _table(
        "records",
        "what a reference collection says of one of its slices (members of images only)",
        ["collection", "path"],
        _COLLECTION,
        _PATH,
        Column("slice", "string", "the collection's own name of the slice"),
        Column("patient", "string", "patient id as the collection spells it", True),
        Column("box_x", "float64", "centre of the tumour's box, fraction of the width", True),
        Column("box_y", "float64", "centre of the tumour's box, fraction of the height", True),
        Column("box_w", "float64", "width of the tumour's box, fraction of the width", True),
        Column("box_h", "float64", "height of the tumour's box, fraction of the height", True),
    ),
    _table(
        "thumbnails",
        "one decodable MD5-distinct image, small",
        ["image_id"],
        _IMAGE_ID,
        Column("pixels", "binary", "64 × 64 grey uint8, row by row: 4,096 bytes"),
    ),
    _table(
        "images",
        "one MD5-distinct decodable image",
        ["image_id"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("label", "string", "the label, where its files agree or a rule decides; else null", True),
        Column("labels", "strings", "all labels seen, sorted"),
        Column("width", "int64", "pixels"),
        Column("height", "int64", "pixels"),
        Column("members", "members", "its files: collection, path, published split, label"),
    ),
    _table(
        "pictures",
        "one image, with the picture that it shows",
        ["image_id"],
        _IMAGE_ID,
        Column("picture_id", "string", "digest of the picture's representative image"),
        Column("representative", "string", "image_id of the image that stands for the picture"),
        Column("joined_to", "string", "image_id that it was proven against; itself where it stands alone"),
        Column("mirrored", "bool", "left–right mirrored against `representative`"),
        Column("flipped", "bool", "turned upside down (top–bottom) against `representative`"),
        Column("score", "float64", "similarity to `joined_to`, 1 for itself"),
        Column("evidence", "string", "self, or the proof that joined it"),
    ),
    _table(
        "patients",
        "one image with its patient, where known",
        ["image_id"],
        _IMAGE_ID,
        Column("patient_id", "string", "patient, suffixes merged; null where unknown", True),
        Column("source", "string", "record (own), copy (of a reference slice), or unknown"),
        Column("reference_id", "string", "image_id of the reference slice it is a copy of", True),
        Column("reference_label", "string", "label that the reference gives to the picture", True),
        Column("box_x", "float64", "centre of the tumour's box in own pixels, fraction of the width", True),
        Column("box_y", "float64", "centre of the tumour's box in own pixels, fraction of the height", True),
        Column("box_w", "float64", "width of the tumour's box, fraction of the width", True),
        Column("box_h", "float64", "height of the tumour's box, fraction of the height", True),
    ),
    _table(
        "groups",
        "one image with the smallest unit that may never be split",
        ["image_id"],
        _IMAGE_ID,
        Column("group_id", "string", "digest of the smallest image_id among connected pictures and patients"),
        Column("safety", "string", "what the group is known by: patient, picture or image"),
    ),
    _table(
        "splits",
        "one image (under `published`: one file) in one protocol",
        ["collection", "path"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("label", "string", "label trained on and scored against; null only if left out", True),
        Column("split", "string", "train, val, test or left_out"),
        Column("why", "string", "the rule that put it there"),
    ),
    _table(
        "audit",
        "one counted fact about the data",
        ["section", "subject", "measure"],
        Column("section", "string", "collections, quarantine, leaks or splits"),
        Column("subject", "string", "what was counted: a collection, a test set, a protocol"),
        Column("measure", "string", "the name of the count"),
        Column("value", "int64", "the count"),
        Column("total", "int64", "out of how many"),
    ),
    _table(
        "variants",
        "one degraded test image",
        ["image_id", "degradation", "severity"],
        _IMAGE_ID,
        Column("label", "string", "label of the clean image"),
        Column("degradation", "string", "name in catalog/degradations.yaml"),
        Column("severity", "int64", "1 (mild) to 5 (severe)"),
        Column("seed", "int64", "seed of the draw, a function of image, degradation and severity"),
        Column("image", "image", "PNG, grey, as a Hugging Face Image"),
    ),
    _table(
        "predictions",
        "one test image under one model",
        ["model_id", "collection", "path", "variant"],
        *_MODEL,
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("variant", "string", "clean, or degradation:severity"),
        Column("label", "string", "the true label"),
        Column("group_id", "string", "the unit that the bootstrap draws"),
        *_PROBABILITIES,
    ),
    _table(
        "metrics",
        "one figure",
        ["model_id", "metric", "class", "variant"],
        *_MODEL,
        Column("metric", "string", "name of the metric"),
        Column("class", "string", "label, or `all`"),
        Column("variant", "string", "clean, or degradation:severity"),
        Column("value", "float64", "the figure; null where it is not defined", True),
        Column("low", "float64", "2.5th percentile of the group bootstrap", True),
        Column("high", "float64", "97.5th percentile of the group bootstrap", True),
        Column("n", "int64", "images"),
        Column("groups", "int64", "groups that the bootstrap drew from"),
    ),
    _table(
        "leaderboard",
        "one recipe under one protocol",
        ["recipe", "protocol"],
        Column("recipe", "string", "recipe name in the catalog"),
        Column("protocol", "string", "how the test set was chosen"),
        Column("seeds", "int64", "number of seeds averaged"),
        Column("accuracy", "float64", "share of right answers"),
        Column("macro_f1", "float64", "mean of the per-class F1"),
        Column("macro_f1_low", "float64", "2.5th percentile of the group bootstrap", True),
        Column("macro_f1_high", "float64", "97.5th percentile of the group bootstrap", True),
        Column("miss_rate", "float64", "share of tumours called no_tumor", True),
        Column("optimism", "float64", "macro_f1 minus macro_f1 under `patient`, same recipe", True),
        Column("optimism_low", "float64", "2.5th percentile", True),
        Column("optimism_high", "float64", "97.5th percentile", True),
        Column("n", "int64", "test images"),
        Column("groups", "int64", "test groups"),
        Column("gate", "string", "verdict of the gate that the model was trained behind"),
    ),
    _table(
        "release",
        "one candidate for release",
        ["recipe"],
        Column("recipe", "string", "recipe name in the catalog"),
        Column("model_id", "string", "the model that was weighed"),
        Column("val_macro_f1", "float64", "macro-F1 on val under `patient`; never on test"),
        Column("gate", "string", "verdict of the gate"),
        Column("champion", "bool", "whether it is the one that carries the alias"),
        Column("why", "string", "the rule's words"),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def find_table(name: str) -> Table:
    """The schema of a lake table: the first part of `splits/patient` is `splits`.

    Raises:
        TableError: no such table is declared.
    """
    head = name.split("/", 1)[0]
    if head not in TABLES:
        raise TableError(f"there is no table {name!r}; declared in pipeline/tables.py: {', '.join(TABLES)}")
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
