"""Layers that look beyond their own image, so that a batch shared out among processes stays one batch.

Batch norm takes mean and variance of the whole part of the batch (torch's own SyncBatchNorm does so on GPUs
only), dropout and stochastic depth draw for the whole part and keep their own rows. Names of tensors stay as
they were.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.training.models import StochasticDepth
from pipeline.training.team import Team


def share_layers(model: nn.Module, team: Team) -> None:
    """Let layers of a model see the batch of the whole team; nothing in a team of one.

    In evaluation mode, as frozen layers are, they do what they did.
    """
    if team.size == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalise, module, team)  # type: ignore[method-assign]
        elif type(module) is nn.Dropout:
            module.forward = partial(_drop, module, team)  # type: ignore[method-assign]
        elif isinstance(module, StochasticDepth):
            module.forward = partial(_skip, module, team)  # type: ignore[method-assign]


class _SharedNorm(torch.autograd.Function):
    """Normalise by the team's mean and variance: float [n, c, …] -> the same shape and type.

    Gradients are those of Ioffe and Szegedy 2015 (arXiv 1502.03167, section 3), its two sums over the batch
    taken over the team. The gradients of weight and bias are this process's share.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float,
        count: float,
        team: Team,
    ) -> torch.Tensor:
        ctx.save_for_backward(images, mean, variance, weight)
        ctx.eps, ctx.count, ctx.team = eps, count, team
        return F.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, mean, variance, weight = ctx.saved_tensors
        shape, axes = _shape(images), _axes(images)
        scale = (variance + ctx.eps).rsqrt()
        standard = (images.float() - mean.view(shape)) * scale.view(shape)
        upward = grad.float()
        own = torch.stack([upward.sum(axes), (upward * standard).sum(axes)])
        total = ctx.team.add_up(own.double()).float() / ctx.count
        pull = total[0].view(shape) + standard * total[1].view(shape)
        down = (upward - pull) * (weight * scale).view(shape)
        return down.to(images.dtype), None, None, own[1], own[0], None, None, None


def _normalise(module: _BatchNorm, team: Team, images: torch.Tensor) -> torch.Tensor:
    if not module.training:
        return type(module).forward(module, images)
    mean, variance, count = _measure(images.detach(), team)
    _remember(module, mean, variance, count)
    weight = torch.ones_like(mean) if module.weight is None else module.weight
    bias = torch.zeros_like(mean) if module.bias is None else module.bias
    changed: torch.Tensor = _SharedNorm.apply(images, mean, variance, weight, bias, module.eps, count, team)
    for name in ("drop", "act"):  # timm's BatchNormAct2d goes on with these
        follower = getattr(module, name, None)
        changed = changed if follower is None else follower(changed)
    return changed


def _measure(images: torch.Tensor, team: Team) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and biased variance of each channel, float32 [c], and how many values they are of."""
    variance, mean = torch.var_mean(images.float(), _axes(images), correction=0)
    count = images.numel() / images.shape[1]
    mean, variance = mean.double(), variance.double()
    own = torch.stack([torch.full_like(mean, count), count * mean, count * (variance + mean**2)])
    counts, sums, squares = team.add_up(own)
    mean = sums / counts
    return mean.float(), (squares / counts - mean**2).clamp_(min=0).float(), float(counts[0])


@torch.no_grad()
def _remember(module: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor, count: float) -> None:
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    cumulative = module.momentum is None
    share = 1 / float(module.num_batches_tracked) if cumulative else float(module.momentum or 0)
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


def _drop(module: nn.Dropout, team: Team, features: torch.Tensor) -> torch.Tensor:
    if not module.training or module.p in (0, 1):
        return nn.Dropout.forward(module, features)
    piece, keep = team.piece, 1 - module.p
    whole = features.new_empty((piece.total, *features.shape[1:])).bernoulli_(keep).div_(keep)
    return features * whole[piece.first : piece.first + len(features)]


def _skip(module: StochasticDepth, team: Team, branch: torch.Tensor) -> torch.Tensor:
    if not module.training or not module.drop_prob:
        return branch
    piece = team.piece
    return module.keep(branch, module.draw(branch, piece.total)[piece.first : piece.first + len(branch)])


def _axes(images: torch.Tensor) -> list[int]:
    return [axis for axis in range(images.ndim) if axis != 1]


def _shape(images: torch.Tensor) -> list[int]:
    return [-1 if axis == 1 else 1 for axis in range(images.ndim)]
