"""How far an image is from the training images: what lies farther than nearly all of val is refused.

The distance is that of deep nearest neighbours (Sun et al. 2022, arXiv 2204.06507), to the k-th nearest
training image, between features of the network itself. Theirs are those right before the classifier; ours are
mean and deviation of each channel in the first half of the convolutions, in units of their spread over
training, since the last layers keep what tells the classes apart and drop what tells a slice from anything
else (Lee et al. 2018, arXiv 1807.03888, look at all layers for it). docs/serving.md has the figures of both.

The threshold is the split-conformal quantile of the distances of val: an image that is exchangeable with val
is refused with a probability of at most 1 %, given 99 images of val or more; with fewer the farthest decides.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file
from torch import nn

from pipeline.atomic import replacing_file
from pipeline.digests import digest_file
from pipeline.errors import ServingError
from pipeline.recipe import Recipe
from pipeline.serving.card import Distance
from pipeline.training.inference import answer, prepare_images
from pipeline.training.models import Network

REFERENCE = "reference.safetensors"
NEIGHBOURS = 5
QUANTILE = 0.99
BATCH = 64
_TENSORS = ("features", "mean", "scale", "val")

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What new images are compared with.

    Attributes:
        features: float16 [n, f] of training images, less `mean`, divided by `scale`.
        mean, scale: float32 [f].
        val: float64 [m], distances of val images to the features, ascending.
    """

    features: NDArray[np.float16]
    mean: Floats
    scale: Floats
    val: Doubles

    @property
    def threshold(self) -> float:
        """The ⌈0.99 (m + 1)⌉-th smallest distance of val, the largest where there are fewer."""
        rank = math.ceil(QUANTILE * (len(self.val) + 1))
        return float(self.val[min(rank, len(self.val)) - 1])


class Ruler:
    """Measures features against a reference; holds it in single precision."""

    def __init__(self, reference: Reference) -> None:
        self._rows = torch.from_numpy(reference.features.astype(np.float32))
        self._squares = self._rows.square().sum(dim=1)
        self._mean, self._scale = reference.mean, reference.scale
        self.neighbours = min(NEIGHBOURS, len(self._rows))

    def measure(self, features: Floats) -> Doubles:
        """Root mean square difference, in spreads of training, to the fifth nearest of the reference.

        Args:
            features: float32 [n, f], from `Eye.look`.

        Returns:
            float64 [n], rounded to 6 decimals.
        """
        rows = torch.from_numpy((features - self._mean) / self._scale)
        # Torch's product, whose threads are those of the network: NumPy's own would contend with them.
        squares = rows.square().sum(dim=1, keepdim=True) + self._squares - 2 * rows @ self._rows.T
        nearest = torch.kthvalue(squares, self.neighbours, dim=1).values.double().numpy()
        squared = np.maximum(0, nearest) / rows.shape[1]
        return np.asarray(np.sqrt(squared).round(6), np.float64)


class Eye:
    """Runs a network and keeps what its early convolutions saw; several threads may look at once."""

    def __init__(self, model: Network, recipe: Recipe) -> None:
        self._model, self._recipe, self._seen = model, recipe, threading.local()
        layers = [layer for layer in model.backbone.modules() if isinstance(layer, nn.Conv2d)]
        early = layers[: -(-len(layers) // 2)]
        self._wanted = 2 * len(early)
        for layer in early:
            layer.register_forward_hook(self._make_hook())

    def look(self, images: NDArray[np.uint8], *, device: str = "cpu") -> tuple[Doubles, Floats]:
        """Logits and features of images in one pass; the logits are those of `pipeline.training.inference`.

        Args:
            images: uint8 [n, size, size], size as in the recipe.
            device: where the model is.

        Returns:
            float64 [n, classes], and float32 [n, f]: of each early convolution the mean and the standard
            deviation of each channel. One machine, one number of threads: the same bits each time.
        """
        logits, features = [], []
        with torch.inference_mode():
            for batch in torch.split(torch.as_tensor(images)[:, None], BATCH):
                self._seen.parts = []
                inputs = prepare_images(batch, self._recipe, device)
                logits.append(answer(self._model, inputs, self._recipe).double().cpu())
                features.append(torch.cat(self._seen.parts, dim=1).float().cpu())
        self._seen.parts = None
        return torch.cat(logits).numpy(), torch.cat(features).numpy()

    def _make_hook(self) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def keep(_layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            parts = getattr(self._seen, "parts", None)
            # Somebody else may run the network, too; and what a mirror image shows is not kept.
            if parts is not None and len(parts) < self._wanted:
                mean, square = output.mean((2, 3)), output.square().mean((2, 3))
                parts += [mean, (square - mean.square()).clamp_min(0).sqrt()]  # `std` is slower

        return keep


def save_reference(path: Path, reference: Reference) -> None:
    """Write a reference as safetensors, whole or not at all; the same one gives the same bytes."""
    with replacing_file(path) as temporary:
        save_file({name: getattr(reference, name) for name in _TENSORS}, temporary)


def load_reference(path: Path) -> Reference:
    """Read a reference.

    Raises:
        ServingError: the file is missing or holds something else.
    """
    try:
        stored = load(path.read_bytes())
        return Reference(**{name: stored[name] for name in _TENSORS})
    except (OSError, SafetensorError, KeyError) as error:
        raise ServingError(
            f"{path} is no reference of training images: {error}. Remove it if it is there, and train again: "
            "a finished training is only read, and the file written anew"
        ) from error


def describe_reference(path: Path) -> Distance:
    """What the card says of a reference file."""
    found = load_reference(path)
    return Distance(
        neighbours=min(NEIGHBOURS, len(found.features)),
        threshold=found.threshold,
        quantile=QUANTILE,
        train_images=len(found.features),
        val_images=len(found.val),
        digest=digest_file(path),
    )
