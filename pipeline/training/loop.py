"""The training loop: epochs from the last finished one to the end, each a function of what is on disk.

Order, augmentation and dropout are drawn from (seed, epoch), rates and stopping follow from step and
history: a training that was interrupted and resumed ends in the same bytes as one that was not. Where a batch
does not fit the device's memory, training goes back to the last finished epoch and computes it in parts.
"""

import time
from pathlib import Path

import numpy as np
import torch

from pipeline.digests import seed_for
from pipeline.errors import MemoryShortError
from pipeline.training.batches import Part, load_parts
from pipeline.training.checkpoints import read_checkpoint, read_result, write_history, write_result
from pipeline.training.devices import Device, choose_device
from pipeline.training.epochs import check_finite, train_epoch, validate
from pipeline.training.events import start_events
from pipeline.training.feeds import Feed, explain_features, make_feed
from pipeline.training.graphs import trace_graph
from pipeline.training.models import build_model, count_parameters
from pipeline.training.pretraining import check_views, describe_pretraining, make_views, pretrain_epoch
from pipeline.training.progress import comment_epoch, find_kept, find_stage, find_stop
from pipeline.training.sharing import share_layers
from pipeline.training.spec import Reporter, SilentReporter, TrainingResult, TrainingSpec, digest_identity
from pipeline.training.state import State, enter_stage, explaining, restore_state, save_state, start_state
from pipeline.training.steps import describe_parts, split_further
from pipeline.training.team import Team, check_shares

__all__ = ["Reporter", "SilentReporter", "train"]


def train(
    spec: TrainingSpec, reporter: Reporter, team: Team | None = None, *, parts: int = 1
) -> TrainingResult:
    """Train a recipe, from the start or from the last finished epoch; a complete training is only read.

    Writes into `spec.work` (see `pipeline.training.checkpoints`), every file whole or not at all. On one
    machine, one number of threads and one of processes the weights are bitwise repeatable, however often it
    was interrupted. Sets torch's threads and seeds torch's global generator.

    Args:
        team: the processes that train together, each of which calls this; the first writes. None = alone.
        parts: into how many parts a batch goes at least; a checkpoint may ask for more.

    Raises:
        TrainingError: the device, the network or the data cannot be trained with; says what to do.
        MemoryShortError: a process of a team ran out of memory; to be started again in more parts.
        WeightsError: pretrained weights are missing or do not fit.
        CheckpointError: the work folder holds another training.
        DivergedError: the loss is no longer a number.
    """
    work, team = Path(spec.work), team or Team()
    finished = read_result(work, spec)
    if finished:
        return finished
    state, device, why = _begin(spec, team, parts=parts)
    train_part, val_part = load_parts(spec)
    check_shares(spec.recipe, len(train_part), team)
    held = train_part.to(device.name), val_part.to(device.name)
    graph, trouble = trace_graph(state.model, spec.recipe)
    why |= {"graph": trouble} if trouble else {}
    if team.leads:
        with explaining(work, state, "the first file"):
            start_events(work, state.history, graph)
            write_history(work, state.history)
    reporter.started(_describe(spec, state, device, held, why))
    if state.history:
        reporter.epoch(len(state.history), state.history[-1], "resumed after this epoch")
    while not (
        _pretrain(spec, state, device, held, reporter, team)
        and _train_epochs(spec, state, device, held, reporter, team)
    ):
        smaller = split_further(spec.recipe, state.parts, team.size)
        if team.size > 1:
            # The others wait for this one in the middle of a step: nobody can go on.
            raise MemoryShortError(describe_parts(spec.recipe, smaller, team.size))
        del state  # its memory is needed for what takes its place
        torch.cuda.empty_cache()
        state, device, begun = _begin(spec, team, parts=smaller)
        why["memory"] = begun["memory"]
        reporter.started({"memory": why["memory"], "resume": begun["resume"]})
    if state.pretraining:
        why["pretraining"] = describe_pretraining(spec.recipe, state.pretraining)
    why["stopping"] = find_stop(spec.recipe, state.history)
    result = _conclude(spec, state, device, held, why)
    if team.leads:
        with explaining(work, state, "the result"):
            write_result(work, result)
    return result


