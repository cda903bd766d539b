"""Heat maps: networks whose right heat is known by hand, and every network of the catalog."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.catalog import load_catalog
from pipeline.errors import ExplanationError
from pipeline.explanations.heat import METHODS, draw_heat, find_map_layer, overlay_heat
from pipeline.recipe import Recipe
from pipeline.training.attention import AttentionPool
from pipeline.training.inputs import normalise
from pipeline.training.models import Network, build_model

RECIPES = load_catalog().recipes
SIDE = 64


class Linear(nn.Module):
    """Logits that are weighted sums of pixels, so that saliency is |weights|."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)  # [k, c, h, w]

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weights)


class LeftEye(nn.Module):
    """Class 0 is the mean of the left half, class 1 that of the right half, of one unchanged map."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 1, bias=False)
        half = torch.zeros(2, 2, 4, 4)
        half[0, 0, :, :2] = half[1, 1, :, 2:] = 1
        self.masks = nn.Parameter(half)
        nn.init.ones_(self.convolution.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return torch.einsum("nfhw,kfhw->nk", maps, self.masks)


SLIM: dict[str, Any] = {
    "name": "slim",
    "title": "",
    "description": "",
    "source": "ours",
    "stopping": {"epochs": 1},
    "input": {"size": 64, "channels": 1},
}


def test_saliency_of_a_linear_network_is_its_weights() -> None:
    weights = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    heat = draw_heat(Linear(weights), torch.rand(3, 2, 5, 6), torch.tensor([2, 0, 1]), "saliency")
    expected = weights[[2, 0, 1]].abs().amax(1)
    torch.testing.assert_close(heat, expected / expected.amax((1, 2), keepdim=True))


def test_saliency_stays_in_the_half_that_a_network_looks_at() -> None:
    heat = draw_heat(LeftEye(), torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), "saliency")
    torch.testing.assert_close(heat[0, :, :2], torch.ones(4, 2))
    torch.testing.assert_close(heat[1, :, 2:], torch.ones(4, 2))
    assert not heat[0, :, 2:].any() and not heat[1, :, :2].any()


def _one_map(bias: float = 0.0) -> nn.Sequential:
    """One map, the image itself; class 0 wants it bright, class 1 dark."""
    convolution, classifier = nn.Conv2d(1, 1, 1), nn.Linear(1, 2)
    nn.init.ones_(convolution.weight)
    nn.init.constant_(convolution.bias, bias)  # type: ignore[arg-type]
    classifier.weight.data = torch.tensor([[1.0], [-1.0]])
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def test_grad_cam_of_a_single_map_is_the_map() -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    heat = draw_heat(_one_map(), images, torch.tensor([0, 0]), "grad_cam")
    torch.testing.assert_close(heat, images[:, 0] / images[:, 0].amax((1, 2), keepdim=True))


def test_grad_cam_without_positive_evidence_is_zero() -> None:
    heat = draw_heat(_one_map(), torch.rand(2, 1, 8, 8), torch.tensor([1, 1]), "grad_cam")
    assert heat.shape == (2, 8, 8) and not heat.any()


def test_grad_cam_is_brought_to_the_inputs_pixels() -> None:
    """A map of 2 × 2 from a corner's light: bilinear, brightest in that corner."""
    network = nn.Sequential(
        nn.Conv2d(1, 1, 4, stride=4, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4, 2)
    )
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:, 4:] = 1
    heat = draw_heat(network, image, torch.tensor([0]), "grad_cam")[0]
    assert heat[7, 7] == heat[6, 6] == 1 and heat[0, 0] == heat[1, 1] == 0
    assert 0 < heat[4, 7] < 1


