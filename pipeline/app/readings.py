"""What one model says of one slice, and what several say together, ready to be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.schemas import QUARANTINE_REASONS
from pipeline.serving.card import ModelCard
from pipeline.serving.inputs import REFUSALS
from pipeline.serving.predictor import Predictor

NAMES = {
    "glioma": "glioma",
    "meningioma": "meningioma",
    "pituitary": "pituitary tumour",
    "no_tumor": "no tumour",
}
"""How people spell a label."""


@dataclass(frozen=True)
class Reading:
    """One model's answer to one image, or its refusal.

    Attributes:
        card: of the model.
        error: why there is no answer; None where there is one.
        probabilities: calibrated, label -> 0 to 1, in the card's order; empty where refused.
        kept: labels in the conformal set; None where refused, or where the model has no sets.
    """

    card: ModelCard
    error: str | None
    probabilities: Mapping[str, float]
    kept: tuple[str, ...] | None

    @property
    def label(self) -> str:
        """The label with the greatest probability; the first of equals."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


class Refusal(NamedTuple):
    """Why an image got no answer: the rule's word, what the word means, and what was found."""

    word: str
    meaning: str
    detail: str


def read_image(predictor: Predictor, data: bytes) -> Reading:
    """A model's answer to one encoded image; what it refuses is an answer as well. A pure function."""
    card = predictor.card
    row = predictor.predict([data]).iloc[0]
    if row["error"] is not None:
        return Reading(card, str(row["error"]), {}, None)
    probabilities = {name: float(row[f"p_{name}"]) for name in card.classes}
    if card.conformal is None:
        return Reading(card, None, probabilities, None)
    return Reading(card, None, probabilities, tuple(name for name in card.classes if row[f"in_set_{name}"]))


def explain_refusal(error: str) -> Refusal:
    """A row's `error` taken apart; a word that neither serving nor curation knows explains itself."""
    word, _, detail = error.partition(": ")
    return Refusal(word, REFUSALS.get(word) or QUARANTINE_REASONS.get(word, ""), detail)


def tell_set(reading: Reading) -> str:
    """The conformal set in words, with what it promises. Only for a reading with an answer."""
    if reading.kept is None or reading.card.conformal is None:
        return "This model has no conformal sets: its val part was not fitted to any."
    share = f"{reading.card.conformal.coverage:.0%}".replace("%", " %")
    named = [NAMES.get(name, name) for name in reading.kept]
    if not named:
        return (
            f"The {share} set is empty: for this slice the model is less sure of every label than it is of "
            "the truth on most images that it was fitted on. Take no label from it."
        )
    if len(named) == len(reading.card.classes):
        return f"The {share} set holds all labels: the model rules nothing out."
    if len(named) == 1:
        return f"The {share} set holds {named[0]} alone."
    return f"The {share} set holds {', '.join(named[:-1])} and {named[-1]}: the model cannot tell them apart."


def tell_disagreement(readings: Mapping[str, Reading]) -> str | None:
    """A sentence where models differ about an image; None where they do not.

    Args:
        readings: by the name under which each model is shown.
    """
    answers: dict[str, list[str]] = {}
    for name, reading in readings.items():
        said = "refuse it" if reading.error is not None else NAMES.get(reading.label, reading.label)
        answers.setdefault(said, []).append(name)
    if len(answers) < 2:
        return None
    parts = [f"{said}: {', '.join(names)}" for said, names in sorted(answers.items())]
    return f"The models disagree. {'; '.join(parts)}."


def tabulate_readings(readings: Sequence[tuple[str, Mapping[str, Reading]]]) -> list[dict[str, str]]:
    """One row a file, one column a model: the label with its probability, or the word of the refusal.

    Args:
        readings: file name, and its readings by the name under which each model is shown.
    """
    return [{"file": file} | {name: _shorten(one) for name, one in row.items()} for file, row in readings]


def _shorten(reading: Reading) -> str:
    if reading.error is not None:
        return f"refused: {explain_refusal(reading.error).word}"
    return f"{NAMES.get(reading.label, reading.label)} {reading.probabilities[reading.label]:.2f}"
