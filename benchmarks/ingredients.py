"""What a recipe is made of, piece by piece, and its variants with one piece taken away or added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline.recipe import Recipe

BASE = "as it is"


@dataclass(frozen=True)
class Ingredient:
    """One piece of a recipe.

    Attributes:
        name: for a person.
        off: dotted field -> value that takes it away; the first field tells whether it is there.
        on: dotted field -> value that adds it.
    """

    name: str
    off: Mapping[str, Any]
    on: Mapping[str, Any]

    def is_in(self, recipe: Recipe) -> bool:
        """Whether the recipe has it."""
        field, absent = next(iter(self.off.items()))
        return bool(read_field(recipe, field) != absent)


INGREDIENTS = (
    Ingredient("mirror", {"augment.hflip": 0.0}, {"augment.hflip": 0.5}),
    Ingredient("asking about both sides", {"model.mirror": False}, {"model.mirror": True}),
    Ingredient("rotation", {"augment.rotate": 0.0}, {"augment.rotate": 15.0}),
    Ingredient(
        "crop",
        {"augment.crop_scale": None},
        {"augment.crop_scale": (0.7, 1.0), "augment.crop_ratio": (0.9, 1.1)},
    ),
    Ingredient("brightness", {"augment.brightness": 0.0}, {"augment.brightness": 0.2}),
    Ingredient("contrast", {"augment.contrast": 0.0}, {"augment.contrast": 0.2}),
    Ingredient("gamma", {"augment.gamma": 0.0}, {"augment.gamma": 0.2}),
    Ingredient("degraded copies", {"augment.degrade": 0.0}, {"augment.degrade": 0.2}),
    Ingredient("mixup", {"augment.mixup": 0.0}, {"augment.mixup": 0.2}),
    Ingredient("dropout", {"model.dropout": 0.0}, {"model.dropout": 0.3}),
    Ingredient("stochastic depth", {"model.stochastic_depth": 0.0}, {"model.stochastic_depth": 0.1}),
    Ingredient("label smoothing", {"loss.label_smoothing": 0.0}, {"loss.label_smoothing": 0.05}),
    Ingredient(
        "class weights",
        {"loss.class_weights": "none"},
        {"loss.class_weights": "balanced", "data.sampling": "once"},
    ),
    Ingredient(
        "balanced sampling",
        {"data.sampling": "once"},
        {"data.sampling": "balanced", "loss.class_weights": "none"},
    ),
    Ingredient(
        "self-supervised pre-training",
        {"pretraining": None},
        {
            "pretraining": {
                "epochs": 50,
                "augment": {
                    "hflip": 0.5,
                    "rotate": 15,
                    "crop_scale": (0.3, 1.0),
                    "brightness": 0.4,
                    "contrast": 0.4,
                    "gamma": 0.4,
                    "degrade": 0.3,
                    "max_severity": 2,
                },
            }
        },
    ),
    Ingredient("the tumour's box", {"loss.box": 0.0}, {"loss.box": 1.0}),
    Ingredient("attention", {"model.pool": "mean"}, {"model.pool": "attention"}),
    Ingredient("warm-up", {"schedule.warmup_epochs": 0.0}, {"schedule.warmup_epochs": 1.0}),
    Ingredient("averaged weights", {"ema": None}, {"ema": 0.99}),
)


def list_variants(
    recipe: Recipe, ingredients: Sequence[Ingredient] = INGREDIENTS
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipe itself, and with each ingredient taken away or added, one at a time.

    Returns:
        Name -> recipe, the base first; and name -> reason of each variant that cannot be.
    """
    found, impossible = {BASE: recipe}, {}
    for one in ingredients:
        present = one.is_in(recipe)
        name = f"{'without' if present else 'with'} {one.name}"
        try:
            found[name] = change_fields(recipe, one.off if present else one.on)
        except ValidationError as error:
            impossible[name] = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
    return found, impossible


def read_field(recipe: Recipe, field: str) -> Any:
    """The value of a dotted field."""
    value: Any = recipe
    for part in field.split("."):
        value = getattr(value, part)
    return value


def change_fields(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values in some dotted fields, checked anew.

    Raises:
        ValidationError: the values do not fit the recipe.
    """
    fields = recipe.model_dump()
    for field, value in values.items():
        *path, last = field.split(".")
        place = fields
        for part in path:
            place = place[part]
        place[last] = value
    return Recipe.model_validate(fields)
