"""Weighing a challenger: every clause of the rule, each with its figure, its limit and its words."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.release.measuring import DRAWS, Measure, Measures, measure_challenger
from pipeline.release.rule import LOWER_IS_BETTER, MEANINGS, Bar, Promotion

ALONE, CHAMPION, GAIN = "limit", "champion", "gain"
"""What a clause is held against: an absolute limit, the margin to the champion, the least gain over it."""


@dataclass(frozen=True)
class Clause:
    """One clause of the rule for one challenger."""

    clause: str
    against: str
    """limit, champion (margin) or gain."""
    value: float
    """NaN where it is no figure, or not defined."""
    low: float
    high: float
    limit: float
    """What the value, or the end of its interval, must keep; NaN where it is no figure."""
    passed: bool
    words: str


@dataclass(frozen=True)
class Facts:
    """What is known of a challenger beside its answers."""

    gate_now: str
    """Verdict on the present split `patient`."""
    gate_then: str
    """Verdict on the model's card."""
    breach: str
    """What breaks the package's contract; empty where nothing does."""
    held: str
    """Why a person has barred it; empty where nobody has."""


def weigh_challenger(
    challenger: pd.DataFrame,
    champion: pd.DataFrame | None,
    facts: Facts,
    rule: Promotion,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Clause]:
    """All clauses of the rule for one challenger; it may be released if every one is passed.

    Without a champion the comparisons are not asked. A challenger whose package breaks its contract has no
    answers, and its measured clauses are not reached.

    Args:
        challenger, champion: rows of table `exams`, of one model each.

    Raises:
        TableError: as `measure_challenger`.
    """
    clauses = list(_weigh_facts(facts))
    if facts.breach:
        return clauses
    found = measure_challenger(challenger, champion, draws=draws, seed=seed)
    clauses.append(_weigh_groups(found, rule.exam.min_groups))
    for name, bar in rule.clauses.list_bars():
        clauses += _weigh_bar(name, bar, found)
    if rule.clauses.newcomers is not None and champion is not None:
        clauses.append(_weigh_newcomers(found, rule.clauses.newcomers, rule.exam.min_groups))
    return clauses


def _weigh_facts(facts: Facts) -> Iterator[Clause]:
    gates = [
        f"{when}: {what}" for when, what in (("now", facts.gate_now), ("trained behind", facts.gate_then))
    ]
    good = facts.gate_now == facts.gate_then == "passed"
    yield _plain("gate", good, "; ".join(gates))
    yield _plain("contract", not facts.breach, facts.breach or "opens, fits its card, answers the example")
    yield _plain("hold", not facts.held, facts.held or "nobody has taken it back")


def _plain(name: str, passed: bool, words: str) -> Clause:
    nothing = math.nan
    return Clause(name, ALONE, nothing, nothing, nothing, nothing, passed, words)


def _weigh_groups(found: Measures, least: int) -> Clause:
    words = f"{found.groups} settled groups, {least} at least; newcomers: {found.new_groups}"
    value = float(found.groups)
    return Clause("groups", ALONE, value, math.nan, math.nan, float(least), found.groups >= least, words)


def _weigh_bar(name: str, bar: Bar, found: Measures) -> Iterator[Clause]:
    """The absolute clause, and, where there is a champion, margin and gain."""
    lower = name in LOWER_IS_BETTER
    if bar.limit is not None:
        passed = found.own[name].value <= bar.limit if lower else found.own[name].value >= bar.limit
        yield _measured(name, ALONE, found.own[name], bar.limit, passed, "at most" if lower else "at least")
    if not found.gain:
        return
    gain = found.gain[name]
    if bar.margin is not None:
        limit = bar.margin if lower else -bar.margin
        judged = gain.value if bar.judge == "value" else (gain.high if lower else gain.low)
        passed = judged <= limit if lower else judged >= limit
        words = f"its {bar.judge} {'at most' if lower else 'at least'}"
        yield _measured(name, CHAMPION, gain, limit, passed, words)
    if bar.gain is not None:
        limit = -bar.gain if lower else bar.gain
        passed = gain.value <= limit if lower else gain.value >= limit
        yield _measured(name, GAIN, gain, limit, passed, "at most" if lower else "at least")


def _measured(name: str, against: str, found: Measure, limit: float, passed: bool, bound: str) -> Clause:
    sign = "" if against == ALONE else "+"
    interval = (
        "no interval, too few groups"
        if math.isnan(found.low)
        else f"[{found.low:{sign}.3f}, {found.high:{sign}.3f}]"
    )
    whose = "" if against == ALONE else ", challenger minus champion"
    words = f"{MEANINGS[name]}{whose}: {found.value:{sign}.3f} {interval}, {bound} {limit:{sign}.3f}"
    return Clause(name, against, found.value, found.low, found.high, limit, bool(passed), words)


def _weigh_newcomers(found: Measures, limit: float, least: int) -> Clause:
    """Whether the champion knows its way among the newcomers; too few of them are no alarm."""
    if found.newcomers is None or found.new_groups < least:
        return _plain("newcomers", True, f"{found.new_groups} groups came after the champion, too few to ask")
    here = found.newcomers
    words = f"{MEANINGS['newcomers']}: {here.value:.3f}, at least {limit:.3f}; {found.new_groups} groups"
    passed = here.value >= limit
    if not passed:
        words += "; other scanners, or wrong labels: look at them before anything is trained on them"
    return Clause("newcomers", ALONE, here.value, here.low, here.high, limit, passed, words)


def tell_failures(clauses: Sequence[Clause]) -> str:
    """The failed clauses in one sentence; empty where all are passed."""
    return "; ".join(
        f"{clause.clause}{'' if clause.against == ALONE else ' vs ' + clause.against}: {clause.words}"
        for clause in clauses
        if not clause.passed
    )
