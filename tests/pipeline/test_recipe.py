"""A recipe says everything that a training is, explains each field, and refuses what does not fit."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.catalog import load_catalog
from pipeline.recipe import AugmentSpec, Recipe, Strict

RECIPES = load_catalog().recipes
LEAST: dict[str, Any] = {
    "name": "least",
    "title": "Least",
    "description": "the least that a recipe must say",
    "source": "ours",
    "model": {"name": "cnn3"},
    "stopping": {"epochs": 3},
}


def change(**fields: Any) -> Recipe:
    return Recipe.model_validate(LEAST | fields)


def list_models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield kind
    for field in kind.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from list_models(part)


def test_the_least_recipe_has_defaults_for_the_rest() -> None:
    recipe = change()
    assert (recipe.input.size, recipe.batch_size, recipe.seeds, recipe.data.collections) == (
        224,
        64,
        (0,),
        (),
    )
    assert recipe.augment == AugmentSpec()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_each_shipped_recipe_says_its_source_and_survives_a_round_trip(recipe: Recipe) -> None:
    assert recipe.source in {"R1", "R2", "R3", "R4", "R5", "ours"}
    assert recipe.profiles
    assert recipe.description.strip()
    assert len(set(recipe.seeds)) == len(recipe.seeds)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_cnn3_is_what_r2_says() -> None:
    recipe = RECIPES["cnn3"]
    assert recipe.data.collections == ("masoudnickparvar",)
    assert (recipe.input.size, recipe.input.channels, recipe.input.normalise) == (224, 3, "half")
    assert (recipe.augment.hflip, recipe.augment.rotate) == (0.5, 15)
    assert recipe.optimiser.model_dump(include={"name", "lr", "weight_decay"}) == {
        "name": "adamw",
        "lr": 1e-4,
        "weight_decay": 1e-4,
    }
    assert (recipe.model.dropout, recipe.stopping.epochs, recipe.batch_size) == (0.2, 10, 128)


@pytest.mark.parametrize("kind", sorted(set(list_models(Recipe)), key=lambda kind: kind.__name__))
def test_every_part_is_strict_and_explained(kind: type[BaseModel]) -> None:
    assert issubclass(kind, Strict)
    assert kind.model_config.get("extra") == "forbid"
    assert kind.model_config.get("frozen")
    assert kind.__doc__


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": 1}, "learning_rate"),
        ({"model": {"name": "resnet"}}, "model.name"),
        ({"model": {"name": "cnn3", "dropout": 1.5}}, "model.dropout"),
        ({"model": {"name": "slim", "stochastic_depth": 1}}, "model.stochastic_depth"),
        ({"stopping": {"epochs": 0}}, "stopping.epochs"),
        ({"stopping": {"epochs": 3, "monitor": "test_accuracy"}}, "stopping.monitor"),
        ({"seeds": []}, "seeds"),
        ({"input": {"channels": 2}}, "input.channels"),
        ({"augment": {"hflip": -0.1}}, "augment.hflip"),
        ({"data": {"sampling": "random"}}, "data.sampling"),
        ({"optimiser": {"lr": 0}}, "optimiser.lr"),
        ({"profiles": ["cloud"]}, "profiles.0"),
        ({"ema": 1}, "ema"),
        ({"model": {"name": "cnn3", "weights": "imagnet"}}, "model.weights"),
        ({"model": {"name": "cnn3", "head": [0]}}, "model.head.0"),
        ({"augment": {"max_severity": 6}}, "augment.max_severity"),
        ({"augment": {"mixup": -1}}, "augment.mixup"),
        ({"stages": [{"epochs": 3, "rate": 1}]}, "stages.0.rate"),
        ({"stages": [{"epochs": 3, "lr_factor": 2}]}, "stages.0.lr_factor"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        change(**fields)
    [error] = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input": {"normalise": "backbone"}}, "backbone needs a model named timm:<name>; use unit or half"),
        ({"schedule": {"name": "plateau", "warmup_epochs": 1}}, "plateau has no warm-up; set it to 0"),
        (
            {"data": {"sampling": "balanced"}, "loss": {"class_weights": "balanced"}},
            "data.sampling: class weights balance already; set loss.class_weights: none, or once",
        ),
        ({"loss": {"box": 1}}, "loss.box: only slim has a place for a second head; leave it out, or set"),
        (
            {"model": {"name": "timm:resnet18d"}, "loss": {"box": 1}},
            "only slim has a place for a second head; leave it out, or set model.pool: attention",
        ),
        (
            {"model": {"name": "slim", "weights": "a.safetensors", "freeze": 1}, "loss": {"box": 1}},
            "loss.box: a backbone that is wholly frozen learns nothing from it; leave it out",
        ),
        (
            {"model": {"name": "cnn3", "pool": "attention"}},
            "networks can attend, cnn3 and cnn4 cannot; leave",
        ),
        (
            {
                "model": {
                    "name": "timm:resnet18d",
                    "weights": "imagenet",
                    "freeze": 1,
                    "pool": "attention",
                }
            },
            "model.pool: attention is learnt, and ImageNet weights hold none; freeze less of the backbone",
        ),
        ({"model": {"name": "cnn3", "stochastic_depth": 0.1}}, "only slim has blocks to skip; leave it out"),
        ({"model": {"name": "slim", "mirror": True}}, "never shows a mirror image; set augment.hflip"),
        ({"schedule": {"name": "cosine", "warmup_epochs": 3}}, "must be less than stopping.epochs"),
        ({"model": {"name": "timm:vgg19", "freeze": 0.5}}, "set model.weights or freeze: 0"),
        (
            {
                "model": {"name": "slim", "weights": "a.safetensors", "freeze": 0.5},
                "pretraining": {"epochs": 1, "augment": {"gamma": 0.2}},
            },
            "pretraining: changes the whole backbone, but model.freeze holds some of it; set it to 0",
        ),
        (
            {"pretraining": {"epochs": 1, "augment": {"gamma": 0.2, "mixup": 0.2}}},
            "pretraining.augment.mixup: a view is of one image; leave it out",
        ),
        (
            {"pretraining": {"epochs": 1, "augment": {"hflip": 0.5}}},
            "pretraining.augment: both views would be the same; let something vary, crop_scale say",
        ),
        ({"stages": [{"epochs": 3, "freeze": 0.5}]}, "stages: freeze: random layers would stay random"),
        ({"stages": [{"epochs": 1}, {"epochs": 1}]}, "stopping.epochs: is 3, but the stages sum to 2"),
        ({"augment": {"min_severity": 4}}, "min_severity: must not exceed max_severity"),
        (
            {
                "model": {"name": "timm:vgg19", "weights": "imagenet", "freeze": 0.5},
                "schedule": {"warmup_epochs": 1},
                "stages": [{"epochs": 2}, {"epochs": 1}],
            },
            "what is frozen; leave it out; schedule.warmup_epochs: must be less than the epochs of each",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        change(**fields)


def test_a_recipe_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        change().batch_size = 1  # type: ignore[misc]
