"""From grey values in [0, 1] to what a model is fed: channels and scale."""

from functools import cache

import torch

from pipeline.errors import TrainingError
from pipeline.recipe import Recipe
from pipeline.training.backbones import find_config


def normalise(images: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Repeat grey over the recipe's channels and bring [0, 1] to the scale that its model expects.

    Args:
        images: float [n, 1, h, w], values in [0, 1].

    Returns:
        float [n, channels, h, w]: [0, 1] under `unit`, [-1, 1] under `half`, (x - mean) / std of the
        backbone's default weights under `backbone`. The channels of grey input share memory.

    Raises:
        TrainingError: `images` has another number of channels than 1.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise TrainingError(f"images have shape {tuple(images.shape)}; [n, 1, h, w] is needed, grey")
    channels = recipe.input.channels
    if recipe.input.normalise == "unit":
        return images.expand(-1, channels, -1, -1)
    if recipe.input.normalise == "half":
        return (images * 2 - 1).expand(-1, channels, -1, -1)
    mean, std = find_constants(recipe.model.name)
    if channels == 1:
        # timm sums the stem's RGB weights for one channel; their common scale is the mean's.
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    shift = images.new_tensor(mean).view(1, -1, 1, 1)
    scale = images.new_tensor(std).view(1, -1, 1, 1)
    return (images - shift) / scale


@cache
def find_constants(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (RGB, shares of the grey range) of a `timm:` model's default weights.

    Source: `pretrained_cfg` of timm, which states them for each set of weights.

    Raises:
        TrainingError: timm knows no such network.
    """
    config = find_config(name.removeprefix("timm:"))
    return tuple(config.mean), tuple(config.std)