class Looking(nn.Module):
    """A convolution that copies the image into one map, and a head on its mean and on its bright part."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        self.pool = AttentionPool(1)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.convolution.weight.fill_(1)
            self.pool.place.weight.fill_(20)
            self.head.weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.convolution(images)))
        return logits


def test_heat_lies_where_a_network_attends() -> None:
    images = torch.full((1, 1, 8, 8), 0.2)
    images[0, 0, 2:4, 5:7] = 1
    heat = draw_heat(Looking(), images, torch.tensor([0]), "grad_cam")[0]
    assert float(heat[2:4, 5:7].min()) > 0.99 and float(heat.sum()) == pytest.approx(4, abs=0.01)


def test_place_by_place_is_grad_cam_where_maps_are_averaged() -> None:
    torch.manual_seed(0)
    mean, attending = (
        build_model(Recipe.model_validate(SLIM | {"model": {"name": "slim", "pool": pool}}))
        for pool in ("mean", "attention")
    )
    attending.backbone[:-1].load_state_dict(mean.backbone[:-1].state_dict())  # type: ignore[index]
    with torch.no_grad():
        attending.head[-1].weight.zero_()  # type: ignore[index]
        attending.head[-1].weight[:, :128] = mean.head[-1].weight  # type: ignore[index]
    batch, classes = torch.randn(3, 1, 64, 64), torch.tensor([0, 1, 2])
    found = draw_heat(attending, batch, classes, "grad_cam")
    torch.testing.assert_close(found, draw_heat(mean, batch, classes, "grad_cam"), atol=1e-4, rtol=1e-3)
    assert float(found.max()) == 1


def test_in_place_activations_change_nothing() -> None:
    """The map is what the activation leaves, whether it overwrites its input or not."""
    torch.manual_seed(0)
    convolution, classifier = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)
    images, classes = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 0])
    networks = [
        nn.Sequential(convolution, nn.ReLU(inplace=place), nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
        for place in (False, True)
    ]
    for method in METHODS:
        first, second = (draw_heat(network, images, classes, method) for network in networks)
        torch.testing.assert_close(first, second, rtol=0, atol=0)


class Shared(nn.Module):
    """One activation that serves the maps and then the head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True)
        self.hidden, self.classifier = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.activation(self.convolution(images)).mean((2, 3))
        logits: Tensor = self.classifier(self.activation(self.hidden(features)))
        return logits


def test_a_module_that_the_head_uses_too_is_not_taken_for_the_map() -> None:
    network = Shared()
    name, _ = find_map_layer(network, torch.rand(1, 1, 8, 8))
    assert name == "convolution"
    assert draw_heat(network, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), "grad_cam").shape == (2, 8, 8)


# A network that is not here is only asked for its heat.
EXPECTED = {
    "cnn3": "backbone.16",
    "cnn4": "backbone.14",
    "slim": "backbone.12",
    "timm:legacy_xception": "backbone.act4",
    "timm:mobilenetv1_100": "backbone.bn2",
    "timm:resnet18d": "backbone.layer4",
    "timm:resnetv2_50": "backbone.norm",
    "timm:vgg16": "backbone.features.29",
    "timm:vgg19": "backbone.features.35",
}


# The maps of a timm network that attends are what the network as a whole answers.
ATTENDING = EXPECTED | {"timm:resnet18d": "backbone.0"}


def _shrink(name: str) -> Recipe:
    recipe = RECIPES[name]
    return recipe.model_copy(update={"input": recipe.input.model_copy(update={"size": SIDE})})


def test_the_expected_layers_are_those_of_the_catalog() -> None:
    assert set(EXPECTED) <= {recipe.model.name for recipe in RECIPES.values()}


def _list_networks() -> list[Any]:
    """Every recipe; those that share a network with one before it, or are large, are marked slow."""
    seen, listed = set(), []
    for name, recipe in sorted(RECIPES.items()):
        network = (recipe.model.name, recipe.model.pool, recipe.input.channels)
        heavy = network in seen or recipe.model.name.startswith(("timm:vgg", "timm:resnetv2"))
        listed.append(pytest.param(name, marks=pytest.mark.slow if heavy else []))
        seen.add(network)
    return listed


@pytest.mark.parametrize("name", _list_networks())
def test_every_recipe_of_the_catalog_has_its_heat(name: str) -> None:
    recipe = _shrink(name)
    torch.manual_seed(0)
    network = build_model(recipe, weights="none")
    batch = normalise(torch.rand(2, 1, SIDE, SIDE), recipe)
    layer, _ = find_map_layer(network, batch[:1])
    expected = ATTENDING if recipe.model.pool == "attention" else EXPECTED
    assert layer == expected.get(recipe.model.name, layer)
    for method in METHODS:
        heat = draw_heat(network, batch, torch.tensor([0, 3]), method)
        assert heat.shape == (2, SIDE, SIDE) and heat.dtype == torch.float32
        assert heat.min() >= 0 and heat.max() <= 1
        assert heat.max() == 1 or method == "grad_cam"
        assert torch.equal(heat, draw_heat(network, batch, torch.tensor([0, 3]), method))


