"""What a verification finds: one changed answer, one changed digit, one changed fact, each by name."""

from dataclasses import replace

import pytest

from pipeline.evaluation.metrics import score_predictions
from pipeline.report.card import render_model_card
from pipeline.report.facts import Fact
from pipeline.report.inspection import Difference, inspect_page, read_page
from pipeline.report.marks import NUMBER, prose
from pipeline.report.model_facts import gather_model
from pipeline.report.verification import Stored, compare_report


@pytest.fixture
def stored(model, page) -> Stored:
    return Stored("models/patient/slim64", model, page, render_model_card(model))


def check(stored: Stored, recomputed=None, **changes) -> list[Difference]:
    made = {"page": stored.page, "card": stored.card, "tables": stored.document.tables} | changes
    render = lambda: (made["page"], made["card"])  # noqa: E731
    return list(compare_report(stored, recomputed or stored.document, render=render, tables=made["tables"]))


def change(document, key: str, **fields):
    fact = document.facts[key].model_copy(update=fields)
    return document.model_copy(update={"facts": {**document.facts, key: fact}})


def test_an_untouched_report_has_no_difference(stored):
    assert check(stored) == []


def test_one_changed_answer_is_named_with_both_numbers_and_the_table(dice, stored):
    sources = dice.imagine()
    answers = sources.answers.copy()
    right = answers.index[(answers["label"] == "glioma") & (answers["p_glioma"] > 0.5)][0]
    columns = ["p_glioma", "p_no_tumor"]
    answers.loc[right, columns] = answers.loc[right, columns[::-1]].tolist()
    again = replace(sources, answers=answers, metrics=score_predictions(answers, draws=60))
    found = check(stored, gather_model(again, code="c", tables=stored.document.tables))
    names = {one.name for one in found}
    assert {"confusion/glioma/glioma", "confusion/glioma/no_tumor", "metric/accuracy/all"} <= names
    line = next(one for one in found if one.name == "metric/accuracy/all").describe()
    assert stored.document.printed("metric/accuracy/all") in line
    assert "predictions/patient/slim64" in line


def test_one_digit_of_the_page_is_named(stored, model):
    printed = model.printed("claim/macro_f1")
    other = printed[:-1] + str((int(printed[-1]) + 1) % 10)
    page = stored.page.replace(f">{printed}</data>", f">{other}</data>", 1)
    found = check(Stored(stored.name, model, page, stored.card), page=stored.page)
    assert (
        found[0].describe().startswith(f"models/patient/slim64: claim/macro_f1: printed {other} on the page")
    )
    assert found[1].name.startswith("the page, character ")


def test_a_digit_of_the_prose_or_of_a_curve_is_found_byte_by_byte(stored, model):
    for before, after in ((">2,000<", ">9,000<"), (">70<", ">90<"), ("<path d=", "<path  d=")):
        page = stored.page.replace(before, after, 1)
        assert page != stored.page
        found = check(Stored(stored.name, model, page, stored.card), page=stored.page)
        assert [one.name.split(" ")[2] for one in found] == ["character"]


def test_a_number_without_a_fact_is_a_difference(stored, model):
    page = stored.page.replace("<h2 ", "<p>accuracy 0.999</p><h2 ", 1)
    found = [one.describe() for one in inspect_page(page, model, "r")]
    assert found == ["r: a number that is no fact: printed 'accuracy 0.999', recomputed nothing (the page)"]


def test_a_fact_that_the_page_lacks_or_does_not_know_is_a_difference(stored, model):
    more = model.model_copy(
        update={"facts": {**model.facts, "extra": Fact(value=1, form=",", printed="1", source="t", how="h")}}
    )
    assert [one.name for one in inspect_page(stored.page, more, "r")] == ["extra"]
    less = model.model_copy(update={"facts": {k: v for k, v in model.facts.items() if k != "claim/groups"}})
    assert (
        "claim/groups: printed 16, recomputed no such fact"
        in next(inspect_page(stored.page, less, "r")).describe()
    )


@pytest.mark.parametrize(
    "fields", [{"printed": "0.999"}, {"value": 0.999}, {"how": "other words"}, {"value": None}]
)
def test_a_changed_fact_is_named(stored, fields):
    changed = change(stored.document, "claim/macro_f1", **fields)
    found = check(Stored(stored.name, changed, stored.page, stored.card), stored.document)
    assert found[0].name == "claim/macro_f1"


