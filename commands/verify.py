"""`make verify`: every number of every report, counted again from the stored answers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import PrivateAttr

from assets.report_sources import (
    ANSWERS,
    find_cells,
    find_outdated,
    gather_model_sources,
    gather_release_sources,
    name_code,
    tell_outdated,
)
from assets.reports import RELEASE, find_reports, locate, name_place, render_files
from pipeline.digests import digest_file
from pipeline.errors import FalxError, ReportError, TableError
from pipeline.protocols import list_protocols, protocol_path, split_table
from resources.console import say
from resources.lake import Lake
from resources.raw import RawStore
from resources.settings import claim_home, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Document
    from pipeline.report.inspection import Difference
    from pipeline.report.verification import Stored

LISTED = 40
"""Differences that are listed for one report; a changed answer moves most of its numbers."""


class WatchfulLake(Lake):
    """A lake that reads a table that was changed behind its back all the same, and remembers that it was."""

    _damaged: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def damaged(self) -> dict[str, str]:
        """Table -> what is wrong with it, of those that were read."""
        return self._damaged

    def read(self, name: str) -> "pd.DataFrame":
        """A table as `Lake.read`; where its bytes are others than its manifest says, as it is now."""
        try:
            return super().read(name)
        except TableError as error:
            self._damaged[name] = str(error)
            if not self.path(name).is_file():
                raise
            return self.rescue(name)


def run_verify() -> int:
    """Print what was checked, and every difference.

    Returns:
        0 where all printed numbers are those that the stored answers give; 1 otherwise.

    Raises:
        ReportError: there is no report.
    """
    from resources.connect import connect_resources

    settings = load_settings()
    claim_home(settings.home, settings.profile)
    store = connect_resources(settings)["raw_store"]
    assert isinstance(store, RawStore)
    places = list(find_reports(store))
    if not places:
        raise ReportError(
            f"no report lies in {Path(store.home) / 'reports'}, so there is nothing to "
            "verify; make one first: "
            "make demo, make train RECIPE=… PROTOCOL=…, or make report where models are trained already"
        )
    start, wrong, lake = time.monotonic(), 0, WatchfulLake(home=store.home)
    outdated = {name_place(*cell): cell for cell in find_outdated(lake, store)}
    for place in places:
        if place in outdated and is_left_behind(lake, store, place, *outdated[place]):
            say(f"old   {place}: not verified; {tell_outdated(*outdated[place])}")
            continue
        wrong += verify_one(lake, store, place)
    missing = [
        f"{recipe} under {protocol}"
        for recipe, protocol in find_cells(lake, store)
        if name_place(recipe, protocol) not in places
    ]
    if missing:
        say(f"note: no report yet of {', '.join(missing)}; make report")
    for name, words in sorted(lake.damaged.items()):
        say(f"DAMAGED {name}: {words}")
    wrong += len(lake.damaged)
    spent = f"{len(places)} reports, in {time.monotonic() - start:.0f} s"
    say(f"\n{wrong} differences in {spent}" if wrong else f"\nevery number is as counted again: {spent}")
    return 1 if wrong else 0


def is_left_behind(lake: Lake, store: RawStore, place: str, recipe: str, protocol: str) -> bool:
    """Whether data went on without a report: its answers are those that it was made from, the split is not.

    Without its split the numbers cannot be counted again. Answers that were changed are no such case.
    """
    try:
        tables = read_report(store, place).document.tables
    except (FalxError, OSError):
        return False

    def is_same(name: str) -> bool:
        return lake.path(name).is_file() and tables.get(name) == digest_file(lake.path(name))

    answers = f"{protocol_path(protocol)}/{recipe}"
    data = (split_table(protocol), "groups", "patients")
    return all(is_same(f"{kind}/{answers}") for kind in ANSWERS) and not all(map(is_same, data))


def verify_one(lake: Lake, store: RawStore, place: str) -> int:
    """Check one report and print a line, and one for each difference; returns how many there are."""
    try:
        stored = read_report(store, place)
        found = list(compare(lake, store, stored))
    except (FalxError, OSError) as error:
        say(f"WRONG {place}: cannot be verified: {error}")
        return 1
    document = stored.document
    counted = f"{len(document.facts):,} numbers and sentences, {len(document.series)} curves"
    if not found:
        how = (
            "page and card byte by byte"
            if document.code == name_code(store)
            else "page by its numbers, card not read: other code made them"
        )
        say(f"ok    {place}: {counted}, {how}")
        return 0
    say(f"WRONG {place}: {counted}, {len(found)} differences:")
    for difference in found[:LISTED]:
        say(f"  - {difference.describe()}")
    if len(found) > LISTED:
        say(f"  … and {len(found) - LISTED} more")
    return len(found)


def read_report(store: RawStore, place: str) -> "Stored":
    """The three files of a report.

    Raises:
        ReportError: one of them is missing or unreadable.
    """
    from pipeline.report.facts import read_document
    from pipeline.report.verification import Stored

    paths = locate(store, place)
    absent = [path.name for path in paths.values() if not path.is_file()]
    if absent:
        raise ReportError(
            f"{', '.join(absent)} is missing beside the others; make the report again: make report"
        )
    page, card, facts = (paths[suffix].read_text(encoding="utf-8") for suffix in (".html", ".md", ".json"))
    return Stored(place, read_document(facts, str(paths[".json"])), page, card)


def compare(lake: Lake, store: RawStore, stored: "Stored") -> "Iterator[Difference]":
    """Everything in which a report differs from what its tables give now."""
    from pipeline.report.verification import compare_report

    paths = {name: lake.path(name) for name in stored.document.tables}
    # Of the bytes and not of the manifests: some of these tables are counted again and never read.
    tables = {name: digest_file(path) for name, path in paths.items() if path.is_file()}
    yield from compare_report(
        stored,
        recompute(lake, store, stored),
        render=lambda: render_files(lake, stored.name, stored.document),
        tables=tables,
    )


def recompute(lake: Lake, store: RawStore, stored: "Stored") -> "Document":
    """The facts of a report, gathered from tables that are counted again.

    Raises:
        ReportError: the report's place names no recipe and protocol.
    """
    from pipeline.report.model_facts import gather_model
    from pipeline.report.release_facts import gather_release

    tables = stored.document.tables
    if stored.name == RELEASE:
        sources = gather_release_sources(lake, store, anew=True)
        return gather_release(sources, code=name_code(store), tables=tables)
    for protocol in list_protocols(store.catalog.collections):
        recipe = stored.name.rsplit("/", 1)[-1]
        if name_place(recipe, protocol) == stored.name:
            found = gather_model_sources(lake, store, recipe, protocol, anew=True)
            return gather_model(found, code=name_code(store), tables=tables)
    raise ReportError(
        f"{stored.name} is the report of no protocol of the catalog; known: "
        f"{', '.join(list_protocols(store.catalog.collections))}. Remove its files, or put "
        "the collection back"
    )
