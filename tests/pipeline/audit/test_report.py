"""The page: self-contained, escaped, deterministic, in the order of its questions."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.audit.gathering import gather_facts
from pipeline.audit.report import LINKS, render_report, write_reports
from pipeline.errors import FalxError
from pipeline.pages import frame

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """What is on a page; complains about elements that do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.ids, self.said = [], [], [], [], []

    def handle_starttag(self, name, attributes):
        said = dict(attributes)
        self.tags.append(name)
        self.addresses += [(name, said[key]) for key in ("src", "href") if key in said]
        self.ids += [said["id"]] if "id" in said else []
        self.open += [] if name in VOID else [name]

    def handle_startendtag(self, name, attributes):
        self.tags.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.said.append(data)


@pytest.fixture(scope="module")
def page(evidence, facts):
    return render_report(evidence, facts)


@pytest.fixture(scope="module")
def outline(page):
    read = Outline()
    read.feed(page)
    read.close()
    assert read.open == []
    return read


def test_answers_first(page):
    body = page[page.index("<body>") :]
    assert re.search(r"<h1>(.*?)</h1>", body).group(1) == "Of 5 published test images, 80.0 % are in training"
    places = [body.index(f'id="{name}"') for name in LINKS]
    assert places == sorted(places)


def test_loads_nothing(outline, page):
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    assert all(
        address.startswith("data:image/webp;base64,") for name, address in outline.addresses if name == "img"
    )
    assert all(address.startswith(("#", "https://")) for name, address in outline.addresses if name == "a")
    assert "url(" not in page
    assert "@import" not in page


def test_links_lead_somewhere(outline):
    inside = {address[1:] for name, address in outline.addresses if address.startswith("#")}
    assert inside == set(LINKS)
    assert inside <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_text_from_outside_is_escaped(page, outline):
    assert "<i>.jpg" not in page
    assert "broken &lt;i&gt;.jpg" in page
    words = "".join(outline.said)
    for said in ("what was found <b>", "Title of web_a & co", "none <stated>", "contradicted.jpg"):
        assert said in words


def test_says_what_it_is_not(outline):
    words = "".join(outline.said)
    assert "Not a medical device" in words
    assert "never counted as a patient" in words


def test_same_tables_same_bytes(evidence, facts, page, kit):
    assert render_report(kit.shuffle(evidence, 3), facts) == page


def test_every_section_has_pictures_behind_it(page):
    parts = re.split(r"<h2 ", page)
    pictured = {part[4 : part.index('"', 4)] for part in parts[1:] if "data:image/webp" in part}
    assert pictured == {"flow", "collections", "conflicts", "aside", "copies", "splits"}
    assert "data:image/webp" in parts[0]


def test_nothing_found_is_said(evidence, kit):
    empty = {
        name: kit.cast(name, getattr(evidence, name).head(0))
        for name in ("pairs", "review", "conflicts", "foreign", "folds", "quarantine")
    }
    images = evidence.images.assign(
        members=[[one | {"published_split": None} for one in own] for own in evidence.images["members"]]
    )
    bare = replace(evidence, **empty, images=images, splits={})
    page = render_report(bare, gather_facts(bare))
    for said in (
        "No collection here publishes a test folder", "None: no picture carries two labels",
        "No file is set aside", "None was found by the statistics", "No two images were alike enough",
    ):  # fmt: skip
        assert said in page


def test_missing_thumbnails_leave_a_gap(evidence, facts):
    page = render_report(replace(evidence, thumbnails=evidence.thumbnails.head(0)), facts)
    assert "data:image/webp" not in page
    assert "no picture" in page


def test_page_with_barred_pictures_says_so(evidence, facts, page):
    assert "it shows small pictures of web_a, web_b, whose licence" in page
    allowed = evidence.images.loc[evidence.images["collection"] == "reference", "image_id"]
    free = evidence.thumbnails[evidence.thumbnails["image_id"].isin(allowed)]
    assert "Do not pass this page on" not in render_report(replace(evidence, thumbnails=free), facts)


def test_shortened_sheets_say_of_how_many(page, facts):
    for one in facts.comparison.scores:
        total = one.by_verdict.get("copy", 0)
        assert total <= 24 or f"weakest accepted pairs: are these copies? (24 of {total} pairs" in page
    assert any(one.by_verdict.get("copy", 0) > 24 for one in facts.comparison.scores)


def test_too_large_is_refused(evidence, facts, monkeypatch):
    monkeypatch.setattr(frame, "MAX_BYTES", 1000)
    with pytest.raises(FalxError, match=r"takes [\d,]+ bytes; 1,000 are allowed. Show fewer pictures"):
        render_report(evidence, facts)


def test_reports_are_written(evidence, facts, page, tmp_path):
    written = write_reports(evidence, tmp_path / "reports", facts=facts)
    assert sorted(written) == ["audit.html", "audit.json", "audit.schema.json"]
    assert written["audit.html"].read_text("utf-8") == page
    assert json.loads(written["audit.json"].read_text("utf-8"))["version"] == facts.version
