"""From feature maps to features: what the head of a network is given."""

from collections.abc import Callable, Mapping

import torch
from torch import nn


class MeanPool(nn.Module):
    """Mean over height and width: [n, f, h, w] -> [n, f]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Average each feature map."""
        return maps.mean((2, 3))


class AttentionPool(nn.Module):
    """The mean over all places, and beside it the mean over the places that the network attends to.

    Each place of the maps gets a share by a softmax over one linear score of its features (attention pooling
    as in Ilse et al. 2018, arXiv 1802.04712, without their hidden layer). `loss.box` teaches the shares to
    lie on the tumour, where the reference knows its box (`pipeline.training.targets`); so what the head is
    given comes from there, and from the whole slice.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.place = nn.Linear(width, 1)

    def attend(self, maps: torch.Tensor) -> torch.Tensor:
        """[n, f, h, w] -> shares [n, h, w] in float32, which sum to 1."""
        # [n, h w, 1]: nothing here looks like a feature map to what searches a network for its last one.
        scores: torch.Tensor = self.place(maps.flatten(2).transpose(1, 2)).float()
        return scores.softmax(dim=1).view(-1, maps.shape[2], maps.shape[3])

    def gather(self, maps: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Maps [n, f, h, w] and shares [n, h, w] -> features [n, 2 f]."""
        attended = (maps * shares[:, None]).sum((2, 3))
        return torch.cat([maps.mean((2, 3)), attended.to(maps.dtype)], dim=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[n, f, h, w] -> [n, 2 f]."""
        return self.gather(maps, self.attend(maps))


POOLS: Mapping[str, Callable[[int], MeanPool | AttentionPool]] = {
    "mean": MeanPool,
    "attention": AttentionPool,
}
