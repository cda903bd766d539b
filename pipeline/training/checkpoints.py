"""What a training leaves on disk after each epoch, and how it goes on from there.

history.jsonl     one row an epoch: losses, accuracies, macro-F1, learning rate; no wall times
best.safetensors  the weights that become the model
last.pt           everything that the next epoch needs, of pre-training too: tensors and plain state, nothing
                  to unpickle
tensorboard/      event files of the same rows, and the model graph
result.json       written last; its presence means complete
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from pipeline.atomic import replacing_file, write_text
from pipeline.errors import CheckpointError
from pipeline.training.inference import BEST
from pipeline.training.spec import TrainingResult, TrainingSpec, digest_identity

HISTORY, LAST, RESULT = "history.jsonl", "last.pt", "result.json"
FORMAT = 3


def write_history(work: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write all rows anew, whole or not at all."""
    write_text(work / HISTORY, "".join(json.dumps(row) + "\n" for row in history))


def write_best(work: Path, model: nn.Module) -> None:
    """Write the weights; the same weights give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing_file(work / BEST) as temporary:
        save_file(tensors, temporary)


def write_checkpoint(work: Path, spec: TrainingSpec, state: Mapping[str, Any]) -> None:
    """Write `last.pt`: `state` (tensors and plain values), and whose it is."""
    with replacing_file(work / LAST) as temporary:
        torch.save({"format": FORMAT, "identity": spec.describe_identity(), **state}, temporary)


def write_result(work: Path, result: TrainingResult) -> None:
    """Write `result.json`: the training is complete."""
    write_text(work / RESULT, result.model_dump_json(indent=2) + "\n")


def read_checkpoint(work: Path, spec: TrainingSpec) -> dict[str, Any] | None:
    """The state after the last finished epoch, or null where none is.

    Raises:
        CheckpointError: it cannot be read, or belongs to another recipe or other data; names the difference.
    """
    path = work / LAST
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes raise all sorts; torch's own text advises to drop its safety
        raise CheckpointError(
            f"{path} cannot be read as tensors and plain state ({type(error).__name__}). {_start_anew(work)}"
        ) from error
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {state.get('format')}, not {FORMAT}. {_start_anew(work)}")
    differences = _compare(state["identity"], spec.describe_identity())
    if differences:
        raise CheckpointError(
            f"{path} belongs to another training: {'; '.join(differences)}. {_start_anew(work)}"
        )
    return state


def read_result(work: Path, spec: TrainingSpec) -> TrainingResult | None:
    """The result of a complete training, or null where it is not complete.

    Raises:
        CheckpointError: the result cannot be read, belongs to another training, or its weights are gone.
    """
    path = work / RESULT
    if not path.is_file():
        return None
    try:
        result = TrainingResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {_start_anew(work)}") from error
    if result.identity != digest_identity(spec):
        read_checkpoint(work, spec)
        raise CheckpointError(
            f"{path} is the result of another training (model {result.model_id}, recipe {result.recipe!r} "
            f"under {result.protocol!r}, seed {result.seed}). {_start_anew(work)}"
        )
    if not (work / BEST).is_file():
        raise CheckpointError(f"{path} says complete, but {BEST} is gone. {_start_anew(work)}")
    return result


def _compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{field} was {then.get(field)!r} and is {now.get(field)!r}"
        for field in sorted({*then, *now})
        if then.get(field) != now.get(field)
    ]


def _start_anew(work: Path) -> str:
    return f"To train anew delete the folder {work}; to keep both use another work folder."
