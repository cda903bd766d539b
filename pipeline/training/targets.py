"""What a batch should answer, and how far its answers are from it.

Shapes: n images of a batch, or of the piece of it that one process computes; c = 4 classes.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from pipeline.recipe import LossSpec
from pipeline.training.batches import Part
from pipeline.training.sampling import Batch

# A tenth of the image: a box that is farther off pulls no harder.
BEND = 0.1
# Bounds the loss of one attention by 6.9 nats, which is about that of one answer that is quite wrong.
LEAST = 1e-3


@dataclass(frozen=True)
class Targets:
    """The truth about images, or about mixtures of two.

    Args:
        labels: int64 [n].
        others: int64 [n], the labels of what is mixed in; none where nothing is.
        shares: float32 [n], the part of each image that is `labels`'; the rest is that of `others`.
        boxes: float32 [n, 4], or of mixtures [n, 8], the box of what is mixed in behind: centre x, centre y,
            width, height of the tumour, fractions of the image, NaN where unknown; none: not learnt.
    """

    labels: torch.Tensor
    others: torch.Tensor | None = None
    shares: torch.Tensor | None = None
    boxes: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, rows: torch.Tensor) -> "Targets":
        """Those of some rows, int64 [m]."""
        others, shares, boxes = (
            None if values is None else values[rows] for values in (self.others, self.shares, self.boxes)
        )
        return Targets(self.labels[rows], others, shares, boxes)

    def weigh(self, class_weights: torch.Tensor | None) -> torch.Tensor | int:
        """What the sum of the losses is divided by: images, or the sum of their classes' weights."""
        if class_weights is None:
            return len(self)
        weights = class_weights[self.labels]
        if self.others is not None and self.shares is not None:
            weights = self.shares * weights + (1 - self.shares) * class_weights[self.others]
        return weights.sum()

    def weigh_boxes(self) -> torch.Tensor:
        """What each box counts: float32 [n, 1] or [n, 2]; 0 where it is unknown, else its image's share."""
        assert self.boxes is not None
        known = (~self.boxes[:, ::4].isnan()).float()
        return known if self.shares is None else known * torch.stack([self.shares, 1 - self.shares], dim=1)

    def count_boxes(self) -> torch.Tensor | int:
        """What the sum of the boxes' losses is divided by: the boxes, in mixtures by their shares."""
        if self.boxes is None:
            return 0
        return self.weigh_boxes().sum().clamp(min=torch.finfo(torch.float32).tiny)

    def count_hits(self, logits: torch.Tensor) -> torch.Tensor:
        """How many answers name the truth, of a mixture that of its greater part: int64, no axes."""
        labels = self.labels
        if self.others is not None and self.shares is not None:
            labels = torch.where(self.shares >= 0.5, labels, self.others)
        return (logits.argmax(dim=1) == labels).sum()


def make_targets(part: Part, batch: Batch, device: str, boxes: torch.Tensor | None = None) -> Targets:
    """The targets of a whole batch, on a device.

    Args:
        boxes: float32 [n, 4] on the device, those of the images before they are mixed.
    """
    labels = part.labels[torch.from_numpy(batch.rows).to(device)]
    if batch.shares is None:
        return Targets(labels, boxes=boxes)
    both = None if boxes is None else torch.cat([boxes, boxes.roll(-1, dims=0)], dim=1)
    return Targets(labels, labels.roll(-1), torch.from_numpy(batch.shares).float().to(device), both)


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


def sum_place_losses(found: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The sum of the losses of boxes [n, 4], or of an attention's shares [n, h, w]: a tensor without axes."""
    return (sum_box_losses if found.ndim == 2 else sum_attention_losses)(found, targets)


def sum_box_losses(found: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The sum of the smooth L1 losses of boxes float32 [n, 4], unknown ones left out: a tensor without axes.

    Summed over the four numbers of a box (Girshick 2015, arXiv 1504.08083), square below `BEND`; of a mixture
    both boxes count, each by its share, as both labels do.
    """
    assert targets.boxes is not None
    weights = targets.weigh_boxes()
    wanted = targets.boxes.reshape(len(targets), targets.boxes.shape[1] // 4, 4)
    # Not a product with the weight alone: 0 times NaN is NaN, in the gradient too.
    wanted = torch.where(wanted.isnan(), found.detach()[:, None], wanted)
    losses = F.smooth_l1_loss(found[:, None].expand_as(wanted), wanted, reduction="none", beta=BEND)
    return (losses.sum(dim=2) * weights).sum()


def sum_attention_losses(shares: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The sum of −log of the share that lies in the tumour's box, unknown boxes left out: without axes.

    A place that the box covers in part counts by that part, where the best covered one counts 1: an attention
    that lies on it alone loses nothing. `LEAST` is added, so that no image pulls without bounds; a box that
    has left the image does not pull at all. Of a mixture both boxes count, each by its share.

    Args:
        shares: float32 [n, h, w], of each image summing to 1.
    """
    assert targets.boxes is not None
    wanted = targets.boxes.reshape(len(targets), targets.boxes.shape[1] // 4, 4).nan_to_num()
    across, down = (cover_steps(wanted[..., axis::2], shares.shape[2 - axis]) for axis in (0, 1))
    covered = down[..., :, None] * across[..., None, :]
    covered = covered / covered.amax((2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    inside = LEAST + (1 - LEAST) * (shares[:, None] * covered).sum((2, 3))
    return -(inside.log() * targets.weigh_boxes()).sum()


def cover_steps(spans: torch.Tensor, count: int) -> torch.Tensor:
    """The part of each of `count` steps from 0 to 1 that spans [..., centre and length] cover."""
    steps = torch.arange(count, device=spans.device) / count
    low, high = (spans[..., :1] + sign * spans[..., 1:] / 2 for sign in (-1, 1))
    return (torch.minimum(high, steps + 1 / count) - torch.maximum(low, steps)).clamp(min=0) * count