def test_a_last_bit_of_another_machine_is_no_difference(stored):
    value = stored.document.facts["claim/macro_f1"].value
    changed = change(stored.document, "claim/macro_f1", value=value + 1e-12)
    assert check(Stored(stored.name, changed, stored.page, stored.card), stored.document) == []


def test_a_changed_curve_list_table_or_card_is_named(stored):
    document = stored.document
    curve = {**document.series, "risk": document.series["risk"][1:]}
    bent = document.model_copy(update={"series": curve})
    found = check(Stored(stored.name, bent, stored.page, stored.card), document)
    assert [one.name for one in found] == ["curve risk"]
    lists = {**document.lists, "classes": ["glioma"]}
    other = document.model_copy(update={"lists": lists})
    found = check(Stored(stored.name, other, stored.page, stored.card), document)
    assert [one.name for one in found] == ["list classes"]
    found = check(stored, tables={"predictions/patient/slim64": "ff" * 32})
    assert found[0].describe() == (
        "models/patient/slim64: table predictions/patient/slim64: printed made from abababababab, recomputed "
        "ffffffffffff (predictions/patient/slim64)"
    )
    assert check(stored, tables={})[0].recomputed == "not in the lake"
    found = check(Stored(stored.name, document, stored.page, stored.card + "more"), card=stored.card)
    assert [one.name.split(",")[0] for one in found] == ["the card"]


def test_facts_that_only_one_side_has_are_named(stored):
    less = {key: fact for key, fact in stored.document.facts.items() if key != "claim/n"}
    fewer = stored.document.model_copy(update={"facts": less})
    assert "recomputed no longer counted" in check(stored, fewer)[0].describe()
    found = check(Stored(stored.name, fewer, stored.page, stored.card), stored.document)
    assert found[0].describe().startswith("models/patient/slim64: claim/n: printed nothing, recomputed 48")


def test_a_page_of_other_code_is_compared_by_its_numbers_alone(stored):
    other = stored.document.model_copy(update={"code": "newer"})
    assert check(stored, other, page="something else", card="else") == []


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("slim64 has F1 0.5 by MD5", ["0.5"]),
        ("1e-5 and 12,740 of 3×", ["1e", "5", "12,740", "3"]),
        ("macro-F1 up", []),
        ("at 10:30, SHA-256", ["10:30", "256"]),
    ],
)
def test_what_reads_as_a_number(words, numbers):
    assert NUMBER.findall(words) == numbers
    assert read_page(f"<p>{prose(words)}</p>").strays == []
    assert read_page(f"<p>{words}</p>").strays == ([words] if numbers else [])


def test_prose_marks_code_and_escapes():
    assert prose("a `b<1` & 2") == 'a <code>b&lt;1</code> &amp; <span data-const="">2</span>'


def test_a_count_that_is_off_by_one_in_a_million_is_another(stored):
    fact = Fact(value=11_178_564, form=",", printed="11,178,564", source="t", how="h")
    other = fact.model_copy(update={"value": 11_178_563, "printed": "11,178,563"})
    sides = [stored.document.model_copy(update={"facts": {"one": one}}) for one in (fact, other)]
    found = check(Stored("r", sides[0], stored.page, stored.card), sides[1])
    assert "one: printed 11,178,564, recomputed 11,178,563" in found[0].describe()


def test_a_last_bit_that_turns_a_rounding_over_is_no_difference(stored):
    fact = Fact(value=0.1235 + 1e-12, form=".3f", printed="0.124", source="t", how="h")
    other = fact.model_copy(update={"value": 0.1235 - 1e-12, "printed": "0.123"})
    sides = [stored.document.model_copy(update={"facts": {"one": one}}) for one in (fact, other)]
    found = check(Stored("r", sides[0], stored.page, stored.card), sides[1])
    assert not any(one.name == "one" and one.recomputed == "0.123" for one in found)


def test_a_page_that_lacks_a_fact_is_named_and_not_rendered(stored):
    less = {key: fact for key, fact in stored.document.facts.items() if key != "claim/n"}
    fewer = stored.document.model_copy(update={"facts": less})

    def refuse():
        raise KeyError("claim/n")

    held = Stored(stored.name, fewer, stored.page, stored.card)
    found = list(compare_report(held, stored.document, render=refuse, tables=fewer.tables))
    assert "claim/n: printed nothing" in found[0].describe()


def test_an_end_tag_of_nothing_is_a_difference(stored, model):
    found = [one.describe() for one in inspect_page(f"</p>{stored.page}", model, "r")]
    assert found == ["r: a number that is no fact: printed '</p>', recomputed nothing (the page)"]
