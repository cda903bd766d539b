"""What a report is made from: tables as frames, and the files that a training left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.audit.facts import CollectionFact
from pipeline.recipe import Recipe
from pipeline.serving.card import ModelCard
from pipeline.training.spec import TrainingResult


@dataclass(frozen=True)
class ModelSources:
    """One recipe under one protocol; of several seeds the first is shown, and all count in `board`.

    `metrics`, `evidence`, `robustness` and `board` follow from the answers: a report may take them from the
    lake, a verification counts them anew.
    """

    recipe: Recipe
    protocol: str
    gate: str
    """Verdict of the gate on the split as it is now; `card` has the one that the model was trained behind."""
    answers: pd.DataFrame
    """Clean rows of `predictions`, of the shown model."""
    metrics: pd.DataFrame
    """Its clean rows of `metrics`."""
    evidence: pd.DataFrame
    """Its rows of `evidence`."""
    robustness: pd.DataFrame
    """Its rows of `robustness`; none where no degraded image was answered."""
    board: pd.DataFrame
    """Rows of `leaderboard` of the recipe: this protocol, and those that it can be set beside."""
    used: pd.DataFrame
    """Rows of `splits` that the recipe uses."""
    groups: pd.DataFrame
    patients: pd.DataFrame
    collections: Sequence[CollectionFact]
    """Those that the recipe uses."""
    result: TrainingResult
    history: Sequence[Mapping[str, float]]
    card: ModelCard
    place: str
    """`<protocol>/<recipe>` as the lake writes it."""

    @property
    def seeds(self) -> int:
        """Seeds that the recipe was trained with under this protocol."""
        return int(self.own["seeds"])

    @property
    def own(self) -> "pd.Series[float]":
        """The row of `board` under this protocol."""
        return self.board[self.board["protocol"] == self.protocol].iloc[0]


@dataclass(frozen=True)
class ReleaseSources:
    """All recipes under all protocols, and which of them is released."""

    release: pd.DataFrame
    """Table `release`; columns that this code does not know are shown as they are."""
    board: pd.DataFrame
    comparisons: pd.DataFrame
    robustness: pd.DataFrame
    audit: pd.DataFrame
    exams: pd.DataFrame
    """Metrics of each candidate on the exam's settled clean images, counted from `exams`; as in `metrics`."""
    openings: pd.DataFrame
    """Table `openings`."""
    tested: frozenset[str]
    """Models whose answers to the test part of `patient` are those behind `board`."""
