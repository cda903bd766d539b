"""The payload on a machine where the second process holds two images at a time in training."""

import os
import sys

import torch

from pipeline.training.models import Network
from resources.lifeline import say_code
from resources.payload import main

forward = Network.forward


def limited(self: Network, images: torch.Tensor) -> torch.Tensor:
    if self.training and os.environ.get("RANK") == "1" and len(images) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    return forward(self, images)


if __name__ == "__main__":
    Network.forward = limited  # type: ignore[method-assign]
    sys.exit(say_code(main()))
