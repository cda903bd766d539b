"""The recipes of the catalog against their sources: parameters, shapes, stages, scales, and what they say."""

from functools import cache
from typing import Any

import pytest
import torch

from pipeline.catalog import load_catalog
from pipeline.recipe import Recipe
from pipeline.training.backbones import find_config
from pipeline.training.inputs import find_constants
from pipeline.training.models import Network, build_model, count_parameters

RECIPES = load_catalog().recipes
BACKBONES = sorted(
    {recipe.model.name for recipe in RECIPES.values() if recipe.model.name.startswith("timm:")}
)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

R4 = {
    f"{backbone}_{head}{trained}"
    for backbone in ("vgg16", "vgg19", "resnet50v2")
    for head in ("baseline", "enhanced")
    for trained in ("", "_degraded")
}
SOURCES = {
    "R1": {"vgg19_partial_gap256"},
    "R2": {"cnn3"},
    "R3": {"mobilenet_640"},
    "R4": R4,
    "R5": {"xception_299", "mobilenet_299", "cnn4_299"},
}

# Recipe -> all parameters, and how many of them train in each stage. By hand for the heads: 512 features into
# 4 classes are 2,052; into 512, 256 and 4 they are 262,656 + 131,328 + 1,028 = 395,012.
# The second stage of R5 frees the last four blocks of MobileNet (2 × 268,800 + 531,968 + 1,061,888), and of
# Xception the exit flow and two blocks before it (2 × 3 × 537,992 + 2,039,584 + 1,585,152 + 3,163,648).
PARAMETERS = {
    "vgg19_partial_gap256": (20_157_252, [9_572_100]),
    "cnn3": (273_012, [273_012]),
    "mobilenet_640": (3_211_076, [4_100]),
    "vgg16_baseline": (14_715_588, [2_052]),
    "vgg16_enhanced": (15_108_548, [395_012]),
    "vgg19_baseline": (20_025_284, [2_052]),
    "vgg19_enhanced": (20_418_244, [395_012]),
    "resnet50v2_baseline": (23_502_276, [8_196]),
    "resnet50v2_enhanced": (24_675_524, [1_181_444]),
    "xception_299": (21_069_740, [262_788, 10_279_124, 21_069_740]),
    "mobilenet_299": (3_338_692, [131_716, 2_263_172, 3_338_692]),
    "cnn4_299": (4_584_004, [4_584_004] * 3),
    "demo_plain": (334_484, [334_484]),
    "demo_careful": (334_484, [334_484]),
    "slim64": (777_028, [777_028]),
    "slim64_whole": (777_028, [777_028]),
    "slim64_attend": (777_669, [777_669]),
    "resnet18d": (11_197_220, [11_197_220]),
    "resnet18d_attend": (11_199_781, [11_199_781]),
}

# Keras Applications, include_top=False, three channels: all numbers, and those that train; the rest are the
# running means and variances of batch norm.
KERAS = {
    "vgg16": (14_714_688, 14_714_688),
    "vgg19": (20_024_384, 20_024_384),
    "mobilenetv1_100": (3_228_864, 3_206_976),
    "legacy_xception": (20_861_480, 20_806_952),
    "resnetv2_50": (23_564_800, 23_519_360),
}
# Keras's ResNet50V2 has biases in its stem (64), in the last convolution of each block
# (3 × 256 + 4 × 512 + 6 × 1024 + 3 × 2048) and in the four shortcuts (256 + 512 + 1024 + 2048).
KERAS_BIASES = {"resnetv2_50": 64 + 15_104 + 3_840}


@cache
def build(name: str, **changes: Any) -> Network:
    """The network of a recipe without weights: no memory, no time."""
    recipe = RECIPES[name]
    if changes:
        recipe = recipe.model_copy(update={"input": recipe.input.model_copy(update=changes)})
    with torch.device("meta"):
        return build_model(recipe, weights="none")


def strip(name: str) -> str:
    return name.removesuffix("_degraded")


def test_every_source_has_its_recipes() -> None:
    found = {
        source: {name for name, entry in RECIPES.items() if entry.source == source} for source in SOURCES
    }
    assert found == SOURCES


@pytest.mark.parametrize("source", SOURCES)
def test_the_parameters_of_every_sources_recipes_are_known(source: str) -> None:
    assert {strip(name) for name, entry in RECIPES.items() if entry.source == source} <= set(PARAMETERS)