def _begin(spec: TrainingSpec, team: Team, *, parts: int = 1) -> tuple[State, Device, dict[str, str]]:
    """The state after the last finished epoch, or before the first, and the reason of each choice."""
    checkpoint = read_checkpoint(Path(spec.work), spec)
    torch.manual_seed(seed_for(spec.seed, "weights"))
    # A checkpoint holds all weights: the file that training began from may be gone by now.
    model = build_model(spec.recipe, weights="none" if checkpoint else None, folder=spec.weights)
    device = choose_device(team.place(spec.device), model, threads=spec.threads)
    state = start_state(spec, model, device)
    why = dict(device.why)
    why |= {"processes": team.describe()} if team.size > 1 else {}
    why["resume"] = restore_state(state, spec.recipe, checkpoint, device, team)
    why["weights"] = model.origin
    state.parts = max(state.parts, parts)
    if state.parts > 1:
        why["memory"] = describe_parts(spec.recipe, state.parts, team.size)
    for network in state.modules:
        team.follow(list(network.state_dict().values()))
        share_layers(network, team)
    stage = find_stage(spec.recipe, state.history)
    if stage and (reason := explain_features(spec.recipe, state.model, stage)):
        why["features"] = reason
    return state, device, why


def _pretrain(
    spec: TrainingSpec, state: State, device: Device, held: tuple[Part, Part], reporter: Reporter, team: Team
) -> bool:
    """Pre-train to the end, where a recipe does; false where the device's memory was too small."""
    recipe, wanted = spec.recipe, spec.recipe.pretraining
    if wanted is None or state.history:
        return True
    feed = make_views(spec, device, held)
    while len(state.pretraining) < wanted.epochs:
        begun = time.monotonic()
        try:
            row = pretrain_epoch(spec, state, device, feed, team)
        except torch.OutOfMemoryError:
            return False
        check_views(spec, row)
        seconds = time.monotonic() - begun
        state.pretraining.append(row | {"seconds": seconds})
        state.seconds += seconds
        if team.leads:
            save_state(Path(spec.work), spec, state, device, team, kept=False)
        reporter.started({"pretraining": describe_pretraining(recipe, state.pretraining)})
    return True


def _train_epochs(
    spec: TrainingSpec, state: State, device: Device, held: tuple[Part, Part], reporter: Reporter, team: Team
) -> bool:
    """Train to the end; false where the device's memory was too small, and the state is spoilt."""
    recipe = spec.recipe
    feeds: dict[int, Feed] = {}
    while stage := find_stage(recipe, state.history):
        enter_stage(state, recipe, stage)
        epoch, begun = len(state.history) + 1, time.monotonic()
        try:
            if stage.number not in feeds:
                feeds = {stage.number: make_feed(spec, state, device, held, stage, team)}
            row = train_epoch(spec, state, device, feeds[stage.number], team)
            trained = time.monotonic() - begun
            row |= validate(spec, state, device, feeds[stage.number], team)
        except torch.OutOfMemoryError:
            return False
        check_finite(spec, row)
        state.history.append(row)
        state.seconds += time.monotonic() - begun
        if team.leads:
            kept = find_kept(recipe, state.history) == epoch - 1
            save_state(Path(spec.work), spec, state, device, team, kept=kept)
        spent = state.seconds - sum(before["seconds"] for before in state.pretraining)
        left = (recipe.stopping.epochs - epoch) * spent / epoch
        rates = {"images_per_second": len(held[0]) / trained, "seconds_left": left}
        reporter.epoch(epoch, row | rates, comment_epoch(recipe, state.history))
    return True


def _describe(
    spec: TrainingSpec, state: State, device: Device, parts: tuple[Part, Part], why: dict[str, str]
) -> dict[str, str]:
    total, trains = count_parameters(state.model)
    sizes = {"train images": f"{len(parts[0]):,}", "val images": f"{len(parts[1]):,}"}
    names = {"recipe": spec.recipe.name, "protocol": spec.protocol, "seed": str(spec.seed)}
    if parts[0].boxes is not None:
        known = int((~np.isnan(parts[0].boxes[:, 0])).sum())
        learner = "a second head learns them, no part of the model"
        if state.locator is None:
            learner = "the network learns to attend to them"
        sizes["boxes"] = f"known in {known:,} training images; {learner}"
    return names | sizes | {"parameters": f"{total:,}, of which {trains:,} train"} | why


def _conclude(
    spec: TrainingSpec, state: State, device: Device, parts: tuple[Part, Part], why: dict[str, str]
) -> TrainingResult:
    kept = find_kept(spec.recipe, state.history)
    row, monitor = state.history[kept], spec.recipe.stopping.monitor
    total, trains = count_parameters(state.model)
    return TrainingResult(
        model_id=spec.model_id,
        recipe=spec.recipe.name,
        protocol=spec.protocol,
        seed=spec.seed,
        identity=digest_identity(spec),
        best_epoch=kept + 1,
        epochs=len(state.history),
        monitor=monitor,
        monitor_value=row[monitor],
        val={name: row[f"val_{name}"] for name in ("loss", "accuracy", "macro_f1")},
        parameters=total,
        trainable_parameters=trains,
        n_train=len(parts[0]),
        n_val=len(parts[1]),
        device=device.name,
        precision=device.precision,
        why=why,
        seconds=state.seconds,
    )
