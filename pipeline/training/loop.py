"""The training loop: epochs from the last finished one to the end, each a function of what is on disk.

Order, augmentation and dropout are drawn from (seed, epoch), rates and stopping follow from step and
history: a training that was interrupted and resumed ends in the same bytes as one that was not. Where a batch
does not fit the device's memory, training goes back to the last finished epoch and computes it in parts.
"""

import math
import time
from pathlib import Path

import torch

from pipeline.digests import seed_for
from pipeline.errors import DivergedError
from pipeline.imaging.augment import Augmenter
from pipeline.training.batches import Part, load_parts, order_batches, weigh_classes
from pipeline.training.checkpoints import read_checkpoint, read_result, write_history, write_result
from pipeline.training.devices import Device, choose_device
from pipeline.training.events import start_events
from pipeline.training.graphs import trace_graph
from pipeline.training.inference import BATCH_SIZE, predict
from pipeline.training.models import build_model, count_parameters
from pipeline.training.optimisers import find_rate, set_rate
from pipeline.training.progress import comment_epoch, find_kept, find_stage, find_stop
from pipeline.training.scores import score_epoch
from pipeline.training.spec import Reporter, SilentReporter, TrainingResult, TrainingSpec, digest_identity
from pipeline.training.state import (
    Row,
    State,
    enter_stage,
    explaining,
    restore_state,
    save_state,
    start_state,
)
from pipeline.training.steps import describe_parts, split_further, take_step

__all__ = ["Reporter", "SilentReporter", "train"]


def train(spec: TrainingSpec, reporter: Reporter) -> TrainingResult:
    """Train a recipe, from the start or from the last finished epoch; a complete training is only read.

    Writes into `spec.work` (see `pipeline.training.checkpoints`), every file whole or not at all. On one
    machine and one number of threads the weights are bitwise repeatable, however often it was interrupted.
    Sets torch's threads and seeds torch's global generator.

    Raises:
        TrainingError: the device, the network or the data cannot be trained with; says what to do.
        WeightsError: pretrained weights are missing or do not fit.
        CheckpointError: the work folder holds another training.
        DivergedError: the loss is no longer a number.
    """
    work = Path(spec.work)
    finished = read_result(work, spec)
    if finished:
        return finished
    state, device, why = _begin(spec)
    train_part, val_part = load_parts(spec)
    parts = train_part.to(device.name), val_part.to(device.name)
    graph, trouble = trace_graph(state.model, spec.recipe)
    why |= {"graph": trouble} if trouble else {}
    with explaining(work, state, "the first file"):
        start_events(work, state.history, graph)
        write_history(work, state.history)
    reporter.started(_describe(spec, state, device, parts, why))
    if state.history:
        reporter.epoch(len(state.history), state.history[-1], "resumed after this epoch")
    while not _train_epochs(spec, state, device, parts, reporter):
        smaller = split_further(spec.recipe, state.parts)
        del state  # its memory is needed for what takes its place
        torch.cuda.empty_cache()
        state, device, begun = _begin(spec, parts=smaller)
        why["memory"] = begun["memory"]
        reporter.started({"memory": why["memory"], "resume": begun["resume"]})
    why["stopping"] = find_stop(spec.recipe, state.history)
    result = _conclude(spec, state, device, parts, why)
    with explaining(work, state, "the result"):
        write_result(work, result)
    return result


def _begin(spec: TrainingSpec, *, parts: int = 1) -> tuple[State, Device, dict[str, str]]:
    """The state after the last finished epoch, or before the first, and the reason of each choice.

    Args:
        parts: into how many parts a batch goes at least; a checkpoint may ask for more.
    """
    checkpoint = read_checkpoint(Path(spec.work), spec)
    torch.manual_seed(seed_for(spec.seed, "weights"))
    # A checkpoint holds all weights: the file that training began from may be gone by now.
    model = build_model(spec.recipe, weights="none" if checkpoint else None, folder=spec.weights)
    device = choose_device(spec.device, model, threads=spec.threads)
    state = start_state(spec, model, device)
    why = dict(device.why)
    why["resume"] = restore_state(state, spec.recipe, checkpoint, device)
    why["weights"] = model.origin
    state.parts = max(state.parts, parts)
    if state.parts > 1:
        why["memory"] = describe_parts(spec.recipe, state.parts)
    return state, device, why


