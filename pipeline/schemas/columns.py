"""What tables are declared with: the column, the table, and the columns that several tables share."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.labels import LABELS


@dataclass(frozen=True)
class Column:
    """One column: `kind` is string, int64, float64, bool, binary, image, strings, floats or members."""

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


def declare(name: str, row: str, key: Sequence[str], *columns: Column) -> Table:
    """A table of this name: what a row is, its key, its columns."""
    return Table(name, row, tuple(key), columns)


IMAGE_ID = Column("image_id", "string", "MD5 of the file's bytes, in hex")
COLLECTION = Column("collection", "string", "the collection's name in the catalog")
PATH = Column("path", "string", "path relative to the collection's folder, `/` between parts")
TRANSFORM = (
    Column("mirrored", "bool", "mirrored left–right against `representative`"),
    Column("turned", "int64", "then turned counter-clockwise against it: 0, 90, 180 or 270 degrees"),
    Column("transform", "floats", "a…f: (x, y) there is (ax + by + c, dx + ey + f) here; fractions, y down"),
)
FILE = (
    COLLECTION,
    PATH,
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
)
MODEL = (
    Column("model_id", "string", "digest of recipe, protocol, seed and training data"),
    Column("recipe", "string", "recipe name in the catalog"),
    Column("protocol", "string", "how the test set was chosen"),
    Column("seed", "int64", "seed of the training"),
)
INTERVAL = (
    Column("low", "float64", "2.5th percentile of the group bootstrap", True),
    Column("high", "float64", "97.5th percentile of the group bootstrap", True),
)
VALUE = (Column("value", "float64", "the figure; null where it is not defined", True), *INTERVAL)
FIGURES = (
    *MODEL,
    Column("metric", "string", "name of the metric"),
    Column("class", "string", "label, or `all`"),
    Column("variant", "string", "clean, or degradation:severity"),
    *VALUE,
    Column("n", "int64", "images"),
    Column("groups", "int64", "groups that the bootstrap drew from"),
)
PROBABILITIES = tuple(Column(f"p_{label}", "float64", f"probability of {label}, 0 to 1") for label in LABELS)
ANSWER = (
    *MODEL,
    IMAGE_ID,
    COLLECTION,
    PATH,
    Column("variant", "string", "clean, or degradation:severity"),
    Column("label", "string", "the true label"),
    Column("group_id", "string", "the unit that the bootstrap draws"),
    *PROBABILITIES,
)
