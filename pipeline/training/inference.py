"""From stored weights to probabilities."""

from pathlib import Path

import numpy as np
import torch

from pipeline.errors import CheckpointError, TrainingError
from pipeline.recipe import Recipe
from pipeline.training.inputs import normalise
from pipeline.training.models import Network, build_model
from pipeline.training.weights import load_file_into

BEST = "best.safetensors"
BATCH_SIZE = 64


def load_model(work: Path | str, recipe: Recipe) -> Network:
    """The trained network of a work folder: on the CPU, in fp32, channels-last, in evaluation mode.

    Raises:
        CheckpointError: the folder holds no weights.
        WeightsError: the weights do not fit the recipe's model.
    """
    path = Path(work) / BEST
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}; train recipe {recipe.name!r} first")
    model = build_model(recipe, weights="none")
    load_file_into(model, path)
    return model.to(memory_format=torch.channels_last).eval()


@torch.inference_mode()
def predict(
    model: torch.nn.Module,
    images: np.ndarray | torch.Tensor,
    recipe: Recipe,
    *,
    device: str = "cpu",
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Probabilities of images under a model, in the order of `pipeline.labels.LABELS`.

    Computed in fp32, the softmax in float64. One machine, one number of threads and one batch size give the
    same bits each time; another batch size moves a probability by less than 1e-5.

    Args:
        model: in evaluation mode, on `device`.
        images: uint8 [n, size, size] grey, or float [n, 1, size, size] in [0, 1]; size as in the recipe.

    Returns:
        float64 [n, 4], rows sum to 1.

    Raises:
        TrainingError: the images have another shape or type.
    """
    pixels = torch.as_tensor(images)
    if pixels.dtype == torch.uint8 and pixels.ndim == 3:
        pixels = pixels[:, None]
    size = recipe.input.size
    if pixels.shape[1:] != (1, size, size) or not (pixels.dtype == torch.uint8 or pixels.is_floating_point()):
        raise TrainingError(
            f"images are {pixels.dtype} {tuple(pixels.shape)}; recipe {recipe.name!r} needs "
            f"uint8 [n, {size}, {size}] or float [n, 1, {size}, {size}] in [0, 1]"
        )
    found = [
        torch.softmax(answer(model, prepare_images(batch, recipe, device), recipe).double(), dim=1).cpu()
        for batch in torch.split(pixels, batch_size)
    ]
    return torch.cat(found).numpy() if len(pixels) else np.empty((0, 4))


def answer(model: torch.nn.Module, inputs: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Logits [n, 4] of prepared images [n, c, h, w]; with `model.mirror` the mean with their mirror images'.

    The images as they are go through the network first, their mirror images after them.
    """
    logits: torch.Tensor = model(inputs)
    if not recipe.model.mirror:
        return logits
    mean: torch.Tensor = (logits + model(mirror_images(inputs))) / 2
    return mean


def mirror_images(images: torch.Tensor) -> torch.Tensor:
    """The left–right mirror images of images [n, c, h, w], stored as a network likes them."""
    return images.flip(-1).contiguous(memory_format=torch.channels_last)


def prepare_images(batch: torch.Tensor, recipe: Recipe, device: str) -> torch.Tensor:
    """What a model is fed: uint8 or float [n, 1, h, w] -> float32 [n, channels, h, w], on the device."""
    batch = batch.to(device)
    scaled = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
    return normalise(scaled, recipe).contiguous(memory_format=torch.channels_last)
