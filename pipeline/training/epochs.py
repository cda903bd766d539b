"""One epoch: a pass over the training part, and a look at val."""

import math

import numpy as np
import torch

from pipeline.digests import seed_for
from pipeline.errors import DivergedError
from pipeline.training.batches import weigh_classes
from pipeline.training.devices import Device
from pipeline.training.feeds import Feed
from pipeline.training.inference import BATCH_SIZE
from pipeline.training.optimisers import find_rate, set_rate
from pipeline.training.sampling import draw_batches
from pipeline.training.scores import score_epoch
from pipeline.training.spec import TrainingSpec
from pipeline.training.state import Row, State
from pipeline.training.steps import divide_batch, take_step
from pipeline.training.targets import make_targets
from pipeline.training.team import Team


def train_epoch(spec: TrainingSpec, state: State, device: Device, feed: Feed, team: Team) -> Row:
    """One pass over the training part; the row of its figures, the same bits in every process.

    Raises:
        torch.OutOfMemoryError: the device's memory does not hold a part of a batch; the state is spoilt.
    """
    recipe, epoch, part = spec.recipe, len(state.history) + 1, feed.train
    torch.manual_seed(seed_for(spec.seed, "dropout", epoch))
    balanced = recipe.loss.class_weights == "balanced"
    class_weights = weigh_classes(part.labels) if balanced else None
    batches = draw_batches(recipe, part, seed=spec.seed, epoch=epoch)
    totals = torch.zeros(2, dtype=torch.float64, device=device.name)
    rate = 0.0
    state.model.train()
    for index, batch in enumerate(batches):
        step = (epoch - 1) * len(batches) + index
        rate = find_rate(recipe, step, len(batches), state.history)
        set_rate(state.optimiser, rate)
        own = [piece.rows for piece in divide_batch(state, len(batch), team)]
        inputs = feed.take(batch, np.concatenate(own), epoch)
        targets = make_targets(part, batch, device.name, feed.find_boxes(batch, epoch))
        loss, hits = take_step(state, device, recipe, inputs, targets, class_weights, team)
        if state.average:
            state.average.update(state.model, step)
        totals += torch.stack([loss.double() * len(batch), hits.double()])
    loss_sum, hit_sum = team.add_up(totals).tolist()
    stage = {"stage": state.stage} if recipe.stages else {}
    return {
        "epoch": epoch,
        **stage,
        "train_loss": loss_sum / len(part),
        "train_accuracy": hit_sum / len(part),
        "lr": rate,
    }


def validate(spec: TrainingSpec, state: State, device: Device, feed: Feed, team: Team) -> Row:
    """The figures on val; each process answers its share, and all get the same figures."""
    size = max(1, BATCH_SIZE // state.parts)
    probabilities = feed.answer(state.judged.eval(), team, batch_size=size)
    scores = score_epoch(probabilities, feed.val.labels.cpu().numpy())
    return {f"val_{name}": value for name, value in scores.items()}


def check_finite(spec: TrainingSpec, row: Row) -> None:
    """Refuse to go on where the loss is no number.

    Raises:
        DivergedError: says what to try.
    """
    if all(math.isfinite(row[name]) for name in ("train_loss", "val_loss")):
        return
    raise DivergedError(
        f"the loss of recipe {spec.recipe.name!r} is no longer a number in epoch {row['epoch']:.0f} "
        f"(train {row['train_loss']}, val {row['val_loss']}, learning rate {row['lr']:.3g}). Try a tenth of "
        f"optimiser.lr ({spec.recipe.optimiser.lr:.3g}), or schedule.warmup_epochs: 1"
    )
