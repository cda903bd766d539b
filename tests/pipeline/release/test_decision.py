"""The decision: the best of those that keep every clause, and a reason for each of the others."""

import math

from pipeline.release.decision import Candidate, decide, render_clauses
from pipeline.release.weighing import Clause


def clauses(score: float, passed: bool = True) -> list[Clause]:
    nan = math.nan
    return [
        Clause("macro_f1", "limit", score, nan, nan, 0.5, True, "high | enough"),
        Clause("gate", "limit", nan, nan, nan, nan, passed, "now: leaks"),
    ]


def candidate(name: str) -> Candidate:
    return Candidate(name, f"recipe_{name}", 0, "passed")


def test_the_best_that_keeps_every_clause_is_taken():
    weighed = {"a": clauses(0.8), "b": clauses(0.9), "c": clauses(0.95, passed=False)}
    found = decide([candidate(name) for name in "abc"], weighed, "old")
    assert (found.champion, found.promoted) == ("b", True)
    why = dict(zip(found.release["model_id"], found.release["why"], strict=True))
    assert why["a"] == "keeps every clause, but another challenger is higher"
    assert why["b"] == "keeps every clause; in place of old"
    assert why["c"] == "gate: now: leaks"
    assert found.release["champion"].tolist() == [False, True, False]
    assert "\\|" in render_clauses(found.clauses)
    assert render_clauses(found.clauses).count("**failed**") == 1


def test_the_champion_stays_where_nobody_keeps_every_clause():
    found = decide([candidate("a"), candidate("old")], {"a": clauses(0.9, passed=False)}, "old")
    assert (found.champion, found.promoted) == ("old", False)
    assert found.release.set_index("model_id").loc["old", "why"] == "the champion"


def test_a_replaced_champion_is_told_so_and_ties_go_to_the_first_by_name():
    weighed = {"b": clauses(0.9), "a": clauses(0.9)}
    found = decide([candidate("b"), candidate("a"), candidate("old")], weighed, "old")
    assert found.champion == "a"
    assert found.release.set_index("model_id").loc["old", "why"] == "the champion until now"


def test_without_candidates_there_are_empty_tables():
    found = decide([], {})
    assert (found.champion, len(found.release), len(found.clauses)) == ("", 0, 0)
    first = decide([candidate("a")], {"a": clauses(0.9)})
    assert first.release["why"].tolist() == ["keeps every clause; the first champion"]
