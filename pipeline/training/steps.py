"""One training step, whole or in parts where the device's memory does not hold the batch."""

import torch
from torch.nn import functional as F

from pipeline.errors import TrainingError
from pipeline.recipe import Recipe
from pipeline.training.devices import Device
from pipeline.training.inputs import normalise
from pipeline.training.state import State

# Batch norm cannot be trained on a single image.
SMALLEST_PART = 2


def take_step(
    state: State,
    device: Device,
    recipe: Recipe,
    images: torch.Tensor,
    labels: torch.Tensor,
    class_weights: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, backward and one step of the optimiser, for one batch.

    With `state.parts` above 1 the batch is computed part by part and the gradients are added up: the same
    gradient up to rounding, except that batch norm sees the parts.

    Args:
        images: float32 [n, 1, h, w] in [0, 1], on the device.
        labels: int64 [n], on the device.
        class_weights: float32 [classes], or none.

    Returns:
        The mean loss and the number of right answers, both on the device.

    Raises:
        torch.OutOfMemoryError: the device's memory does not hold a part.
    """
    state.optimiser.zero_grad(set_to_none=True)
    count = max(1, min(state.parts, len(labels) // SMALLEST_PART))
    parts = [*zip(images.tensor_split(count), labels.tensor_split(count), strict=True)]
    whole = _weigh(labels, class_weights)
    losses = []
    hits = torch.zeros((), dtype=torch.int64, device=labels.device)
    for some, theirs in parts:
        prepared = normalise(some, recipe).contiguous(memory_format=torch.channels_last)
        with device.autocast():
            logits = state.model(prepared)
        loss = F.cross_entropy(
            logits.float(), theirs, weight=class_weights, label_smoothing=recipe.loss.label_smoothing
        )
        if len(parts) > 1:
            loss = loss * (_weigh(theirs, class_weights) / whole)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        hits += (logits.argmax(dim=1) == theirs).sum()
    state.optimiser.step()
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum(), hits


def split_further(recipe: Recipe, parts: int) -> int:
    """Into how many parts a batch goes that did not fit in `parts`.

    Raises:
        TrainingError: the parts are as small as they can be.
    """
    if recipe.batch_size // (2 * parts) < SMALLEST_PART:
        raise TrainingError(
            f"recipe {recipe.name!r} does not fit the device's memory, not even {_size(recipe, parts)} "
            f"images of {recipe.input.size} pixels at a time; end what else runs there, set FALX_DEVICE=cpu, "
            "or copy the recipe with a smaller input.size"
        )
    return 2 * parts


def describe_parts(recipe: Recipe, parts: int) -> str:
    """What a batch that is computed in parts means, for a person."""
    return (
        f"out of memory with batches of {recipe.batch_size}: each is now computed in {parts} parts of at "
        f"most {_size(recipe, parts)} images, their gradients added up; batch norm sees the parts"
    )


def _size(recipe: Recipe, parts: int) -> int:
    return -(-recipe.batch_size // parts)


def _weigh(labels: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor | int:
    """What torch divides a mean loss by."""
    return len(labels) if class_weights is None else class_weights[labels].sum()
