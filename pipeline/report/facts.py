"""Facts: every number that a report prints, with where it comes from; `<report>.json` is these, dumped.

A page is rendered from a `Document` alone (and the thumbnails it names), so what is not in here cannot be
printed, and whoever recomputes a document recomputes the page.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from pipeline.errors import ReportError
from pipeline.pages.markup import percent
from pipeline.recipe import Strict
from pipeline.tables import list_rows

if TYPE_CHECKING:
    import pandas as pd

FACTS_VERSION: Literal[1] = 1
UNDEFINED = "–"
TEXT, COUNT, SHARE = "text", ",", "%"
MAX_POINTS = 200

Value: TypeAlias = int | float | str | None
Points: TypeAlias = list[list[float | None]]


class Fact(Strict):
    """One printed number, or a sentence that holds numbers."""

    value: Value = Field(description="in full; null where it is not defined")
    form: str = Field(description="how it is printed: text, % (a share as per cent), or a format of Python")
    printed: str = Field(description="as it stands on the page")
    source: str = Field(description="table of the lake, or file, that it is recomputed from")
    how: str = Field(description="what was counted, in words")


class Document(Strict):
    """Everything that a report says."""

    version: Literal[1] = FACTS_VERSION
    kind: Literal["model", "release"]
    name: str = Field(description="what it is about: <recipe> under <protocol>, or release")
    code: str = Field(description="version of the code that gathered and rendered it")
    tables: dict[str, str] = Field(description="tables that it was made from -> their SHA-256")
    facts: dict[str, Fact]
    series: dict[str, Points] = Field(description="curves, as points; drawn, and recomputed like the facts")
    lists: dict[str, list[str]] = Field(description="names in the order in which the page shows them")

    def printed(self, key: str) -> str:
        """A fact as it is printed.

        Raises:
            KeyError: there is no such fact.
        """
        return self.facts[key].printed

    def figure(self, key: str) -> str:
        """A value with its interval, where it has one: 0.892 [0.830, 0.922]."""
        if f"{key}/low" not in self.facts:
            return self.printed(key)
        return f"{self.printed(key)} [{self.printed(f'{key}/low')}, {self.printed(f'{key}/high')}]"


def key_rows(frame: "pd.DataFrame", *columns: str) -> dict[tuple[str, ...], dict[Any, Any]]:
    """The rows of a frame by the names in some of its columns."""
    return {tuple(str(row[name]) for name in columns): row for row in list_rows(frame)}


def find_first(rows: Mapping[tuple[str, ...], Mapping[Any, Any]]) -> str:
    """The class that breaks first: of rows by metric and class, that of the largest drop of recall."""
    drops = {name: float(row["value"]) for (metric, name), row in rows.items() if metric == "recall_drop"}
    return max(sorted(drops), key=lambda name: -math.inf if math.isnan(drops[name]) else drops[name])


def print_value(value: Value, form: str) -> str:
    """A value as it is printed under a form; – where it is not defined."""
    if value is None:
        return UNDEFINED
    if form == TEXT:
        return str(value)
    return percent(float(value), 1) if form == SHARE else format(value, form)


class Tally:
    """Collects facts while they are gathered; a key is given once."""

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        self.series: dict[str, Points] = {}
        self.lists: dict[str, list[str]] = {}

    def add(self, key: str, value: Any, form: str, source: str, how: str) -> None:
        """A fact; numbers of NumPy become Python's, NaN becomes null.

        Raises:
            ValueError: the key is taken by another fact.
        """
        plain: Value = value.item() if hasattr(value, "item") else value
        if isinstance(plain, float) and not math.isfinite(plain):
            plain = None
        fact = Fact(value=plain, form=form, printed=print_value(plain, form), source=source, how=how)
        if self.facts.setdefault(key, fact) != fact:
            raise ValueError(f"two facts have the key {key!r}: {self.facts[key]} and {fact}")

    def count(self, key: str, value: Any, source: str, how: str) -> None:
        """A whole number."""
        self.add(key, int(value), COUNT, source, how)

    def number(self, key: str, value: Any, source: str, how: str, form: str = ".3f") -> None:
        """A number with decimals, by default three."""
        self.add(key, float(value), form, source, how)

    def share(self, key: str, part: float, whole: float, source: str, how: str) -> None:
        """A part of a whole, printed in per cent; not defined out of nothing."""
        self.add(key, part / whole if whole else None, SHARE, source, how)

    def text(self, key: str, words: object, source: str, how: str) -> None:
        """A sentence, name or digest."""
        self.add(key, str(words), TEXT, source, how)

    def figure(self, key: str, row: Mapping[Any, Any], source: str, how: str, form: str = ".3f") -> None:
        """A row with value, low and high: three facts, of which the last two are left out where undefined."""
        self.number(key, row["value"], source, how, form)
        if math.isfinite(float(row["low"])):
            for end in ("low", "high"):
                self.number(f"{key}/{end}", row[end], source, f"{how}, {end} end of the 95 % interval", form)

    def curve(self, name: str, *columns: Sequence[float] | Any) -> None:
        """Points of a curve, a list for each; of many, evenly spaced ones with the last."""
        points = [
            [float(one) if math.isfinite(float(one)) else None for one in row]
            for row in zip(*columns, strict=True)
        ]
        last = len(points) - 1
        if len(points) > MAX_POINTS:
            points = [points[round(place * last / (MAX_POINTS - 1))] for place in range(MAX_POINTS)]
        self.series[name] = points

    def order(self, name: str, names: Iterable[object]) -> None:
        """Names in the order in which they are shown."""
        self.lists[name] = [str(one) for one in names]

    def close(
        self, kind: Literal["model", "release"], name: str, *, code: str, tables: Mapping[str, str]
    ) -> Document:
        """The document of all that was collected."""
        return Document(
            kind=kind,
            name=name,
            code=code,
            tables=dict(sorted(tables.items())),
            facts=self.facts,
            series=self.series,
            lists=self.lists,
        )


def dump_document(document: Document) -> str:
    """The text of `<report>.json`: the same document gives the same bytes; facts in the order of the page."""
    data = document.model_dump(mode="json")
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_document(text: str, where: str) -> Document:
    """The document in a JSON text.

    Args:
        where: named in the error.

    Raises:
        ReportError: the text is no document that this code can read.
    """
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        raise ReportError(
            f"{where} holds no facts that this code can read ({error.error_count()} mistakes, the first: "
            f"{error.errors()[0]['msg']}); make the report again: make report"
        ) from error
