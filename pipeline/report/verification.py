"""A stored report against the same facts counted again: numbers, curves, names, page and card."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.report.facts import COUNT, TEXT, Document, Fact, Points, print_value
from pipeline.report.inspection import Difference, inspect_page

TOLERANCE = 1e-5
"""Of a value, relative above 1: another machine differs in last bits, never in a printed digit."""


@dataclass(frozen=True)
class Stored:
    """A report as it lies on the disk."""

    name: str
    document: Document
    page: str
    card: str


def compare_report(
    stored: Stored, recomputed: Document, *, render: Callable[[], tuple[str, str]], tables: Mapping[str, str]
) -> Iterator[Difference]:
    """Everything in which a stored report differs from its recomputation.

    Args:
        stored: the three files.
        recomputed: the document gathered again, from tables counted again.
        render: gives page and card of the stored document, which are compared byte by byte; only asked where
            the same code made both and every name that it looks up is there.
        tables: table -> its digest now.
    """
    name, document = stored.name, stored.document
    for table, digest in document.tables.items():
        now = tables.get(table, "")
        if now != digest:
            found = now[:12] or "not in the lake"
            yield Difference(name, f"table {table}", f"made from {digest[:12]}", found, table)
    yield from _compare_facts(name, document.facts, recomputed.facts)
    yield from _compare_series(name, document.series, recomputed.series)
    for key in sorted(document.lists.keys() | recomputed.lists.keys()):
        ours, theirs = document.lists.get(key), recomputed.lists.get(key)
        if ours != theirs:
            yield Difference(name, f"list {key}", str(ours), str(theirs), "names in order")
    yield from inspect_page(stored.page, document, name)
    sides = ((document.facts, recomputed.facts), (document.lists, recomputed.lists))
    whole = all(mine.keys() >= theirs.keys() for mine, theirs in sides)
    if document.code == recomputed.code and whole:
        page, card = render()
        yield from _compare_bytes(name, "the page", stored.page, page)
        yield from _compare_bytes(name, "the card", stored.card, card)


def _compare_facts(name: str, ours: Mapping[str, Fact], theirs: Mapping[str, Fact]) -> Iterator[Difference]:
    for key, fact in ours.items():
        other = theirs.get(key)
        if other is None:
            yield Difference(name, key, fact.printed, "no longer counted", fact.source)
        elif not _agree(fact, other):
            shown = fact.printed if fact.printed != other.printed else f"{fact.printed} ({fact.value})"
            found = other.printed if fact.printed != other.printed else f"{other.printed} ({other.value})"
            yield Difference(name, key, shown, found, other.source)
    for key in theirs.keys() - ours.keys():
        yield Difference(name, key, "nothing", theirs[key].printed, theirs[key].source)


def _agree(fact: Fact, other: Fact) -> bool:
    """Same words and counts, and values that differ by no more than another machine's arithmetic could."""
    if (fact.form, fact.source, fact.how) != (other.form, other.source, other.how):
        return False
    if fact.form in (TEXT, COUNT):
        return fact.value == other.value and fact.printed == other.printed
    close = _is_close(fact.value, other.value)
    # A last bit can turn a rounding over: then what is printed must be what the stored value rounds to.
    return close and (fact.printed == other.printed or (fact.value != other.value and _rounds(fact)))


def _rounds(fact: Fact) -> bool:
    return fact.printed == print_value(fact.value, fact.form)


def _is_close(one: float | str | None, other: float | str | None) -> bool:
    if one is None or other is None:
        return one is other
    assert not isinstance(one, str) and not isinstance(other, str)
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _compare_series(
    name: str, ours: Mapping[str, Points], theirs: Mapping[str, Points]
) -> Iterator[Difference]:
    for key in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(key, []), theirs.get(key, [])
        same = len(one) == len(other) and all(
            len(mine) == len(yours) and all(map(_is_close, mine, yours))
            for mine, yours in zip(one, other, strict=True)
        )
        if not same:
            words = (f"a curve of {len(one)} points", f"another, of {len(other)}")
            yield Difference(name, f"curve {key}", *words, "the answers behind it")


def _compare_bytes(name: str, what: str, stored: str, made: str) -> Iterator[Difference]:
    if stored == made:
        return
    place = next(
        (spot for spot, (one, other) in enumerate(zip(stored, made, strict=False)) if one != other),
        min(len(stored), len(made)),
    )
    around = slice(max(0, place - 30), place + 30)
    yield Difference(
        name,
        f"{what}, character {place:,}",
        repr(stored[around]),
        repr(made[around]),
        "the facts beside it, rendered again",
    )
