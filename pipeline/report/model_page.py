"""The model report as one page."""

from collections.abc import Mapping

from pipeline.pages.frame import frame_page
from pipeline.pages.markup import Html, tag
from pipeline.report.facts import Document
from pipeline.report.marks import Marker, prose
from pipeline.report.sections.claim import render_claim, render_data
from pipeline.report.sections.doubt import (
    render_abstention,
    render_calibration,
    render_misses,
    render_mistakes,
    render_robustness,
    render_sets,
)
from pipeline.report.sections.making import render_card, render_contract, render_footer, render_training
from pipeline.report.sections.scores import render_parts, render_scores
from pipeline.report.style import STYLE

LINKS = {
    "data": "data",
    "scores": "scores",
    "calibration": "calibration",
    "abstention": "abstention",
    "sets": "conformal sets",
    "parts": "part by part",
    "misses": "missed tumours",
    "mistakes": "wrong answers by patient",
    "robustness": "poorer images",
    "training": "training",
    "contract": "contract",
    "card": "model card",
}


def render_model(document: Document, pictures: Mapping[str, Html], *, up: str, facts_file: str) -> str:
    """The page: the same arguments give the same bytes.

    Args:
        document: from `gather_model`.
        pictures: image_id -> picture of the missed tumours; a missing one leaves a gap with words.
        up: relative address of the folder that holds `release.html` and `audit.html`, as `../../`.
        facts_file: name of the JSON beside the page.

    Raises:
        FalxError: the page would be too large.
    """
    page = Marker(document)
    links = tag(
        "nav",
        tag("a", "release", href=f"{up}release.html"),
        tag("a", "audit", href=f"{up}audit.html"),
        *(tag("a", words, href=f"#{name}") for name, words in LINKS.items()),
    )
    main = tag(
        "main",
        links,
        render_claim(page),
        _warn(page),
        render_data(page),
        render_scores(page),
        render_calibration(page),
        render_abstention(page),
        render_sets(page),
        render_parts(page),
        render_misses(page, pictures),
        render_mistakes(page),
        render_robustness(page),
        render_training(page),
        render_contract(page),
        render_card(page),
        render_footer(page, facts_file),
    )
    return frame_page(document.name, main, style=STYLE, advice="SHOWN in pipeline/evaluation/misses.py")


def _warn(page: Marker) -> Html:
    barred = page.list("barred")
    if not barred or not page.list("misses"):
        return Html("")
    words = prose("Do not pass this page on: it may show small pictures of ")
    named = ", ".join(barred)
    return tag(
        "p",
        words,
        tag("code", named),
        ", whose licence does not say that pixels may be passed on.",
        class_="note",
    )
