"""Plain data of a training."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from pydantic import ValidationError
from training_toys import make_recipe

from pipeline.recipe import Recipe
from pipeline.training.spec import TrainingSpec, digest_identity, flatten


def test_a_spec_travels_as_json(make_spec: Callable[..., TrainingSpec]) -> None:
    spec = make_spec()
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_module_needs_no_torch() -> None:
    heavy = "sum(name in sys.modules for name in ('torch', 'pandas'))"
    code = f"import sys, pipeline.training.spec; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prose_is_not_identity_and_all_else_is(make_spec: Callable[..., TrainingSpec]) -> None:
    plain = digest_identity(make_spec())
    prose = make_recipe(title="other", description="other", notes={"a": "b"}, profiles=["demo"], seeds=[4])
    assert digest_identity(make_spec(recipe=prose)) == plain
    assert digest_identity(make_spec(work="/elsewhere", threads=2, workers=3)) == plain
    for changes in (
        {"recipe": make_recipe(batch_size=9)},
        {"seed": 1},
        {"data_digest": "x"},
        {"protocol": "patient"},
        {"model_id": "x"},
    ):
        assert digest_identity(make_spec(**changes)) != plain


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


def test_unknown_fields_are_refused(make_spec: Callable[..., TrainingSpec]) -> None:
    with pytest.raises(ValidationError, match="gpu"):
        make_spec(gpu=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {"name": "cosine", "warmup_epochs": 4}}, "must be less than stopping.epochs"),
        ({"schedule": {"name": "plateau", "warmup_epochs": 1}}, "plateau has no warm-up"),
        ({"model": {"name": "slim", "freeze": 0.5}}, "random layers would stay random"),
        ({"input": {"normalise": "backbone"}}, "backbone needs a model named timm:<name>"),
        ({"model": {"name": "cnn5"}}, "pattern"),
    ],
)
def test_a_recipe_whose_parts_do_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_recipe(**changes)


def test_stopping_keeps_the_best_epoch_unless_told_otherwise() -> None:
    assert make_recipe().stopping.keep == "best"
    fields = make_recipe().model_dump() | {"stopping": {"epochs": 1, "keep": "first"}}
    with pytest.raises(ValidationError, match="'best' or 'last'"):
        Recipe.model_validate(fields)
