"""The model card: Hugging Face's headings, and no number but the facts'."""

import re
from dataclasses import replace

from pipeline.report.card import render_model_card, render_release_card
from pipeline.report.marks import NUMBER
from pipeline.report.model_facts import gather_model
from pipeline.report.model_page import render_model
from pipeline.report.words import LIMITS, explain_protocol
from pipeline.serving.card import DISCLAIMER


def find_strays(card: str, document, allowed: str) -> set[str]:
    known = {number for fact in document.facts.values() for number in NUMBER.findall(fact.printed)}
    fixed = set(NUMBER.findall(allowed))
    return {number for number in NUMBER.findall(re.sub(r"`[^`]*`", "", card)) if number not in known | fixed}


def test_the_card_has_the_headings_and_no_number_of_its_own(model):
    card = render_model_card(model)
    for heading in ("Model details", "Uses", "Bias, risks and limitations", "Training details", "Evaluation",
                    "Contract", "Citation and licence"):  # fmt: skip
        assert f"## {heading}" in card
    assert "### Out-of-scope use" in card
    assert DISCLAIMER in card
    assert model.figure("claim/macro_f1") in card
    allowed = " ".join([*LIMITS, explain_protocol("patient"), "95 %"])
    assert find_strays(card, model, allowed) == set()


def test_another_verdict_before_training_stands_beside_that_of_today(model, dice):
    assert "When it was trained" not in render_model_card(model)
    sources = dice.imagine("published")
    assert sources.card.gate == "leaks: 12 shared_picture"
    later = gather_model(replace(sources, gate="leaks: 13 shared_picture"), code="c", tables={})
    told = "Gate: leaks: 13 shared_picture. When it was trained: leaks: 12 shared_picture."
    assert told in render_model_card(later)
    page = render_model(
        later, dict.fromkeys(later.lists["misses"], dice.picture), up="../../", facts_file="f"
    )
    assert told in " ".join(re.sub(r"<[^>]+>", "", page).split())


def test_the_cards_tables_are_tables(model):
    lines = [line for line in render_model_card(model).splitlines() if line.startswith("|")]
    assert len(lines) > 15
    assert all(line.endswith("|") for line in lines)


def test_the_release_card_names_champion_figures_and_limits(release):
    card = render_release_card(release)
    champion, _row = release.lists["champion"]
    assert card.startswith(f"# Release: `{champion}`")
    assert release.figure(f"board/{champion}/patient/macro_f1") in card
    assert LIMITS[0] in card
    assert find_strays(card, release, " ".join(LIMITS)) == set()
