"""What a row of the answer says: its columns, and how probabilities become them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.serving.card import ModelCard

Kind = Literal["string", "double", "boolean"]


@dataclass(frozen=True)
class Answer:
    """One row: probabilities in the card's order, or the reason why there are none."""

    probabilities: tuple[float, ...] | None
    error: str | None
    raw: tuple[float, ...] | None = None
    """As the network gave them, where a temperature changed them: sets are cut by these."""


def list_columns(card: ModelCard) -> dict[str, Kind]:
    """Column -> type, in order: label, p_<class>, in_set_<class> where the card has sets, model_id, error."""
    columns: dict[str, Kind] = {"label": "string"}
    columns |= {f"p_{name}": "double" for name in card.classes}
    if card.conformal is not None:
        columns |= {f"in_set_{name}": "boolean" for name in card.classes}
    return columns | {"model_id": "string", "error": "string"}


def weigh_logits(logits: NDArray[np.float64], temperature: float | None) -> NDArray[np.float64]:
    """Probabilities [n, classes] of logits [n, classes], by a temperature (Guo et al. 2017, 1706.04599).

    Args:
        temperature: what the logits are divided by; None for 1.
    """
    return np.asarray(softmax(logits / (temperature or 1.0), axis=1), np.float64)


def tabulate_answers(answers: Sequence[Answer], card: ModelCard) -> pd.DataFrame:
    """One row an answer, with the columns of `list_columns`.

    A row has either an error or the rest; what it lacks is None, which JSON can say. All have `model_id`.
    """
    # Object columns: pandas' own types would turn None into NaN, which no JSON reader has to accept.
    columns = list_columns(card)
    frame = pd.DataFrame([_make_row(answer, card) for answer in answers], columns=list(columns), dtype=object)
    if all(answer.error is None for answer in answers):
        types = {"double": "float64", "boolean": "bool"}
        return frame.astype({name: types[kind] for name, kind in columns.items() if kind in types})
    return frame


def _make_row(answer: Answer, card: ModelCard) -> tuple[Any, ...]:
    sets = len(card.classes) if card.conformal is not None else 0
    if answer.probabilities is None:
        return (None, *(None,) * (len(card.classes) + sets), card.model_id, answer.error)
    held = answer.probabilities
    label = card.classes[int(np.argmax(held))]
    cut = card.conformal.threshold if card.conformal is not None else 0.0
    within = [value >= cut for value in answer.raw or held][:sets]
    return (label, *held, *within, card.model_id, None)