def _train_epochs(
    spec: TrainingSpec, state: State, device: Device, parts: tuple[Part, Part], reporter: Reporter
) -> bool:
    """Train to the end; false where the device's memory was too small, and the state is spoilt."""
    recipe = spec.recipe
    augmenter = Augmenter(recipe.augment, spec.degradations, seed=spec.seed, threads=spec.threads)
    while stage := find_stage(recipe, state.history):
        enter_stage(state, recipe, stage)
        epoch, begun = len(state.history) + 1, time.monotonic()
        try:
            row = _train_epoch(spec, state, device, parts[0], augmenter)
            trained = time.monotonic() - begun
            row |= _validate(spec, state, device, parts[1])
        except torch.OutOfMemoryError:
            return False
        _check_finite(spec, row)
        state.history.append(row)
        state.seconds += time.monotonic() - begun
        kept = find_kept(recipe, state.history) == epoch - 1
        save_state(Path(spec.work), spec, state, device, kept=kept)
        left = (recipe.stopping.epochs - epoch) * state.seconds / epoch
        rates = {"images_per_second": len(parts[0]) / trained, "seconds_left": left}
        reporter.epoch(epoch, row | rates, comment_epoch(recipe, state.history))
    return True


def _train_epoch(spec: TrainingSpec, state: State, device: Device, part: Part, augmenter: Augmenter) -> Row:
    recipe, epoch = spec.recipe, len(state.history) + 1
    torch.manual_seed(seed_for(spec.seed, "dropout", epoch))
    balanced = recipe.loss.class_weights == "balanced"
    class_weights = weigh_classes(part.labels) if balanced else None
    batches = list(order_batches(len(part), recipe.batch_size, seed=spec.seed, epoch=epoch))
    totals = torch.zeros(2, dtype=torch.float64, device=device.name)
    rate = 0.0
    state.model.train()
    for index, batch in enumerate(batches):
        step = (epoch - 1) * len(batches) + index
        rate = find_rate(recipe, step, len(batches), state.history)
        set_rate(state.optimiser, rate)
        ids = [part.image_ids[row] for row in batch]
        rows = torch.from_numpy(batch).to(device.name)
        images, labels = augmenter(part.images[rows], ids, epoch), part.labels[rows]
        loss, hits = take_step(state, device, recipe, images, labels, class_weights)
        if state.average:
            state.average.update(state.model, step)
        totals += torch.stack([loss.double() * len(batch), hits.double()])
    loss_sum, hit_sum = totals.tolist()
    stage = {"stage": state.stage} if recipe.stages else {}
    return {
        "epoch": epoch,
        **stage,
        "train_loss": loss_sum / len(part),
        "train_accuracy": hit_sum / len(part),
        "lr": rate,
    }


def _validate(spec: TrainingSpec, state: State, device: Device, part: Part) -> Row:
    model = state.judged.eval()
    size = max(1, BATCH_SIZE // state.parts)
    probabilities = predict(model, part.images, spec.recipe, device=device.name, batch_size=size)
    scores = score_epoch(probabilities, part.labels.cpu().numpy())
    return {f"val_{name}": value for name, value in scores.items()}


def _check_finite(spec: TrainingSpec, row: Row) -> None:
    if all(math.isfinite(row[name]) for name in ("train_loss", "val_loss")):
        return
    raise DivergedError(
        f"the loss of recipe {spec.recipe.name!r} is no longer a number in epoch {row['epoch']:.0f} "
        f"(train {row['train_loss']}, val {row['val_loss']}, learning rate {row['lr']:.3g}). Try a tenth of "
        f"optimiser.lr ({spec.recipe.optimiser.lr:.3g}), or schedule.warmup_epochs: 1"
    )


def _describe(
    spec: TrainingSpec, state: State, device: Device, parts: tuple[Part, Part], why: dict[str, str]
) -> dict[str, str]:
    total, trains = count_parameters(state.model)
    sizes = {"train images": f"{len(parts[0]):,}", "val images": f"{len(parts[1]):,}"}
    names = {"recipe": spec.recipe.name, "protocol": spec.protocol, "seed": str(spec.seed)}
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
