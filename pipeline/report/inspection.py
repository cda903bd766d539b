"""A page read as a stranger would read it: which numbers stand there, and whether each is a fact."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from pipeline.report.facts import Document
from pipeline.report.marks import NUMBER

VOID = {"meta", "img", "br"}
NAMES = {"code", "style"}
"""Elements whose text is names, digests and settings, and never a result."""


@dataclass(frozen=True)
class Difference:
    """One thing that does not agree: where, what is printed, what it should be, and what says so."""

    report: str
    name: str
    printed: str
    recomputed: str
    table: str

    def describe(self) -> str:
        """One line for a person."""
        return (
            f"{self.report}: {self.name}: printed {self.printed}, recomputed {self.recomputed} ({self.table})"
        )


@dataclass
class Reading:
    """What was read on a page."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    """Key and text of each element that names a fact."""
    strays: list[str] = field(default_factory=list)
    """Text that holds a number and stands in no such element, and end tags of nothing."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.reading = Reading()
        self._open: list[tuple[str, str]] = []
        self._said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        said = dict(attrs)
        kind = "name" if tag in NAMES or (tag == "title" and not self._inside("svg")) else ""
        kind = "constant" if "data-const" in said else kind
        kind = f"fact {said['data-fact']}" if "data-fact" in said else kind
        if kind.startswith("fact"):
            self._said = []
        self._open.append((tag, kind))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open[-1][0] != tag:
            self.reading.strays.append(f"</{tag}>")
            return
        _, kind = self._open.pop()
        if kind.startswith("fact"):
            self.reading.facts.append((kind.removeprefix("fact "), "".join(self._said)))

    def handle_data(self, data: str) -> None:
        kinds = {kind for _, kind in self._open if kind}
        if any(kind.startswith("fact") for kind in kinds):
            self._said.append(data)
        elif not kinds and NUMBER.search(data):
            self.reading.strays.append(data.strip())

    def _inside(self, tag: str) -> bool:
        return any(name == tag for name, _ in self._open)


def read_page(page: str) -> Reading:
    """The facts and stray numbers of a page, in its order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.reading


def inspect_page(page: str, document: Document, report: str) -> Iterator[Difference]:
    """Where a page says something else than its facts, or a number that is no fact; facts that it lacks.

    Args:
        page: the HTML.
        document: the facts beside it.
        report: names the report in what is found.
    """
    reading, facts = read_page(page), document.facts
    for key, said in reading.facts:
        if key not in facts:
            yield Difference(report, key, said, "no such fact", "the JSON beside the page")
        elif said != facts[key].printed:
            yield Difference(
                report, key, f"{said} on the page", facts[key].printed, "the JSON beside the page"
            )
    for stray in reading.strays:
        yield Difference(report, "a number that is no fact", repr(stray), "nothing", "the page")
    for key in facts.keys() - {key for key, _ in reading.facts}:
        yield Difference(report, key, "nothing on the page", facts[key].printed, "the JSON beside the page")
