"""Where the tumour is, as a second task of a network: what finds it may help to name it.

Multi-task learning after Caruana 1997 (Machine Learning 28). The slim network that averages its maps gets a
second head, there while training and no longer; one that attends (`AttentionPool`) is taught where to.
"""

import torch
from torch import nn

from pipeline.recipe import Recipe
from pipeline.training.attention import AttentionPool, MeanPool
from pipeline.training.models import Network


class Locator(nn.Module):
    """From the last feature maps, float [n, f, h, w], to a box, float [n, 4].

    Centre x, centre y, width and height are fractions of the input, 0 to 1. Each place of the maps gets a
    share, by a softmax; the centre is the mean of the places by their shares (the soft argmax, as in Nibali
    et al. 2018, arXiv 1801.07372), and the size is told from the mean of the features by the same shares.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Linear(width, 1)
        self.size = nn.Linear(width, 2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[n, f, h, w] -> [n, 4], in float32 whatever the maps are."""
        height, width = maps.shape[2:]
        features = maps.flatten(2).transpose(1, 2)
        shares = self.place(features).float().softmax(dim=1)
        across = (torch.arange(width, device=maps.device) + 0.5) / width
        down = (torch.arange(height, device=maps.device) + 0.5) / height
        places = torch.stack([across.repeat(height), down.repeat_interleave(width)], dim=1)
        centre = (shares * places).sum(dim=1)
        size = self.size((shares * features).sum(dim=1)).float().sigmoid()
        return torch.cat([centre, size], dim=1)


def build_locator(recipe: Recipe, network: Network) -> Locator | None:
    """The second head of a recipe that learns boxes by one, else none; from torch's global generator."""
    if not recipe.loss.box or recipe.model.pool == "attention":
        return None
    return Locator(network.width)


def answer_both(
    network: Network, locator: Locator | None, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n, classes] of normalised images, and where the tumour is; the backbone is computed once.

    Where: boxes [n, 4] of the second head, or without one the shares [n, h, w] of the network's attention.
    """
    maps, pool = find_maps(network)(images), find_pool(network)
    if locator is not None:
        return network.head(pool(maps)), locator(maps)
    assert isinstance(pool, AttentionPool)
    shares = pool.attend(maps)
    return network.head(pool.gather(maps, shares)), shares


def find_maps(network: Network) -> nn.Sequential:
    """The layers of a network that learns boxes, up to its last feature maps."""
    assert isinstance(network.backbone, nn.Sequential)
    return network.backbone[:-1]


def find_pool(network: Network) -> MeanPool | AttentionPool:
    """The layer behind them, which gathers them into features."""
    assert isinstance(network.backbone, nn.Sequential)
    pool = network.backbone[-1]
    assert isinstance(pool, MeanPool | AttentionPool)
    return pool
