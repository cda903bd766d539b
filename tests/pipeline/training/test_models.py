"""Networks: sizes, shapes, freezing."""

from typing import Any

import pytest
import torch
from torch import nn
from training_toys import make_recipe

from pipeline.catalog import load_catalog
from pipeline.errors import TrainingError
from pipeline.recipe import Recipe
from pipeline.training.devices import choose_device
from pipeline.training.feeds import explain_features
from pipeline.training.inputs import normalise
from pipeline.training.models import StochasticDepth, build_model, count_parameters
from pipeline.training.progress import find_stage

RECIPES = load_catalog().recipes


def _recipe(model: dict[str, Any], size: int = 32, channels: int = 1) -> Recipe:
    return make_recipe(model=model, input={"size": size, "channels": channels, "normalise": "unit"})


def test_cnn3_is_r2s_network() -> None:
    model = build_model(RECIPES["cnn3"])
    kinds = [type(layer) for layer in model.backbone.children()]
    block = [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d]
    assert kinds == block * 3 + [nn.Flatten]
    widths = [layer.out_channels for layer in model.backbone.children() if isinstance(layer, nn.Conv2d)]
    assert widths == [16, 16, 32, 32, 64, 64]
    dropout, linear = model.head
    assert isinstance(dropout, nn.Dropout) and dropout.p == 0.2
    assert isinstance(linear, nn.Linear) and linear.in_features == 64 * 28 * 28
    # By hand: 448 + 2,320 + 32, 4,640 + 9,248 + 64, 18,496 + 36,928 + 128, 50,176 × 4 + 4.
    assert count_parameters(model) == (273_012, 273_012)


def test_slim_is_small() -> None:
    total, _ = count_parameters(build_model(_recipe({"name": "slim"}, size=64)))
    assert 300_000 <= total <= 800_000


def _list_networks() -> list[Any]:
    """One recipe a network and input size; those of timm are marked slow."""
    first = {(recipe.model, recipe.input): name for name, recipe in sorted(RECIPES.items(), reverse=True)}
    return [
        pytest.param(name, marks=pytest.mark.slow if model.name.startswith("timm:") else [])
        for (model, _), name in sorted(first.items(), key=lambda item: item[1])
    ]


@pytest.mark.parametrize("name", _list_networks())
def test_every_network_of_the_catalog_takes_a_step_at_its_true_size(name: str) -> None:
    recipe = RECIPES[name]
    torch.manual_seed(0)
    model = build_model(recipe, weights="none")
    device = choose_device("cpu", model)
    images = torch.rand(2, 1, recipe.input.size, recipe.input.size)
    model.train()
    with device.autocast():
        logits = model(normalise(images, recipe))
    assert logits.shape == (2, 4)
    nn.functional.cross_entropy(logits.float(), torch.tensor([0, 3])).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert gradients and all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", ["cnn3", "slim", "timm:test_resnet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(name: str, channels: int) -> None:
    recipe = _recipe({"name": name, "head": [16, 8], "batch_norm": True, "dropout": 0.1}, channels=channels)
    model = build_model(recipe)
    assert not model.training
    assert model(torch.rand(3, channels, 32, 32)).shape == (3, 4)
    kinds = [type(layer) for layer in model.head]
    dense = [nn.Linear, nn.ReLU, nn.BatchNorm1d]
    assert kinds == dense * 2 + [nn.Dropout, nn.Linear]


def test_vgg_drops_its_dense_layers_of_4096() -> None:
    model = build_model(_recipe({"name": "timm:vgg11"}))
    assert model.head[-1].in_features == 512
    assert count_parameters(model)[0] < 10_000_000


def test_a_network_of_timm_attends_in_the_place_of_its_own_pooling() -> None:
    torch.manual_seed(0)
    plain, attending = (
        build_model(_recipe({"name": "timm:test_resnet", "pool": pool}, size=64))
        for pool in ("mean", "attention")
    )
    assert attending.width == 2 * plain.width
    attending.backbone[0].load_state_dict(plain.backbone.state_dict())
    images = torch.rand(3, 1, 64, 64)
    torch.testing.assert_close(attending.backbone(images)[:, : plain.width], plain.backbone(images))


