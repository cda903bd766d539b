"""Optimisers and learning rates; a rate is a function of step and history, so no schedule has a state."""

import math

import torch
from torch import nn

from pipeline.recipe import OptimiserSpec, Recipe, ScheduleSpec
from pipeline.training.progress import History, find_stage, turn_figure


def make_optimiser(model: nn.Module, spec: OptimiserSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that train; weight decay is on all of them.

    `adam` adds the decay to the gradient (L2), `adamw` takes it off the weights (arXiv 1711.05101),
    `sgd` uses Nesterov momentum. All parameters at once (`foreach`): the same bits in a quarter less time on
    a CPU.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if spec.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=spec.lr,
            momentum=spec.momentum,
            nesterov=spec.momentum > 0,
            weight_decay=spec.weight_decay,
            foreach=True,
        )
    kind = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=spec.lr, weight_decay=spec.weight_decay, foreach=True)


def find_rate(recipe: Recipe, step: int, steps: int, history: History) -> float:
    """Learning rate of one step.

    Warm-up rises linearly and reaches the peak at its last step; `cosine` and `linear` then fall to 0 at the
    end of the epochs; `plateau` depends on the finished epochs alone. Each stage has a peak of its own, and
    counts its steps and epochs from its beginning.

    Args:
        step: counted from 0 over the whole training.
        steps: steps in an epoch.
        history: the rows of the finished epochs; the training is not over after them.
    """
    stage = find_stage(recipe, history)
    assert stage is not None
    spec, peak = recipe.schedule, recipe.optimiser.lr * stage.spec.lr_factor
    if spec.name == "plateau":
        rows = history[stage.first :]
        return peak * spec.factor ** count_reductions(spec, recipe.stopping.monitor, rows)
    step -= stage.first * steps
    warmup = round(spec.warmup_epochs * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, stage.spec.epochs * steps - warmup)
    if spec.name == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak * (1 - done) if spec.name == "linear" else peak


def count_reductions(spec: ScheduleSpec, monitor: str, history: History) -> int:
    """How often `plateau` has cut the rate: each time `patience` epochs in a row brought no gain.

    The rule is Keras's ReduceLROnPlateau: the count starts anew after a cut.
    """
    best, waited, cuts = -math.inf, 0, 0
    for row in history:
        figure = turn_figure(row, monitor)
        best, waited = (figure, 0) if figure > best else (best, waited + 1)
        if waited and waited >= spec.patience:
            cuts, waited = cuts + 1, 0
    return cuts


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group one learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
