"""The audit as one HTML file that needs nothing else: no network, no JavaScript, no clock."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.atomic import write_text
from pipeline.audit.croissant import CROISSANT, describe_lake, dump_croissant
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Facts, dump_facts, facts_schema
from pipeline.audit.gathering import gather_facts
from pipeline.audit.sections.balance import render_splits
from pipeline.audit.sections.copies import render_copies
from pipeline.audit.sections.faults import render_aside, render_conflicts
from pipeline.audit.sections.headline import render_headline
from pipeline.audit.sections.looks import render_looks, render_shortcuts
from pipeline.audit.sections.provenance import render_collections, render_flow
from pipeline.digests import digest_bytes
from pipeline.pages.frame import frame_page
from pipeline.pages.gallery import Gallery
from pipeline.pages.markup import Html, join, tag
from pipeline.pages.style import STYLE

SECTIONS = (
    render_headline,
    render_flow,
    render_collections,
    render_conflicts,
    render_aside,
    render_copies,
    render_looks,
    render_shortcuts,
    render_splits,
)
LINKS = {
    "flow": "from files to patients",
    "collections": "collections",
    "conflicts": "contradicted labels",
    "aside": "set aside",
    "copies": "copy or neighbour?",
    "looks": "sizes and brightness",
    "shortcuts": "shortcuts",
    "splits": "splits",
}
REPORT, FACTS, SCHEMA = "audit.html", "audit.json", "audit.schema.json"


def render_report(evidence: Evidence, facts: Facts) -> str:
    """The page: the same evidence and facts give the same bytes.

    Args:
        evidence: where the pictures come from.
        facts: `gather_facts(evidence)`; every number on the page is one of these.

    Raises:
        FalxError: the page would be larger than `pipeline.pages.frame.MAX_BYTES`.
    """
    gallery = Gallery(evidence.thumbnails, evidence.pictures)
    headline, *others = (render(evidence, facts, gallery) for render in SECTIONS)
    links = tag("nav", *(tag("a", words, href=f"#{name}") for name, words in LINKS.items()))
    warnings = (tag("p", words, class_="note warn") for words in _warn(evidence, facts))
    main = tag("main", links, headline, *warnings, *others, _render_footer(facts))
    return frame_page(
        "Audit of the collections",
        main,
        style=STYLE,
        advice="the numbers SHOWN, TILES and LISTED in pipeline/audit/sections",
    )


def _warn(evidence: Evidence, facts: Facts) -> Iterator[str]:
    yield facts.disclaimers[0]
    barred = [one.name for one in facts.collections if one.redistribute != "yes"]
    files = evidence.files[evidence.files["collection"].isin(barred)]
    shown = sorted(set(files.loc[files["md5"].isin(evidence.thumbnails["image_id"]), "collection"]))
    if shown:
        yield (
            f"Do not pass this page on: it shows small pictures of {', '.join(shown)}, whose licence does "
            "not say that pixels may be passed on. An exported bundle holds a page without them."
        )


def _render_footer(facts: Facts) -> Html:
    """What the page is not, and what names its facts."""
    digest = digest_bytes(dump_facts(facts).encode())
    words = (tag("li", line) for line in facts.disclaimers)
    named = tag("p", "Every number is in audit.json, SHA-256 ", tag("code", digest), ".", class_="small")
    return tag("footer", tag("h3", "Read this too"), tag("ul", join(words), class_="small"), named)


def write_reports(
    evidence: Evidence,
    folder: Path,
    *,
    tables: Mapping[str, Path] | None = None,
    facts: Facts | None = None,
) -> dict[str, Path]:
    """Write `audit.html`, `audit.json`, `audit.schema.json` and `croissant.json`, each whole or not at all.

    Args:
        evidence: the tables.
        folder: where the reports go; made if it is missing.
        facts: `gather_facts(evidence)`, where they are at hand; gathered otherwise.
        tables: the stored tables that Croissant describes, by name; None writes no `croissant.json`.

    Returns:
        The paths by file name.

    Raises:
        FalxError: as for `render_report`.
        TableError: as for `describe_lake`.
    """
    facts = facts or gather_facts(evidence)
    texts = {
        REPORT: render_report(evidence, facts),
        FACTS: dump_facts(facts),
        SCHEMA: json.dumps(facts_schema(), indent=1, sort_keys=True) + "\n",
    }
    if tables is not None:
        texts[CROISSANT] = dump_croissant(describe_lake(evidence, tables, folder))
    for name, text in texts.items():
        write_text(folder / name, text)
    return {name: folder / name for name in texts}
