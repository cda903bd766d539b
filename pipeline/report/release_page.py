"""The release report as one page."""

from pipeline.pages.frame import frame_page
from pipeline.pages.markup import tag
from pipeline.report.facts import Document
from pipeline.report.marks import Marker
from pipeline.report.sections.board import Address, render_board
from pipeline.report.sections.making import render_footer
from pipeline.report.sections.release import (
    render_audit_headline,
    render_candidates,
    render_contests,
    render_openings,
    render_release_claim,
    render_release_limits,
    render_release_robustness,
)
from pipeline.report.style import STYLE

LINKS = {
    "optimism": "optimism",
    "candidates": "candidates",
    "contests": "which recipes differ",
    "robustness": "poorer images",
    "audit": "why scores flatter",
    "openings": "openings of the test part",
    "limits": "limits",
}


def render_release(document: Document, *, address: Address, facts_file: str) -> str:
    """The page: the same arguments give the same bytes.

    Args:
        document: from `gather_release`.
        address: relative address of a model report.
        facts_file: name of the JSON beside the page.

    Raises:
        FalxError: the page would be too large.
    """
    page = Marker(document)
    links = tag(
        "nav",
        tag("a", "audit", href="audit.html"),
        *(tag("a", words, href=f"#{name}") for name, words in LINKS.items()),
    )
    main = tag(
        "main",
        links,
        render_release_claim(page),
        render_board(page, address),
        render_candidates(page),
        render_contests(page),
        render_release_robustness(page),
        render_audit_headline(page),
        render_openings(page),
        render_release_limits(),
        render_footer(page, facts_file),
    )
    return frame_page("release", main, style=STYLE, advice="the recipes compared")