def _toy() -> Network:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()
    )
    return Network(backbone, nn.Sequential(nn.Linear(4 * 49, 8), nn.Dropout(0.5), nn.Linear(8, 4)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind(method: str, training: bool) -> None:
    network = _toy()
    network.freeze(1.0)
    network.train(training)
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    batch = torch.rand(2, 1, 16, 16)
    kept = batch.clone()
    with torch.no_grad():
        draw_heat(network, batch, torch.tensor([0, 1]), method)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [parameter.requires_grad for parameter in network.backbone.parameters()] == [False] * 4
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert torch.equal(batch, kept) and not batch.requires_grad and batch.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_an_image_has_the_same_heat_alone_as_in_a_batch_and_in_inference_mode(method: str) -> None:
    network, batch, classes = _toy(), torch.rand(5, 1, 16, 16), torch.tensor([0, 1, 2, 3, 0])
    together = draw_heat(network, batch, classes, method)
    with torch.inference_mode():
        inside = draw_heat(network, batch.clone(), classes, method)
    alone = torch.cat([draw_heat(network, batch[i : i + 1], classes[i : i + 1], method) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(together, inside)
    assert not together.requires_grad


def test_no_warning_is_raised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            draw_heat(_toy(), torch.rand(1, 1, 16, 16), torch.tensor([0]), method)


def test_a_network_without_convolution_has_no_grad_cam() -> None:
    network = Linear(torch.rand(2, 1, 4, 4))
    with pytest.raises(ExplanationError, match=r"Linear has no convolutional feature map.*Ask for saliency"):
        draw_heat(network, torch.rand(1, 1, 4, 4), torch.tensor([0]), "grad_cam")
    assert draw_heat(network, torch.rand(1, 1, 4, 4), torch.tensor([0]), "saliency").shape == (1, 4, 4)


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_not_finite_are_refused(method: str) -> None:
    network = _toy()
    network.head[2].weight.data[0, 0] = float("nan")
    with pytest.raises(ExplanationError, match=f"{method} is not finite in 2 of 2 images"):
        draw_heat(network, torch.rand(2, 1, 16, 16), torch.tensor([0, 1]), method)


@pytest.mark.parametrize(
    ("batch", "classes", "method", "message"),
    [
        (
            torch.rand(1, 1, 16, 16),
            torch.tensor([0]),
            "lime",
            "no method 'lime'; allowed: grad_cam, saliency",
        ),
        (torch.rand(1, 16, 16), torch.tensor([0]), "saliency", r"batch is torch.float32 \(1, 16, 16\)"),
        (torch.rand(0, 1, 16, 16), torch.tensor([]), "saliency", "at least one image"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.uint8), torch.tensor([0]), "saliency", "torch.uint8"),
        (torch.rand(2, 1, 16, 16), torch.tensor([0]), "saliency", r"one integer an image is needed, \[2\]"),
        (torch.rand(1, 1, 16, 16), torch.tensor([0.5]), "saliency", "classes are torch.float32"),
        (
            torch.rand(1, 1, 16, 16),
            torch.tensor([4]),
            "grad_cam",
            "from 4 to 4; the network has 4, so 0 to 3",
        ),
        (torch.rand(1, 1, 16, 16), torch.tensor([-1]), "saliency", "from -1 to -1"),
    ],
)
def test_what_is_refused(batch: Tensor, classes: Tensor, method: str, message: str) -> None:
    with pytest.raises(ExplanationError, match=message):
        draw_heat(_toy(), batch, classes, method)


def test_a_network_that_answers_maps_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    with pytest.raises(ExplanationError, match=r"answers \(1, 2, 6, 6\); logits \[n, k\]"):
        draw_heat(network, torch.rand(1, 1, 8, 8), torch.tensor([0]), "saliency")


def test_an_overlay_is_grey_where_cold_and_coloured_where_hot() -> None:
    pixels = np.array([[0, 100], [200, 50]], np.uint8)
    heat = np.array([[0, 0], [1, 0.5]], np.float32)
    drawn = overlay_heat(pixels, heat)
    assert drawn.shape == (2, 2, 3) and drawn.dtype == np.uint8
    assert drawn[0].tolist() == [[0, 0, 0], [100, 100, 100]]
    # By hand: a quarter of 200 and three quarters of inferno's last colour, (252, 255, 164).
    assert np.abs(drawn[1, 0].astype(int) - (239, 241, 173)).max() <= 1
    red, green, blue = drawn[1, 1].astype(int)
    assert red > green and red > blue


@pytest.mark.parametrize(
    ("pixels", "heat", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32), "grey uint8"),
        (np.zeros((2, 2)), np.zeros((2, 2), np.float32), "float64"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.float32), "same shape"),
        (np.zeros((1, 2), np.uint8), np.array([[0, 1.5]], np.float32), r"\[0, 1\]; found 0 to 1.5"),
        (np.zeros((1, 2), np.uint8), np.array([[0, np.nan]], np.float32), "found nan to nan"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(pixels: Any, heat: Any, message: str) -> None:
    with pytest.raises(ExplanationError, match=message):
        overlay_heat(pixels, heat)
