"""What a model's score is worth, in words: where it was measured, how sure it is, how much it flatters."""

from dataclasses import dataclass

import pandas as pd

from pipeline.evaluation.leaderboard import HONEST
from pipeline.serving.card import ModelCard

PROTOCOL_WORDS = {
    "published": "on the collections' own test folders, leaks included",
    "stratified": "on images split at random, whose patients are shared with training",
    "patient": "on patients and pictures that training never saw",
}


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; the bounds are None where there were too few groups."""

    value: float
    low: float | None
    high: float | None

    def tell(self, *, signed: bool = False) -> str:
        """`0.866 [0.733, 0.945]`; with a sign where it is a difference."""
        form = "+.3f" if signed else ".3f"
        shown = f"{self.value:{form}}".replace("-", "−")
        if self.low is None or self.high is None:
            return shown
        return f"{shown} [{self.low:.3f}, {self.high:.3f}]".replace("-", "−")


@dataclass(frozen=True)
class Score:
    """The macro-F1 of a model on its test part, and what its recipe has under other protocols.

    Attributes:
        n, groups: test images, and groups that they lie in.
        optimism: protocol -> macro-F1 there minus macro-F1 under `patient`, same recipe.
        honest: the recipe's macro-F1 under `patient`; None where it was not trained under it.
    """

    protocol: str
    macro_f1: Figure
    n: int
    groups: int
    optimism: dict[str, Figure]
    honest: Figure | None


def find_score(
    metrics: pd.DataFrame | None, leaderboard: pd.DataFrame | None, card: ModelCard
) -> Score | None:
    """The score of one model; None where it was not evaluated.

    Args:
        metrics: table `metrics` of the card's recipe and protocol.
        leaderboard: table `leaderboard`; without it there is no optimism.
    """
    if metrics is None:
        return None
    mine = metrics["model_id"].eq(card.model_id) & metrics["metric"].eq("macro_f1")
    rows = metrics[mine & metrics["class"].eq("all") & metrics["variant"].eq("clean")]
    if rows.empty or pd.isna(rows["value"].iloc[0]):
        return None
    row = rows.iloc[0]
    others = pd.DataFrame() if leaderboard is None else leaderboard[leaderboard["recipe"] == card.recipe]
    optimism, honest = {}, None
    for other in others.to_dict("records"):
        if other["protocol"] == HONEST:
            honest = _figure(other["macro_f1"], other["macro_f1_low"], other["macro_f1_high"])
        if not pd.isna(other["optimism"]):
            bounds = other["optimism_low"], other["optimism_high"]
            optimism[str(other["protocol"])] = _figure(other["optimism"], *bounds)
    figure = _figure(row["value"], row["low"], row["high"])
    return Score(card.protocol, figure, int(row["n"]), int(row["groups"]), optimism, honest)


def tell_score(score: Score | None) -> list[str]:
    """Sentences on a score, for a person: the figure and its test set, then the optimism."""
    if score is None:
        return ["Not evaluated: no score stands behind this model yet."]
    where = PROTOCOL_WORDS.get(score.protocol, f"under `{score.protocol}`")
    told = [f"Macro-F1 {score.macro_f1.tell()} {where}: {score.n:,} test images in {score.groups:,} groups."]
    if score.protocol in score.optimism and score.honest is not None:
        told.append(
            f"Optimism {score.optimism[score.protocol].tell(signed=True)}: on patients never seen the same "
            f"recipe has {score.honest.tell()}."
        )
    elif score.protocol == HONEST:
        told += [
            f"Optimism of the same recipe under `{other}`: {figure.tell(signed=True)}."
            for other, figure in score.optimism.items()
        ]
    return told


def _figure(value: float, low: float, high: float) -> Figure:
    known = not (pd.isna(low) or pd.isna(high))
    return Figure(float(value), float(low) if known else None, float(high) if known else None)
