"""The ledger of releases: who reigns, who is held, where a rollback leads."""

import pandas as pd
import pytest

from pipeline.errors import ReleaseError
from pipeline.release.reign import choose_target, find_reign
from pipeline.tables import find_table


def ledger(*rows: dict) -> pd.DataFrame:
    base = {"recipe": "r", "seed": 0, "replaced": "", "held": [], "data_digest": "d", "split_digest": "s"}
    base |= {"code_commit": "c", "who": "ann", "why": "it drifts", "at": "now"}
    listed = [base | {"number": number} | row for number, row in enumerate(rows, 1)]
    return pd.DataFrame(listed, columns=find_table("releases").names)


def promotion(name: str, replaced: str = "") -> dict:
    return {
        "action": "promotion",
        "model_id": name,
        "version": str("abc".index(name) + 1),
        "replaced": replaced,
    }


def rollback(name: str, replaced: str, *held: str) -> dict:
    return promotion(name, replaced) | {"action": "rollback", "held": list(held)}


def test_nobody_reigns_before_the_first_release():
    assert find_reign(ledger()).model_id == ""


def test_the_last_row_reigns_and_a_rollback_holds_what_was_there():
    rows = [promotion("a"), promotion("b", "a"), rollback("a", "b", "b", "x")]
    reign = find_reign(ledger(*rows))
    assert (reign.model_id, reign.version, reign.number) == ("a", "1", 3)
    assert reign.held["b"] == "taken back by ann in release no. 3: it drifts"
    assert "a new model must come first" in reign.held["x"]


def test_after_the_next_promotion_only_what_was_taken_back_is_barred():
    rows = [promotion("a"), promotion("b", "a"), rollback("a", "b", "b", "x"), promotion("c", "a")]
    assert set(find_reign(ledger(*rows)).held) == {"b"}


def test_a_person_can_bring_back_what_a_person_took_back():
    rows = [promotion("a"), promotion("b", "a"), rollback("a", "b", "b"), rollback("b", "a", "a", "b")]
    assert set(find_reign(ledger(*rows)).held) == {"a"}


def test_a_rollback_leads_to_what_was_replaced_or_to_the_version_named():
    rows = ledger(promotion("a"), promotion("b", "a"), promotion("c", "b"))
    assert choose_target(rows)["model_id"] == "b"
    assert choose_target(rows, "1")["model_id"] == "a"
    again = ledger(promotion("a"), promotion("b", "a"), promotion("c", "b"), rollback("b", "c"))
    assert choose_target(again)["model_id"] == "a", "one further back, not to and fro"


@pytest.mark.parametrize(
    ("rows", "version", "words"),
    [
        ([], "", "nothing was released yet"),
        ([promotion("a")], "", r"nothing to roll back to: version 1 \(r\) replaced no other"),
        ([promotion("a")], "7", r"VERSION=7: no version .* released: 1 \(r\)"),
        ([promotion("a")], "1", "VERSION=1 is the champion already"),
    ],
)
def test_a_rollback_that_leads_nowhere_says_so(rows, version, words):
    with pytest.raises(ReleaseError, match=words):
        choose_target(ledger(*rows), version)
