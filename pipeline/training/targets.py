"""What a batch should answer, and how far its answers are from it.

Shapes: n images of a batch, or of the piece of it that one process computes; c = 4 classes.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from pipeline.recipe import LossSpec
from pipeline.training.batches import Part
from pipeline.training.sampling import Batch


@dataclass(frozen=True)
class Targets:
    """The truth about images, or about mixtures of two.

    Args:
        labels: int64 [n].
        others: int64 [n], the labels of what is mixed in; none where nothing is.
        shares: float32 [n], the part of each image that is `labels`'; the rest is that of `others`.
    """

    labels: torch.Tensor
    others: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, rows: torch.Tensor) -> "Targets":
        """Those of some rows, int64 [m]."""
        if self.others is None or self.shares is None:
            return Targets(self.labels[rows])
        return Targets(self.labels[rows], self.others[rows], self.shares[rows])

    def weigh(self, class_weights: torch.Tensor | None) -> torch.Tensor | int:
        """What the sum of the losses is divided by: images, or the sum of their classes' weights."""
        if class_weights is None:
            return len(self)
        weights = class_weights[self.labels]
        if self.others is not None and self.shares is not None:
            weights = self.shares * weights + (1 - self.shares) * class_weights[self.others]
        return weights.sum()

    def count_hits(self, logits: torch.Tensor) -> torch.Tensor:
        """How many answers name the truth, of a mixture that of its greater part: int64, no axes."""
        labels = self.labels
        if self.others is not None and self.shares is not None:
            labels = torch.where(self.shares >= 0.5, labels, self.others)
        return (logits.argmax(dim=1) == labels).sum()


def make_targets(part: Part, batch: Batch, device: str) -> Targets:
    """The targets of a whole batch, on a device."""
    labels = part.labels[torch.from_numpy(batch.rows).to(device)]
    if batch.shares is None:
        return Targets(labels)
    return Targets(labels, labels.roll(-1), torch.from_numpy(batch.shares).float().to(device))


def measure_loss(
    logits: torch.Tensor, targets: Targets, spec: LossSpec, class_weights: torch.Tensor | None
) -> torch.Tensor:
    """The mean loss of logits float [n, c], a tensor without axes.

    Cross-entropy; of mixtures, that against each of the two labels by its share (Zhang et al. 2018, arXiv
    1710.09412, there written as the loss of a mixed label, which is the same). Class weights weigh each
    label's part, and the sum is divided by `Targets.weigh`.

    Args:
        class_weights: float32 [c], or none.
    """
    if targets.others is None or targets.shares is None:
        return F.cross_entropy(
            logits, targets.labels, weight=class_weights, label_smoothing=spec.label_smoothing
        )
    own, other = (
        F.cross_entropy(
            logits, labels, weight=class_weights, label_smoothing=spec.label_smoothing, reduction="none"
        )
        for labels in (targets.labels, targets.others)
    )
    mixed = targets.shares * own + (1 - targets.shares) * other
    return mixed.sum() / targets.weigh(class_weights)
