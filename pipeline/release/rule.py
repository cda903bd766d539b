"""The rule of promotion, `catalog/promotion.yaml`: what a challenger must show to become the champion."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.recipe import Share, Strict

MEASURED = ("macro_f1", "with_newcomers", "worst_class_recall", "worst_degradation", "brier")
LOWER_IS_BETTER = ("brier",)

MEANINGS = {
    "macro_f1": "macro-F1 on the settled val images",
    "with_newcomers": "macro-F1 on all val images, newcomers too",
    "worst_class_recall": "recall of the class that has the lowest",
    "worst_degradation": "macro-F1 under the degradation that costs most",
    "brier": "Brier score of the calibrated probabilities, 0 to 2, lower is better",
    "newcomers": "the champion's accuracy on val images that came after it",
    "groups": "groups of val that are new to challenger and champion",
    "gate": "the checks on the split `patient`, now and when the model was trained",
    "contract": "the packaged model opens, fits its card and answers the example",
    "hold": "no person has taken this model back",
}
"""What each clause is measured by, for people."""


class Exam(Strict):
    """Which val images are degraded, how much, and how many groups are evidence."""

    degradations: tuple[str, ...] = Field(min_length=1, description="names in degradations.yaml")
    severity: int = Field(3, ge=1, le=5, description="which of the five severities")
    images_a_label: int = Field(30, ge=1, description="degraded images of each label, at most")
    min_groups: int = Field(10, ge=2, description="groups of val below which nothing is promoted")


class Bar(Strict):
    """One measured clause: an absolute limit, a comparison with the champion, or both."""

    limit: float | None = Field(
        None, ge=0, le=2, description="what the value must reach (brier: stay under); null = none"
    )
    margin: float | None = Field(
        None, ge=0, le=1, description="how much worse than the champion it may be; null = not compared"
    )
    judge: Literal["interval", "value"] = Field(
        "interval", description="whether the difference's whole 95 % interval or its value keeps the margin"
    )
    gain: float | None = Field(
        None, ge=-1, le=1, description="least difference of the values, for the better; null = not asked"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> "Bar":
        if self.limit is None and self.margin is None and self.gain is None:
            raise ValueError("asks nothing; give limit, margin or gain, or leave the clause out")
        return self


class Clauses(Strict):
    """The clauses; a measured one that is left out is not asked. No clause can be met by test answers."""

    macro_f1: Bar = Field(description=MEANINGS["macro_f1"])
    with_newcomers: Bar | None = Field(None, description=MEANINGS["with_newcomers"])
    worst_class_recall: Bar | None = Field(None, description=MEANINGS["worst_class_recall"])
    worst_degradation: Bar | None = Field(None, description=MEANINGS["worst_degradation"])
    brier: Bar | None = Field(None, description=MEANINGS["brier"])
    newcomers: Share | None = Field(None, description=MEANINGS["newcomers"])
    gate: Literal[True] = Field(True, description=MEANINGS["gate"] + "; always asked")
    contract: Literal[True] = Field(True, description=MEANINGS["contract"] + "; always asked")

    @model_validator(mode="after")
    def _can_choose(self) -> "Clauses":
        if self.macro_f1.limit is None:
            raise ValueError(
                "macro_f1.limit: needed; the best of several challengers is chosen by this value"
            )
        return self

    def list_bars(self) -> Iterator[tuple[str, Bar]]:
        """The measured clauses that are asked, in order."""
        for name in MEASURED:
            if bar := getattr(self, name):
                yield name, bar


class Promotion(Strict):
    """The whole of `promotion.yaml`."""

    name: Literal["promotion"] = Field("promotion", description="what everything else calls it")
    exam: Exam = Field(description="what both answer")
    clauses: Clauses = Field(description="what the challenger must keep")
    retrain: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="recipes that schedule and sensor train anew, each under the profiles it is meant for"
    )
