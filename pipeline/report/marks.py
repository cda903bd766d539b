"""Numbers on the page: each is a fact in an element that names it, or a constant marked as such."""

import re

from pipeline.pages.markup import Html, escape, join, tag
from pipeline.report.facts import Document

NUMBER = re.compile(r"(?<!\w)\d\w*(?:[.,:]\d+)*")
"""What reads as a number: it starts with a digit, after no letter. `slim64`, `F1` and `MD5` are names."""


class Marker:
    """Gives the facts of one document to a page."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def __contains__(self, key: object) -> bool:
        return key in self.document.facts

    def list(self, name: str) -> list[str]:
        """Names in the order in which they are shown."""
        return self.document.lists[name]

    def show(self, key: str) -> Html:
        """A fact as an element that names it."""
        printed = self.document.printed(key)
        return tag("data", printed, value=printed, data_fact=key)

    def block(self, key: str) -> Html:
        """A text of many lines, as it is."""
        return tag("pre", self.document.printed(key), data_fact=key)

    def draw(self, key: str) -> Html:
        """A fact inside the text of an SVG."""
        return tag("tspan", self.document.printed(key), data_fact=key)

    def name(self, key: str) -> Html:
        """A fact that is a name, a digest or a version, in the type of code."""
        return tag("code", self.show(key))

    def figure(self, key: str) -> Html:
        """A value with its interval, where it has one."""
        ends = self._ends(key)
        return join([self.show(key), *([" ", tag("span", ends, class_="ends")] if ends else [])])

    def cell(self, key: str) -> Html:
        """The same for a table: the interval on a line of its own; empty where there is no such fact."""
        if key not in self:
            return Html("")
        ends = self._ends(key)
        return join([self.show(key), *([tag("div", ends, class_="ends")] if ends else [])])

    def _ends(self, key: str) -> Html:
        if f"{key}/low" not in self:
            return Html("")
        return join(["[", self.show(f"{key}/low"), ", ", self.show(f"{key}/high"), "]"])


def prose(words: str) -> Html:
    """Fixed words of a page, never words from a table: its numbers are marked as constants, `x` as code."""
    parts = re.split(r"`([^`]*)`", words)
    return join(tag("code", part) if place % 2 else _mark(part) for place, part in enumerate(parts))


def tick(words: str) -> Html:
    """A number of an axis, always the same: marked as a constant, for the text of an SVG."""
    return tag("tspan", words, data_const="")


def _mark(words: str) -> Html:
    marked, last = [], 0
    for found in NUMBER.finditer(words):
        marked += [escape(words[last : found.start()]), tag("span", found.group(), data_const="")]
        last = found.end()
    return join([*marked, words[last:]])
