"""Answers: calibrated where the card says how, with sets where it has a threshold, and never half a row."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from shades import make_card

from pipeline.labels import LABELS
from pipeline.serving.answers import Answer, list_columns, tabulate_answers, weigh_logits
from pipeline.serving.card import Conformal, ModelCard

SETS = [f"in_set_{label}" for label in LABELS]


def make_calibrated() -> ModelCard:
    return make_card().model_copy(update={"conformal": Conformal(coverage=0.9, threshold=0.3)})


def test_logits_become_probabilities():
    logits = np.array([[0.0, 1.0, 2.0, 900.0], [1.0, 1.0, 1.0, 1.0]])
    found = weigh_logits(logits, None)
    assert np.allclose(found.sum(axis=1), 1)
    assert found[0, 3] == pytest.approx(1)
    assert np.allclose(found[1], 0.25)


def test_a_temperature_softens_and_keeps_the_order():
    logits = np.array([[3.0, 1.0, 0.0, -2.0]])
    plain, soft = weigh_logits(logits, None), weigh_logits(logits, 2.0)
    assert np.allclose(soft, weigh_logits(logits / 2, None))
    assert soft.max() < plain.max()
    assert list(soft[0].argsort()) == list(plain[0].argsort())


def test_columns_of_sets_are_there_where_the_card_has_them_alone():
    assert not set(SETS) & set(list_columns(make_card()))
    assert list(list_columns(make_calibrated())) == [
        "label",
        *(f"p_{label}" for label in LABELS),
        *SETS,
        "model_id",
        "error",
    ]


def test_a_set_holds_what_reaches_the_threshold():
    card = make_calibrated()
    rows = [Answer((0.4, 0.3, 0.2, 0.1), None), Answer((0.97, 0.01, 0.01, 0.01), None)]
    found = tabulate_answers(rows, card)
    assert found[SETS].to_numpy().tolist() == [[True, True, False, False], [True, False, False, False]]
    assert set(map(str, found[SETS].dtypes)) == {"bool"}
    assert list(found["model_id"]) == [card.model_id] * 2


def test_a_set_may_be_empty():
    found = tabulate_answers([Answer((0.25, 0.25, 0.25, 0.25), None)], make_calibrated())
    assert not found[SETS].to_numpy().any()


def test_a_refused_row_has_reason_and_model_and_nothing_else():
    card = make_calibrated()
    found = tabulate_answers([Answer((0.4, 0.3, 0.2, 0.1), None), Answer(None, "far: 3.1")], card)
    row = found.to_dict(orient="records")[1]
    assert (row.pop("model_id"), row.pop("error")) == (card.model_id, "far: 3.1")
    assert set(row.values()) == {None}
    json.dumps(found.to_dict(orient="records"), allow_nan=False)


@pytest.mark.parametrize("values", [{"temperature": 0}, {"conformal": {"coverage": 1.0, "threshold": 0.1}}])
def test_a_card_with_impossible_calibration_is_refused(values: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(values))):
        ModelCard.model_validate(make_card().model_dump() | values)
