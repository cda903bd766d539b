"""From a recipe to a network: a backbone that gives features, and a head that gives four logits.

Shapes: n images, c channels, h × w pixels, f features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.labels import LABELS
from pipeline.recipe import ModelSpec, Recipe
from pipeline.training.attention import POOLS
from pipeline.training.backbones import create_timm, find_imagenet_file
from pipeline.training.weights import check_weights, is_path, transfer


class Network(nn.Module):
    """Backbone and head; frozen layers keep their weights and their batch statistics.

    Input float [n, c, h, w], already brought to scale by `pipeline.training.inputs.normalise`;
    output logits [n, classes], in the order of `pipeline.labels.LABELS`. `origin` says in words where the
    weights came from.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.origin = "random weights"
        self._frozen: tuple[nn.Module, ...] = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [n, classes] of normalised images [n, c, h, w]."""
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits

    @property
    def width(self) -> int:
        """How many features the backbone gives."""
        dense = next(module for module in self.head.modules() if isinstance(module, nn.Linear))
        return dense.in_features

    def freeze(self, share: float) -> None:
        """Stop the first `share` of the backbone's layers from training, and let all others train.

        A layer is a module that holds parameters of its own, in the order of their definition. Frozen batch
        norms also keep the running mean and variance that came with their weights, as Keras does.
        """
        layers = [module for module in self.backbone.modules() if list(module.parameters(recurse=False))]
        self._frozen = tuple(layers[: round(share * len(layers))])
        for place, layer in enumerate(layers):
            layer.requires_grad_(place >= len(self._frozen))
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        """As usual, except that frozen layers stay in evaluation mode."""
        super().train(mode)
        for layer in self._frozen:
            layer.eval()
        return self


class StochasticDepth(nn.Module):
    """Drops a residual branch of some images, in training (Huang et al. 2016, arXiv 1603.09382).

    Drawn image by image from torch's generator of the device, as dropout is. What stays is divided by the
    share that stays, so that nothing has to be scaled afterwards; the paper scales the trained network.
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """[n, …] -> the same shape, whole images of it 0."""
        if not self.training or not self.drop_prob:
            return branch
        return self.keep(branch, self.draw(branch, len(branch)))

    def draw(self, branch: torch.Tensor, count: int) -> torch.Tensor:
        """Which of `count` images keep their branch: 1 or 0, [count, 1, …], as the branch is stored."""
        return branch.new_empty((count, *[1] * (branch.ndim - 1))).bernoulli_(1 - self.drop_prob)

    def keep(self, branch: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """The branch of the images that keep it, made up for those that do not."""
        return branch * kept / (1 - self.drop_prob)


class Residual(nn.Module):
    """Two 3 × 3 convolutions with batch norm beside a skip (He et al. 2016, arXiv 1512.03385).

    Args:
        width: channels in and out.
        drop_prob: how often training skips the branch (`StochasticDepth`).
    """

    def __init__(self, width: int, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.depth = StochasticDepth(drop_prob)
        self.activation = nn.GELU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[n, width, h, w] -> the same shape."""
        activated: torch.Tensor = self.activation(features + self.depth(self.branch(features)))
        return activated


def build_model(
    recipe: Recipe, classes: int = len(LABELS), *, weights: str | None = None, folder: str = ""
) -> Network:
    """The network of a recipe, in evaluation mode, with parameters in fp32, frozen as its first stage says.

    Random weights are drawn from torch's global generator: seed it before. Input is
    float [n, input.channels, input.size, input.size] from `normalise`.

    Args:
        weights: instead of the recipe's: none, imagenet, or a path to a safetensors file.
        folder: where ImageNet weights are looked for first; empty = timm's cache and hub alone.

    Raises:
        WeightsError: the weights are missing or do not fit; says what to do.
        TrainingError: timm knows no such network, the input is too small for the model, or it should attend
            and has no feature maps.
    """
    spec, wanted = recipe.model, recipe.model.weights if weights is None else weights
    check_weights(spec.name, wanted)
    file = find_imagenet_file(_timm_name(spec), folder=folder) if wanted == "imagenet" else ""
    backbone, width = _build_backbone(recipe, file)
    network = Network(backbone, _build_head(width, spec, classes))
    if file:
        network.origin = f"backbone: ImageNet weights of {_timm_name(spec)}; head: random"
    if is_path(wanted):
        network.origin = transfer(network, wanted).describe()
    network.freeze(recipe.list_stages()[0].freeze)
    return network.eval()


def require_weights(recipe: Recipe, *, folder: str = "") -> None:
    """Refuse a recipe whose weights are not to be had, before anything is decoded, drawn or started.

    Args:
        folder: as in `build_model`.

    Raises:
        WeightsError: says which file is missing and what to do.
    """
    check_weights(recipe.model.name, recipe.model.weights)
    if recipe.model.weights == "imagenet":
        find_imagenet_file(_timm_name(recipe.model), folder=folder)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters of a model, and those of them that train."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


def _timm_name(spec: ModelSpec) -> str:
    return spec.name.removeprefix("timm:")


def _build_backbone(recipe: Recipe, file: str) -> tuple[nn.Module, int]:
    channels, size, name = recipe.input.channels, recipe.input.size, recipe.model.name
    if name.startswith("timm:"):
        network, width = _build_timm(_timm_name(recipe.model), channels, file)
        return (network, width) if recipe.model.pool == "mean" else _attend(network, width, recipe)
    if name == "slim":
        return _build_slim(channels, recipe.model)
    return (_build_cnn3 if name == "cnn3" else _build_cnn4)(channels, size)


def _build_head(width: int, spec: ModelSpec, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place, hidden in enumerate(spec.head, start=1):
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        if spec.batch_norm:
            layers.append(nn.BatchNorm1d(hidden))
        if spec.hidden_dropout and place < len(spec.head):
            layers.append(nn.Dropout(spec.hidden_dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Dropout(spec.dropout), nn.Linear(width, classes))


def _build_cnn3(channels: int, size: int) -> tuple[nn.Module, int]:
    """R2: blocks of 16, 32, 64 channels; two 3 × 3 convolutions + ReLU each, batch norm, 2 × 2 max pool."""
    widths = (16, 32, 64)
    layers: list[nn.Module] = []
    for before, width in _pairs(channels, widths):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers += [nn.BatchNorm2d(width), nn.MaxPool2d(2)]
        size //= 2
    return nn.Sequential(*layers, nn.Flatten()), widths[-1] * size * size


def _build_cnn4(channels: int, size: int) -> tuple[nn.Module, int]:
    """R5's own CNN as far as it is told: four blocks, batch norm; unpadded 3 × 3 convolutions are ours."""
    widths = (32, 64, 128, 256)
    layers: list[nn.Module] = []
    side = size
    for before, width in _pairs(channels, widths):
        layers += [nn.Conv2d(before, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        side = (side - 2) // 2
    if side < 1:
        raise TrainingError(f"cnn4 needs an input of at least 46 pixels, found input.size {size}")
    return nn.Sequential(*layers, nn.Flatten()), widths[-1] * side * side


def _build_slim(channels: int, spec: ModelSpec) -> tuple[nn.Module, int]:
    """Ours: plain residual network behind a patch stem of stride 4, for small inputs and few seconds.

    Of L blocks, block l is skipped with probability stochastic_depth × l / L: the linear rule of Huang et al.
    2016.
    """
    widths, depths = (32, 64, 128), (1, 1, 2)
    layers: list[nn.Module] = [*_convolve(channels, widths[0], kernel=4, stride=4)]
    before, place = widths[0], 0
    for width, depth in zip(widths, depths, strict=True):
        if width != before:
            layers += _convolve(before, width, kernel=3, stride=2, padding=1)
        rates = [spec.stochastic_depth * block / sum(depths) for block in range(place + 1, place + depth + 1)]
        layers += [Residual(width, rate) for rate in rates]
        before, place = width, place + depth
    pool = POOLS[spec.pool](widths[-1])
    return nn.Sequential(*layers, pool), pool.width


def _build_timm(name: str, channels: int, file: str) -> tuple[nn.Module, int]:
    model = create_timm(name, channels, file=file)
    if name.startswith("vgg"):
        # timm's VGG carries Keras's two dense layers of 4,096; transfer learning drops them.
        model.pre_logits = nn.Identity()
        return model, int(model.num_features)
    return model, int(getattr(model, "head_hidden_size", model.num_features))


def _attend(network: Any, width: int, recipe: Recipe) -> tuple[nn.Module, int]:
    """A network of timm up to its last `width` feature maps, and attention in place of its own pooling."""
    network.reset_classifier(0, "")
    example = torch.zeros(1, recipe.input.channels, recipe.input.size, recipe.input.size)
    with torch.no_grad():
        maps = network.eval()(example)
    # Some of timm's transformers answer [n, h, w, f], which has four axes, too.
    if maps.ndim != 4 or maps.shape[1] != width or maps.shape[2] * maps.shape[3] < 2:
        raise TrainingError(
            f"model.pool: attention needs feature maps [n, {width}, h, w] of several places, "
            f"{recipe.model.name} gives {list(maps.shape)} at input.size {recipe.input.size}; set "
            "model.pool: mean, or take a convolutional network and a larger input"
        )
    pool = POOLS[recipe.model.pool](width)
    return nn.Sequential(network, pool), pool.width


def _convolve(before: int, width: int, *, kernel: int, stride: int, padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, kernel, stride=stride, padding=padding, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.GELU()]


def _pairs(channels: int, widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip((channels, *widths[:-1]), widths, strict=True))