@pytest.mark.parametrize(
    ("name", "size", "given"),
    [
        ("timm:test_vit", 160, r"\[1, 101, 64\]"),
        ("timm:test_resnet", 32, r"\[1, 96, 1, 1\]"),
        ("timm:swin_tiny_patch4_window7_224", 224, r"\[1, 7, 7, 768\]"),
    ],
)
def test_a_network_without_maps_to_attend_to_is_refused(name: str, size: int, given: str) -> None:
    with pytest.raises(
        TrainingError, match=rf"model.pool: attention needs .* gives {given} at input.size {size}"
    ):
        build_model(_recipe({"name": name, "pool": "attention"}, size=size))


def test_same_seed_same_weights() -> None:
    def build(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([value.flatten().float() for value in build_model(make_recipe()).parameters()])

    assert torch.equal(build(3), build(3))
    assert not torch.equal(build(3), build(4))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_freezing_stops_the_first_layers_and_their_statistics(share: float) -> None:
    model = build_model(make_recipe())
    model.freeze(share)
    model.train()
    layers = [module for module in model.backbone.modules() if list(module.parameters(recurse=False))]
    cut = round(share * len(layers))
    assert all(not parameter.requires_grad for layer in layers[:cut] for parameter in layer.parameters())
    assert all(parameter.requires_grad for layer in layers[cut:] for parameter in layer.parameters())
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    before = {name: value.clone() for name, value in model.state_dict().items() if "running_mean" in name}
    model(torch.rand(4, 1, 32, 32))
    after = model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    frozen = {id(layer) for layer in layers[:cut]}
    named = dict(model.named_modules())
    expected = {name for name in before if id(named[name.removesuffix(".running_mean")]) not in frozen}
    assert moved == expected


def test_freezing_less_frees_layers_again() -> None:
    model = build_model(make_recipe())
    whole = count_parameters(model)
    model.freeze(1.0)
    assert count_parameters(model)[1] < whole[1]
    model.freeze(0.0)
    assert count_parameters(model) == whole
    assert all(module.training for module in model.train().modules())


def test_dropout_stands_between_dense_layers_where_the_recipe_says_so() -> None:
    model = build_model(_recipe({"name": "slim", "head": [16, 8], "hidden_dropout": 0.4, "dropout": 0.1}))
    dense = [nn.Linear, nn.ReLU]
    assert [type(layer) for layer in model.head] == [*dense, nn.Dropout, *dense, nn.Dropout, nn.Linear]
    assert [layer.p for layer in model.head if isinstance(layer, nn.Dropout)] == [0.4, 0.1]


def test_blocks_are_skipped_by_the_linear_rule_and_only_in_training() -> None:
    model = build_model(_recipe({"name": "slim", "stochastic_depth": 0.4}))
    layers = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    assert [layer.drop_prob for layer in layers] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    plain = build_model(_recipe({"name": "slim"}))
    plain.load_state_dict(model.state_dict())
    images = torch.rand(3, 1, 32, 32)
    assert torch.equal(model.eval()(images), plain.eval()(images))
    state = torch.get_rng_state()
    plain.train()(images)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_skipped_branch_is_none_and_the_others_make_up_for_it() -> None:
    torch.manual_seed(0)
    branch = torch.ones(20_000, 2, 1, 1)
    seen = StochasticDepth(0.2).train()(branch)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert set(seen.unique().tolist()) == {0.0, 1.25}
    assert float(seen.mean()) == pytest.approx(1, abs=0.02)


def test_a_frozen_backbone_with_blocks_to_skip_is_computed_each_time() -> None:
    model = {"name": "slim", "weights": "a.safetensors", "freeze": 1.0, "stochastic_depth": 0.1}
    recipe = make_recipe(model=model, augment={}, stopping={"epochs": 1})
    stage = find_stage(recipe, [])
    assert stage is not None
    told = explain_features(recipe, build_model(recipe, weights="none"), stage)
    assert "its dropout makes it see other images" in told


def test_an_unknown_timm_network_is_refused_with_its_neighbours() -> None:
    with pytest.raises(TrainingError, match=r"knows no 'resnet18e'; near it: .*resnet18"):
        build_model(_recipe({"name": "timm:resnet18e"}))


def test_cnn4_refuses_an_input_that_its_pools_use_up() -> None:
    with pytest.raises(TrainingError, match=r"at least 46 pixels, found input.size 32"):
        build_model(_recipe({"name": "cnn4"}))
    assert build_model(_recipe({"name": "cnn4"}, size=46))(torch.rand(1, 1, 46, 46)).shape == (1, 4)
