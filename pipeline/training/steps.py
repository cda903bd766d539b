"""One training step: whole, or in parts where the device's memory does not hold the batch."""

import torch

from pipeline.errors import TrainingError
from pipeline.recipe import Recipe
from pipeline.training.devices import Device
from pipeline.training.inputs import normalise
from pipeline.training.locating import answer_both
from pipeline.training.state import State
from pipeline.training.targets import Targets, measure_loss, sum_place_losses
from pipeline.training.team import Piece, Team

# Batch norm cannot be trained on a single image.
SMALLEST_PART = 2


def divide_batch(state: State, count: int, team: Team) -> list[Piece]:
    """What this process computes of a batch of `count` images, part by part."""
    return team.divide(count, max(1, min(state.parts, count // max(SMALLEST_PART, team.size))))


def take_step(
    state: State,
    device: Device,
    recipe: Recipe,
    inputs: torch.Tensor,
    targets: Targets,
    class_weights: torch.Tensor | None,
    team: Team | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, backward and one step of the optimiser, for one batch.

    With `state.parts` above 1 the batch is computed part by part and the gradients are added up: the same
    gradient up to rounding, except that batch norm sees the parts. A team shares out each part, and batch
    norm sees all of it.

    Args:
        inputs: the images that `divide_batch` gives this process, float32 [n, 1, h, w] in [0, 1]; or their
            features [n, f], where the backbone is frozen; on the device.
        targets: of the whole batch, on the device.
        class_weights: float32 [classes], or none.
        team: the processes that compute the batch together; none = this one alone.

    Returns:
        This process's share of the mean loss, boxes included, and of the number of right answers, both on the
        device.

    Raises:
        torch.OutOfMemoryError: the device's memory does not hold a part.
    """
    team = team or Team()
    state.optimiser.zero_grad(set_to_none=True)
    pieces = divide_batch(state, len(targets), team)
    whole, seen = targets.weigh(class_weights), targets.count_boxes()
    losses = []
    hits = torch.zeros((), dtype=torch.int64, device=inputs.device)
    for some, piece in zip(torch.split(inputs, [len(piece.rows) for piece in pieces]), pieces, strict=True):
        theirs, team.piece = targets.pick(torch.from_numpy(piece.rows).to(inputs.device)), piece
        logits, places = _answer(state, device, recipe, some)
        loss = measure_loss(logits.float(), theirs, recipe.loss, class_weights)
        if len(pieces) > 1 or team.size > 1:
            loss = loss * (theirs.weigh(class_weights) / whole)
        if places is not None:
            loss = loss + recipe.loss.box * sum_place_losses(places, theirs) / seen
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        hits += theirs.count_hits(logits)
    team.add_up_gradients(list(state.trained.parameters()))
    state.optimiser.step()
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum(), hits


def _answer(
    state: State, device: Device, recipe: Recipe, inputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits of images, or of features that stand for them; and where the tumour is, where that is learnt."""
    if inputs.ndim == 2:
        with device.autocast():
            return state.model.head(inputs), None
    inputs = normalise(inputs, recipe).contiguous(memory_format=torch.channels_last)
    with device.autocast():
        if recipe.loss.box:
            return answer_both(state.model, state.locator, inputs)
        return state.model(inputs), None


def split_further(recipe: Recipe, parts: int, processes: int = 1) -> int:
    """Into how many parts a batch goes that did not fit in `parts`, each shared by so many processes.

    Raises:
        TrainingError: the parts are as small as they can be.
    """
    if recipe.batch_size // (2 * parts) < max(SMALLEST_PART, processes):
        held = _size(recipe, parts * processes)
        raise TrainingError(
            f"recipe {recipe.name!r} does not fit the device's memory, not even {held} images of "
            f"{recipe.input.size} pixels at a time; end what else runs there, set FALX_DEVICE=cpu, or copy "
            "the recipe with a smaller input.size"
        )
    return 2 * parts


def describe_parts(recipe: Recipe, parts: int, processes: int = 1) -> str:
    """What a batch that is computed in parts means, for a person."""
    return (
        f"out of memory with batches of {recipe.batch_size}: each is now computed in {parts} parts of at "
        f"most {_size(recipe, parts * processes)} images, their gradients added up; batch norm sees the parts"
    )


def _size(recipe: Recipe, parts: int) -> int:
    return -(-recipe.batch_size // parts)