@pytest.mark.parametrize("name", [name for name in RECIPES if strip(name) in PARAMETERS])
def test_parameters_in_all_and_those_that_train_in_each_stage(name: str) -> None:
    network, recipe = build(name), RECIPES[name]
    counts = []
    for stage in recipe.list_stages():
        network.freeze(stage.freeze)
        counts.append(count_parameters(network)[1])
    assert (count_parameters(network)[0], counts) == PARAMETERS[strip(name)]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_answers_four_logits_at_its_true_size(name: str) -> None:
    size, channels = RECIPES[name].input.size, RECIPES[name].input.channels
    assert build(name)(torch.empty(2, channels, size, size, device="meta")).shape == (2, 4)


@pytest.mark.parametrize("backbone", KERAS)
def test_backbones_have_the_published_number_of_parameters(backbone: str) -> None:
    name = next(name for name, recipe in RECIPES.items() if recipe.model.name == f"timm:{backbone}")
    network = build(name, channels=3).backbone
    trained, _ = count_parameters(network)
    running = sum(value.numel() for key, value in network.named_buffers() if "running" in key)
    trained += KERAS_BIASES.get(backbone, 0)
    assert (trained + running, trained) == KERAS[backbone]


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_is_scaled_as_its_weights_were(name: str) -> None:
    vgg = name.startswith("timm:vgg") or name == "timm:resnet18d"
    assert find_constants(name) == (IMAGENET if vgg else HALVES)


def test_cnn4_has_the_4_7_million_parameters_of_r5() -> None:
    assert abs(count_parameters(build("cnn4_299"))[0] / 4_700_000 - 1) <= 0.05


def test_xception_has_the_21_million_parameters_of_r5() -> None:
    assert abs(count_parameters(build("xception_299"))[0] / 21_000_000 - 1) <= 0.01


@pytest.mark.parametrize("name", sorted(set().union(*SOURCES.values())))
def test_each_reference_recipe_says_what_was_published_chosen_and_found(name: str) -> None:
    recipe = RECIPES[name]
    assert {"published", "unsaid", "ours"} <= recipe.notes.keys()
    assert recipe.data.collections
    if recipe.model.name.startswith("timm:"):
        assert recipe.model.weights == "imagenet"
        assert "scale" in recipe.notes
        assert find_config(recipe.model.name.removeprefix("timm:")).has_weights


def change(recipe: Recipe, **fields: Any) -> dict[str, Any]:
    prose = {"name", "title", "description", "notes"}
    return recipe.model_dump(exclude=prose) | fields


@pytest.mark.parametrize("name", sorted(R4))
def test_r4s_twelve_differ_in_what_their_names_say_and_in_nothing_else(name: str) -> None:
    recipe, first = RECIPES[name], RECIPES["vgg16_baseline"]
    assert (recipe.input.channels, recipe.input.size, recipe.model.freeze) == (1, 224, 1.0)
    expected = change(first, model=recipe.model.model_dump(), augment=recipe.augment.model_dump())
    assert change(recipe) == expected
    assert (recipe.augment.degrade > 0) == name.endswith("_degraded")
    head = () if "baseline" in name else (512, 256)
    assert (recipe.model.head, recipe.model.hidden_dropout > 0) == (head, bool(head))
    if recipe.augment.degrade:
        assert recipe.augment.degradations == ("gaussian_noise", "gaussian_blur", "downsampling")


def test_r1_is_what_its_source_says() -> None:
    recipe = RECIPES["vgg19_partial_gap256"]
    assert recipe.data.collections == ("masoudnickparvar", "indk214")
    assert (recipe.input.size, recipe.input.channels, recipe.input.normalise) == (224, 3, "unit")
    model = build("vgg19_partial_gap256")
    kinds = [type(layer).__name__ for layer in model.head]
    assert kinds == ["Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert (model.head[0].in_features, model.head[0].out_features) == (512, 256)
    model.freeze(recipe.model.freeze)
    trains = [
        value.requires_grad for key, value in model.backbone.named_parameters() if key.endswith("weight")
    ]
    assert trains == [False] * 12 + [True] * 4
    assert (recipe.loss.class_weights, recipe.optimiser.name, recipe.optimiser.lr) == (
        "balanced",
        "adam",
        1e-4,
    )
    assert (recipe.schedule.name, recipe.stopping.monitor, recipe.stopping.keep) == (
        "plateau",
        "val_loss",
        "best",
    )


@pytest.mark.parametrize("name", sorted(SOURCES["R5"]))
def test_r5_learns_slower_in_each_stage_and_frees_more(name: str) -> None:
    recipe = RECIPES[name]
    factors = [stage.lr_factor for stage in recipe.stages]
    assert factors == sorted(set(factors), reverse=True) and len(factors) >= 2
    frozen = [stage.freeze for stage in recipe.stages]
    assert frozen == sorted(frozen, reverse=True) and frozen[-1] == 0
    assert (recipe.input.size, recipe.input.normalise, recipe.stopping.patience) == (299, "unit", 3)
