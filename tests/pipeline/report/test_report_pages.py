"""The pages: self-contained, every number a fact, the same content gives the same bytes."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import FalxError
from pipeline.labels import LABELS
from pipeline.pages import frame
from pipeline.report.card import render_release_card
from pipeline.report.inspection import inspect_page, read_page
from pipeline.report.model_facts import gather_model
from pipeline.report.model_page import LINKS, render_model
from pipeline.report.release_facts import gather_release
from pipeline.report.release_page import LINKS as RELEASE_LINKS
from pipeline.report.release_page import render_release
from pipeline.report.words import LOST


def draw(document) -> str:
    return render_model(document, {}, up="../../", facts_file="x.json")


def show(document) -> str:
    return render_release(document, address=lambda *names: "/".join(names), facts_file="release.json")


def constants(page: str) -> set[str]:
    return set(re.findall(r'data-const="">([^<]*)<', page))


def test_no_number_of_the_model_page_is_without_a_fact(page, model):
    assert list(inspect_page(page, model, "r")) == []
    assert len(read_page(page).facts) >= len(model.facts)


def test_no_number_of_the_release_page_is_without_a_fact(release_page, release):
    assert list(inspect_page(release_page, release, "r")) == []


@pytest.mark.parametrize("protocol", ["published", "stratified", "fold:1"])
def test_every_protocol_has_a_page_of_facts_alone(dice, protocol):
    sources = dice.imagine("published" if protocol == "fold:1" else protocol)
    if protocol == "fold:1":
        renamed = {
            name: getattr(sources, name).replace("published", protocol) for name in ("answers", "board")
        }
        sources = replace(sources, protocol=protocol, place="fold/1/slim64", **renamed)
    document = gather_model(sources, code="c", tables={})
    assert list(inspect_page(draw(document), document, "r")) == []


def test_constants_of_the_prose_do_not_move_with_the_results(dice):
    pages = [draw(gather_model(dice.imagine(skill=skill), code="c", tables={})) for skill in (0.5, 4.0)]
    assert pages[0] != pages[1]
    assert constants(pages[0]) == constants(pages[1])


def test_the_order_of_rows_changes_nothing(dice, model, release):
    assert gather_model(dice.shuffle(dice.imagine()), code="c", tables=model.tables) == model
    assert gather_release(dice.shuffle(dice.weigh()), code="c", tables=release.tables) == release


def test_pages_load_nothing_and_lead_somewhere(page, release_page):
    for text, links in ((page, LINKS), (release_page, RELEASE_LINKS)):
        assert "<script" not in text
        assert "url(" not in text
        assert "default-src 'none'" in text
        assert set(re.findall(r'src="(\w+:)', text)) <= {"data:"}
        assert {f'id="{name}"' in text for name in links} == {True}
        assert not re.findall(r'href="https?:', text)


def test_the_first_sentence_has_score_interval_images_groups_patients_safety_and_optimism(page, model):
    words = re.sub(r"<[^>]+>", "", page[page.index('class="claim"') : page.index("<table")])
    for key in ("claim/macro_f1", "board/published/optimism", "board/stratified/optimism"):
        assert model.figure(key) in words
    assert f"{model.printed('claim/n')} test images in {model.printed('claim/groups')} groups" in words
    assert f"{model.printed('claim/patients')} known patients" in words
    assert "Safety: patient-safe for" in words
    assert "Gate: passed." in words


def test_both_pages_say_that_it_is_no_medical_device(page, release_page):
    assert "not a medical device" in page
    assert "not a medical device" in release_page


def test_text_from_outside_is_escaped(page):
    assert "none <stated>" not in page
    assert "none &lt;stated&gt;" in page


def test_missed_tumours_have_their_pictures_or_a_gap_with_words(page, model):
    assert model.lists["misses"]
    assert page.count("data:image/webp") == len(model.lists["misses"])
    assert draw(model).count("no picture here") == len(model.lists["misses"])


def test_wrong_answers_are_counted_by_group_with_its_patients(dice):
    sources = dice.imagine()
    document = gather_model(sources, code="c", tables={})
    answers = sources.answers
    called = [LABELS[code] for code in answers[[f"p_{label}" for label in LABELS]].to_numpy().argmax(axis=1)]
    wrong = answers[answers["label"] != called].groupby("group_id").size().sort_values(ascending=False)
    facts = {key: fact.value for key, fact in document.facts.items() if key.startswith("mistakes/")}
    assert facts["mistakes/wrong"] == wrong.sum() > 0 and facts["mistakes/groups"] == len(wrong)
    first = document.lists["mistakes"][0]
    assert (facts["mistakes/0/wrong"], facts["mistakes/0/images"]) == (wrong.iloc[0], 3)
    assert wrong[first] == wrong.iloc[0] and facts["mistakes/0/share"] == wrong.iloc[0] / wrong.sum()
    known = sources.patients.set_index("image_id")["patient_id"]
    names = known[answers.loc[answers["group_id"] == first, "image_id"]].dropna().unique()
    assert facts["mistakes/0/patients"] == (", ".join(sorted(names)) or "unknown")
    flawless = gather_model(dice.imagine(skill=60.0), code="c", tables={})
    assert "Every clean test image was answered rightly." in draw(flawless)


def test_several_seeds_are_told_and_one_is_shown(dice):
    document = gather_model(dice.imagine(seeds=(0, 1)), code="c", tables={})
    text = draw(document)
    assert document.printed("claim/seeds") == "2"
    assert re.search(r" ± .*? over .*?>2<.*? seeds", text)
    assert "Shown from here on: seed" in text
    assert list(inspect_page(text, document, "r")) == []


def test_without_degraded_answers_robustness_says_so(dice):
    text = draw(gather_model(dice.imagine("published"), code="c", tables={}))
    assert "Not measured: degraded images" in text


def test_too_large_a_page_is_refused(model, monkeypatch):
    monkeypatch.setattr(frame, "MAX_BYTES", 1000)
    with pytest.raises(FalxError, match=r"the page “slim64 under patient” takes [\d,]+ bytes"):
        draw(model)


def test_the_release_names_its_champion_and_why(release_page, release):
    champion, row = release.lists["champion"]
    assert f"Released: {champion}" in release_page
    assert release.printed(f"release/{row}/why") in release_page
    assert "`" not in release.printed(f"release/{row}/why")


def test_columns_that_this_code_does_not_know_are_shown(dice):
    sources = dice.weigh()
    more = sources.release.assign(evidence=["held back 3 times", None], wins=[0.75, 0.5], ready=[True, False])
    document = gather_release(replace(sources, release=more), code="c", tables={})
    text = show(document)
    for words in ("held back 3 times", "0.7500", "evidence", "wins"):
        assert words in text
    assert list(inspect_page(text, document, "r")) == []


def test_no_champion_no_test_folder_and_no_opening_are_said(dice):
    sources = dice.weigh()
    bare = replace(
        sources,
        release=sources.release.assign(champion=False),
        audit=sources.audit.head(0),
        comparisons=sources.comparisons.head(0),
        robustness=sources.robustness.head(0),
    )
    document = gather_release(bare, code="c", tables={})
    text = show(document)
    for words in (
        "No model is released",
        "No collection here publishes a test folder",
        "No two recipes were tested on the same images",
        "No model has answered degraded images yet",
    ):
        assert words in text
    assert document.printed("audit/share") == "–"


def test_openings_are_counted(dice):
    rows = pd.DataFrame({"recipe": ["slim64", "cnn3", "slim64"], "opened_at": ["a", "b", "c"]})
    document = gather_release(dice.weigh(openings=rows), code="c", tables={})
    assert document.printed("openings/count") == "3"
    assert document.printed("openings/slim64") == "2"
    assert gather_release(dice.weigh(), code="c", tables={}).printed("openings/count") == "0"


def test_a_champion_is_never_given_the_score_of_a_later_model_of_its_recipe(dice):
    document = gather_release(dice.weigh(tested=()), code="c", tables={})
    champion = document.lists["champion"][0]
    head = show(document).split('id="optimism"')[0]
    assert LOST in head
    assert f"board/{champion}/patient/macro_f1" not in head
    assert LOST.capitalize() in render_release_card(document)
    assert list(inspect_page(show(document), document, "r")) == []


def test_the_share_of_test_images_with_a_twin_is_that_of_all_test_sets(release):
    assert release.printed("audit/share") == "90.0 %"
    assert release.facts["audit/share"].value == pytest.approx(np.float64(63 / 70))
