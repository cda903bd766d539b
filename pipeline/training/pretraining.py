"""Learning without labels before the first epoch: two views of one image are to be told alike.

SimSiam (Chen and He 2021, arXiv 2011.10566): what is told from one view predicts what is told from the other,
and the other does not move towards it. No image is a counter-example, so that neighbouring slices of one
patient are not driven apart, and the loss is a mean over images, so that a batch may be computed in parts and
shared out as any other.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pipeline.digests import seed_for
from pipeline.errors import DivergedError
from pipeline.recipe import Recipe
from pipeline.training.batches import Part, order_batches
from pipeline.training.devices import Device
from pipeline.training.feeds import PixelFeed
from pipeline.training.inputs import normalise
from pipeline.training.optimisers import set_rate
from pipeline.training.sampling import Batch
from pipeline.training.spec import TrainingSpec
from pipeline.training.state import Row, State
from pipeline.training.steps import divide_batch
from pipeline.training.team import Team
from pipeline.training.views import measure_loss, measure_spread

# Of 0 to 1: far below what any network tells apart before it has learnt anything.
COLLAPSED = 0.01

Views = tuple[torch.Tensor, torch.Tensor]


def pretrain_epoch(spec: TrainingSpec, state: State, device: Device, feed: PixelFeed, team: Team) -> Row:
    """One pass over the training images in two views each; the same bits in every process.

    Returns:
        loss, -1 (views told alike) to 1, and spread, as `measure_spread` tells it.

    Raises:
        torch.OutOfMemoryError: the device's memory does not hold a part of a batch; the state is spoilt.
    """
    epoch = len(state.pretraining) + 1
    seed = seed_for(spec.seed, "pretraining")
    torch.manual_seed(seed_for(seed, "dropout", epoch))
    batches = draw_views(spec.recipe, feed.train.image_ids, seed=seed, epoch=epoch)
    totals = torch.zeros(2, dtype=torch.float64, device=device.name)
    state.model.train()
    for index, (first, second) in enumerate(batches):
        set_rate(state.optimiser, find_rate(spec.recipe, (epoch - 1) * len(batches) + index, len(batches)))
        own = np.concatenate([piece.rows for piece in divide_batch(state, len(first), team)])
        views = feed.take(first, own, epoch), feed.take(second, own, epoch)
        totals += take_step(state, device, spec.recipe, views, len(first), team) * len(first)
    loss, spread = (team.add_up(totals) / len(feed.train)).tolist()
    return {"loss": loss, "spread": spread}


def make_views(spec: TrainingSpec, device: Device, held: tuple[Part, Part]) -> PixelFeed:
    """Where the views come from: the training images, changed as the recipe's pre-training says."""
    assert spec.recipe.pretraining is not None
    seed = seed_for(spec.seed, "pretraining")
    return PixelFeed(spec, device, held, spec.recipe.pretraining.augment, seed)


def check_views(spec: TrainingSpec, row: Row) -> None:
    """Refuse to go on where the loss is no number, or all images are told the same.

    Raises:
        DivergedError: says what to try.
    """
    if math.isfinite(row["loss"]) and row["spread"] >= COLLAPSED:
        return
    raise DivergedError(
        f"pre-training of recipe {spec.recipe.name!r} tells no images apart (loss {row['loss']:.3g}, "
        f"spread {row['spread']:.3g}, where {COLLAPSED} is the least). Try a tenth of "
        "pretraining.lr_factor, a larger batch_size, or views that differ more (pretraining.augment)"
    )


def describe_pretraining(recipe: Recipe, rows: Sequence[Row]) -> str:
    """How far pre-training has come, for a person."""
    assert recipe.pretraining is not None
    last = rows[-1]
    return (
        f"epoch {len(rows)} of {recipe.pretraining.epochs} without labels, loss {last['loss']:.4f} (-1: both "
        f"views of each image are told alike), spread {last['spread']:.3f} (0: all images are told alike)"
    )


def draw_views(
    recipe: Recipe, image_ids: tuple[str, ...], *, seed: int, epoch: int
) -> list[tuple[Batch, Batch]]:
    """The batches of an epoch, each twice: the same images, with keys that give each a view of its own."""
    found = []
    for rows in order_batches(len(image_ids), recipe.batch_size, seed=seed, epoch=epoch):
        first = Batch(rows, tuple(image_ids[row] for row in rows))
        found.append((first, replace(first, keys=tuple(f"{key}/1" for key in first.keys))))
    return found


def find_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of one step: a linear rise over the first epoch, times a cosine to 0 over all.

    Args:
        step: counted from 0 over the whole pre-training.
        steps: steps in an epoch.
    """
    spec = recipe.pretraining
    assert spec is not None
    rise = min(1.0, (step + 1) / steps)
    fall = 0.5 * (1 + math.cos(math.pi * step / (spec.epochs * steps)))
    return recipe.optimiser.lr * spec.lr_factor * rise * fall


def take_step(
    state: State, device: Device, recipe: Recipe, views: Views, count: int, team: Team
) -> torch.Tensor:
    """One step of the optimiser, for one batch; as `steps.take_step`, without labels.

    Args:
        views: what `divide_batch` gives this process of a batch of `count` images, float32 [n, 1, h, w] each.

    Returns:
        float64 [2], this process's share of the mean loss and of the mean spread, on the device.
    """
    state.optimiser.zero_grad(set_to_none=True)
    pieces = divide_batch(state, count, team)
    sizes = [len(piece.rows) for piece in pieces]
    told = torch.zeros(2, dtype=torch.float64, device=views[0].device)
    for piece, first, second in zip(pieces, *(torch.split(view, sizes) for view in views), strict=True):
        team.piece = piece
        (one, guess), (other, back) = (answer(state, device, recipe, view) for view in (first, second))
        loss = (measure_loss(guess, other) + measure_loss(back, one)) / 2 * (len(piece.rows) / count)
        loss.backward()  # type: ignore[no-untyped-call]
        spread = measure_spread(one.detach()) * (len(piece.rows) / count)
        told += torch.stack([loss.detach(), spread]).double()
    team.add_up_gradients(list(state.trained.parameters()))
    state.optimiser.step()
    return told


def answer(
    state: State, device: Device, recipe: Recipe, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is told from images in [0, 1], and what that predicts of another view: float [n, d] both."""
    assert state.predictor is not None
    with device.autocast():
        scaled = normalise(images, recipe).contiguous(memory_format=torch.channels_last)
        told, guess = state.predictor(state.model.backbone(scaled))
    return told.float(), guess.float()
