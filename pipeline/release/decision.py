"""The decision: the best of the challengers that keep every clause; the rest are told why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from pipeline.release.weighing import ALONE, Clause, tell_failures
from pipeline.tables import find_table


@dataclass(frozen=True)
class Candidate:
    """A trained model that may be released."""

    model_id: str
    recipe: str
    seed: int
    gate: str
    """Verdict of the gate on its card."""


@dataclass(frozen=True)
class Decision:
    """The champion from now on, and the tables that say why."""

    champion: str
    """model_id; empty where there is none."""
    promoted: bool
    """Whether the champion is another one than before."""
    release: pd.DataFrame
    clauses: pd.DataFrame


def decide(
    candidates: Sequence[Candidate], weighed: Mapping[str, Sequence[Clause]], champion: str = ""
) -> Decision:
    """Choose among challengers that were all weighed against the same champion.

    Several may keep every clause: the one with the highest macro-F1 on the settled val images is taken, ties
    go to the first by recipe and id. That it was the best of several flatters its figure a little; the
    margin of the comparison does not account for it.

    Args:
        candidates: challengers and, where it is known, the champion.
        weighed: model_id -> clauses, of every challenger.
        champion: model_id of the present champion; empty where there is none.
    """
    passed = [
        one for one in candidates if one.model_id in weighed and not tell_failures(weighed[one.model_id])
    ]
    best = min(
        passed, key=lambda one: (-_score(weighed[one.model_id]), one.recipe, one.model_id), default=None
    )
    crowned = best.model_id if best else champion
    rows = [
        {
            "model_id": one.model_id,
            "recipe": one.recipe,
            "seed": one.seed,
            "val_macro_f1": _score(weighed.get(one.model_id, ())),
            "gate": one.gate,
            "passed": one.model_id in weighed and one in passed,
            "champion": one.model_id == crowned,
            "why": _explain(one, weighed.get(one.model_id), crowned, champion),
        }
        for one in candidates
    ]
    listed = [
        {"model_id": one.model_id, "recipe": one.recipe, **asdict(clause)}
        for one in candidates
        for clause in weighed.get(one.model_id, ())
    ]
    return Decision(
        crowned,
        crowned != champion,
        pd.DataFrame(rows, columns=find_table("release").names),
        pd.DataFrame(listed, columns=find_table("clauses").names),
    )


def render_clauses(clauses: pd.DataFrame) -> str:
    """The clauses as a Markdown table, failed ones first of each model."""
    lines = ["| recipe | clause | against | verdict | words |", "|---|---|---|---|---|"]
    for row in clauses.sort_values(["recipe", "model_id", "passed"], kind="stable").to_dict("records"):
        verdict = "passed" if row["passed"] else "**failed**"
        words = str(row["words"]).replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {row['recipe']} | {row['clause']} | {row['against']} | {verdict} | {words} |")
    return "\n".join(lines)


def _score(clauses: Sequence[Clause]) -> float:
    found = [one.value for one in clauses if one.clause == "macro_f1" and one.against == ALONE]
    return found[0] if found else float("nan")


def _explain(one: Candidate, clauses: Sequence[Clause] | None, crowned: str, champion: str) -> str:
    if clauses is None:
        return "the champion" if one.model_id == crowned else "the champion until now"
    failures = tell_failures(clauses)
    if failures:
        return failures
    if one.model_id != crowned:
        return "keeps every clause, but another challenger is higher"
    return (
        f"keeps every clause; in place of {champion[:12]}"
        if champion
        else "keeps every clause; the first champion"
    )
