"""All that changes while training, and its way to disk and back."""

import contextlib
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from pipeline.errors import TrainingError
from pipeline.recipe import Recipe
from pipeline.training.averaging import MovingAverage
from pipeline.training.checkpoints import write_best, write_checkpoint, write_history
from pipeline.training.devices import Device
from pipeline.training.events import add_event
from pipeline.training.locating import Locator, build_locator
from pipeline.training.models import Network
from pipeline.training.optimisers import make_optimiser
from pipeline.training.progress import Stage, find_stage
from pipeline.training.spec import TrainingSpec
from pipeline.training.team import Team
from pipeline.training.views import Predictor, build_predictor

Row = dict[str, float]


@dataclass
class State:
    """Weights, their average, the optimiser, and the rows of the finished epochs.

    Args:
        stage: number of the stage that the optimiser belongs to, from 1; 0 is pre-training.
        parts: into how many parts each batch goes, so that it fits the device's memory.
        locator: the second head, which learns boxes and is no part of the model; none where none are learnt.
        predictor: the head of pre-training; none where there is no pre-training, or where it is over.
        pretraining: the rows of the finished epochs of pre-training.
    """

    model: Network
    optimiser: torch.optim.Optimizer
    average: MovingAverage | None
    history: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    stage: int = 1
    parts: int = 1
    locator: Locator | None = None
    predictor: Predictor | None = None
    pretraining: list[Row] = field(default_factory=list)

    @property
    def judged(self) -> Network:
        """The weights that are validated and kept: the averaged ones where there are any."""
        return self.average.model if self.average else self.model

    @property
    def trained(self) -> nn.Module:
        """All that the optimiser changes."""
        return _join(self.model, self.locator, self.predictor)

    @property
    def reached(self) -> str:
        """The last finished epoch, for a person."""
        if self.history or not self.pretraining:
            return f"epoch {len(self.history)}"
        return f"epoch {len(self.pretraining)} of pre-training"

    @property
    def modules(self) -> list[nn.Module]:
        """All networks that it holds, each of them once."""
        followers = (self.average.model if self.average else None, self.locator, self.predictor)
        return [self.model, *(one for one in followers if one is not None)]


def start_state(spec: TrainingSpec, model: Network, device: Device) -> State:
    """The state before the first epoch, on the device."""
    model.to(device.name, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(model, spec.recipe.ema) if spec.recipe.ema else None
    locator, predictor = build_locator(spec.recipe, model), build_predictor(spec.recipe, model)
    for head in (locator, predictor):
        if head is not None:
            head.to(device.name)
    optimiser = make_optimiser(_join(model, locator, predictor), spec.recipe.optimiser)
    stage = 1 if predictor is None else 0
    return State(model, optimiser, average, stage=stage, locator=locator, predictor=predictor)


def _join(model: Network, locator: Locator | None, predictor: Predictor | None) -> nn.Module:
    if predictor is not None:
        return nn.ModuleList([model.backbone, predictor])
    return model if locator is None else nn.ModuleList([model, locator])


def enter_stage(state: State, recipe: Recipe, stage: Stage) -> None:
    """Freeze and free layers as a stage says, with a fresh optimiser; nothing where it is entered already."""
    if stage.number == state.stage:
        return
    if state.average and not state.stage:
        state.average.model.load_state_dict(state.model.state_dict())
    state.predictor = None
    state.model.freeze(stage.spec.freeze)
    state.optimiser = make_optimiser(state.trained, recipe.optimiser)
    state.stage = stage.number


def restore_state(
    state: State, recipe: Recipe, checkpoint: Mapping[str, Any] | None, device: Device, team: Team
) -> str:
    """Bring a fresh state to where a checkpoint is; says in words where training goes on."""
    if checkpoint is None:
        return "started from the beginning"
    if checkpoint["history"]:
        trained = find_stage(recipe, checkpoint["history"][:-1])
        assert trained is not None
        enter_stage(state, recipe, trained)
    state.model.load_state_dict(checkpoint["model"])
    state.optimiser.load_state_dict(checkpoint["optimiser"])
    if state.locator is not None:
        state.locator.load_state_dict(checkpoint["locator"])
    if state.average:
        state.average.model.load_state_dict(checkpoint["average"])
    if state.predictor is not None:
        state.predictor.load_state_dict(checkpoint["predictor"])
    state.history, state.seconds = checkpoint["history"], checkpoint["seconds"]
    state.pretraining = checkpoint["pretraining"]
    state.parts, state.model.origin = checkpoint["parts"], checkpoint["origin"]
    then, now = checkpoint["environment"], describe_environment(device, team)
    changes = [f"{name} was {then.get(name)}, is {now[name]}" for name in now if then.get(name) != now[name]]
    warning = f"; last bits may differ from an uninterrupted training: {'; '.join(changes)}"
    return f"resumed after {state.reached}{warning if changes else ''}"


def save_state(
    work: Path, spec: TrainingSpec, state: State, device: Device, team: Team, *, kept: bool
) -> None:
    """Write what the last epoch left, its weights too where they are `kept` as the model.

    The checkpoint comes last: a crash before it repeats the epoch and writes the same bytes again.

    Raises:
        TrainingError: a file cannot be written, for want of room for example.
    """
    stored = {
        "model": state.model.state_dict(),
        "average": state.average.model.state_dict() if state.average else None,
        "optimiser": state.optimiser.state_dict(),
        "history": state.history,
        "pretraining": state.pretraining,
        "seconds": state.seconds,
        "parts": state.parts,
        "origin": state.model.origin,
        "environment": describe_environment(device, team),
    }
    if state.locator is not None:
        stored["locator"] = state.locator.state_dict()
    if state.predictor is not None:
        stored["predictor"] = state.predictor.state_dict()
    with explaining(work, state, state.reached):
        write_history(work, state.history)
        if kept:
            write_best(work, state.judged)
        write_checkpoint(work, spec, stored)
        if state.history:
            add_event(work, state.history[-1])


@contextlib.contextmanager
def explaining(work: Path, state: State, what: str) -> Iterator[None]:
    """For a block that writes into a work folder: what to do where the disk is full or locked.

    Raises:
        TrainingError: the block could not write; the last checkpoint is whole.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch and safetensors wrap what the disk says
        tensors = state.model.state_dict().values()
        # Weights, their average, two moments and the best ones: what an epoch writes at most.
        needed = 5 * sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
        place = next(folder for folder in (work, *work.parents) if folder.exists())
        raise TrainingError(
            f"{what} cannot be written to {work}: {error}. An epoch takes up to {needed:,.1f} MB, "
            f"{shutil.disk_usage(place).free / 1e6:,.1f} MB are free there; make room, or move FALX_HOME to "
            "a larger disk, and run the same command again: it goes on after the last finished epoch"
        ) from error


def describe_environment(device: Device, team: Team) -> dict[str, str]:
    """What bitwise repeatability depends on, beside the spec."""
    return {
        "device": device.name,
        "processes": str(team.size),
        "precision": device.precision,
        "threads": str(device.threads),
        "torch": str(torch.__version__),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
