"""Variants of an ablation that train alike are trained once, and each is asked in its own way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_toys import make_recipe

from benchmarks import ablation
from benchmarks.ablation import answer, gather_alike, train_missing
from benchmarks.book import Book
from benchmarks.ingredients import BASE, change_fields
from pipeline.recipe import Recipe
from pipeline.training.batches import load_parts
from pipeline.training.inference import load_model, predict
from pipeline.training.spec import TrainingSpec

BOTH = "with asking about both sides"
LAST: dict[str, Any] = {"augment": {"hflip": 0.5}, "stopping": {"epochs": 1, "keep": "last"}}


def make_pair(make: Callable[..., TrainingSpec], recipe: Recipe) -> list[tuple[str, TrainingSpec]]:
    return [
        (BASE, make(recipe=recipe, model_id="a")),
        (BOTH, make(recipe=change_fields(recipe, {"model.mirror": True}), model_id="b")),
    ]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 1),
        ({"stopping": {"epochs": 1, "keep": "best"}}, 2),
        ({"stopping": {"epochs": 2, "keep": "last", "patience": 1}}, 2),
        ({"schedule": {"name": "plateau"}}, 2),
    ],
    ids=["last", "best", "patience", "plateau"],
)
def test_what_val_has_a_say_in_is_trained_apart(
    make_spec: Callable[..., TrainingSpec], changes: dict[str, Any], count: int
) -> None:
    recipe = make_recipe(**(LAST | {"schedule": {"name": "constant"}} | changes))
    pair = make_pair(make_spec, recipe)
    other = make_spec(recipe=recipe, seed=1)
    found = gather_alike([*pair, (BASE, other)])
    assert len(found) == count + 1
    assert [one for alike in found for one in alike] == [*pair, (BASE, other)]


def test_one_training_is_asked_in_both_ways(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(make_spec, make_recipe(**(LAST | {"schedule": {"name": "constant"}})))
    first = pair[0][1]
    plain, both = answer([spec for _, spec in pair])
    _, val = load_parts(first)
    model = load_model(first.work, first.recipe)
    for (_, spec), found in zip(pair, (plain, both), strict=True):
        expected = predict(model, val.images, spec.recipe)
        assert np.allclose(found["probabilities"], expected, atol=1e-7)
    assert plain["probabilities"] != both["probabilities"]
    assert plain["epochs"] == both["epochs"] == 1

    images = [[str(row), "glioma", str(row)] for row in range(len(val))]
    book = Book.open(tmp_path / "book.json", "toy", "patient", images)
    assert train_missing(book, pair, "code", 1) == 0
    assert {variant for variant, _ in book.results} == {BASE, BOTH}
    assert not Path(first.work).exists()
    monkeypatch.setattr(ablation, "answer", None)  # would fail: nothing is trained again
    assert train_missing(book, pair, "code", 1) == 0
