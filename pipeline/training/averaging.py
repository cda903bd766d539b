"""The exponential moving average of a model's weights, batch statistics included."""

import copy

import torch
from torch import nn

from pipeline.training.models import Network


class MovingAverage:
    """Weights averaged over steps: average += (1 - decay) × (weights - average).

    Buffers are averaged too: running batch statistics that belong to other weights cost accuracy. The decay
    warms up as min(decay, (1 + t) / (10 + t)) at step t, so that the random start is soon forgotten
    (the rule of TensorFlow's ExponentialMovingAverage with num_updates).
    """

    def __init__(self, model: Network, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step`, counted from 0 over the whole training."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floating], [new for _, new in floating], 1 - decay)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)
