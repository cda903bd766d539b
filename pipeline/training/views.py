"""What is told from a view of an image, and what it predicts of another: there while pre-training, no longer.

SimSiam (Chen and He 2021, arXiv 2011.10566). Shapes: n images, f features, d numbers that are told.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.recipe import Recipe
from pipeline.training.models import Network

# The paper's 2,048 and 512 belong to 2,048 features of a ResNet-50; a quarter of both for small networks.
_TOLD, _NARROW = 512, 128


class Predictor(nn.Module):
    """From features float [n, f] to what is told and what that predicts of another view, float [n, d] both.

    Batch norm stands where section 4.4 of the paper found that it must: behind each layer but the last.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            *_connect(width, _TOLD), nn.Linear(_TOLD, _TOLD, bias=False), nn.BatchNorm1d(_TOLD, affine=False)
        )
        self.predict = nn.Sequential(*_connect(_TOLD, _NARROW), nn.Linear(_NARROW, _TOLD))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both, from features."""
        told = self.project(features)
        return told, self.predict(told)


def build_predictor(recipe: Recipe, network: Network) -> Predictor | None:
    """The head of a recipe that pre-trains, else none; drawn from torch's global generator."""
    return Predictor(network.width) if recipe.pretraining else None


def measure_loss(guess: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Minus the mean cosine between rows of float [n, d], -1 to 1; `wanted` gets no gradient."""
    return -F.cosine_similarity(guess, wanted.detach(), dim=1).mean()


def measure_spread(told: torch.Tensor) -> torch.Tensor:
    """Whether images are still told apart: 1 = as far as directions can be, 0 = all are told the same.

    √d times the standard deviation of each number of float [n, d], whose rows have length 1, on average
    (section 4.1 of the paper): the loss alone cannot tell learning from a collapse.
    """
    return F.normalize(told, dim=1).std(dim=0, correction=0).mean() * math.sqrt(told.shape[1])


def _connect(before: int, width: int) -> list[nn.Module]:
    return [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
