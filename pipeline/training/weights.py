"""Pretrained weights: found before any work, checked for fit, never quietly replaced by random ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError

BACKBONE = "backbone."


@dataclass(frozen=True)
class Taken:
    """What a network took from a file.

    Args:
        path: the file.
        taken: names of the network's tensors that the file gave.
        fresh: names of those that stay as they were drawn.
        unused: names of the file's tensors that the network has no place for.
    """

    path: str
    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """One line for a person."""
        random = f"random: {_head(list(self.fresh))}" if self.fresh else "none is random"
        unused = f"; not used: {_head(list(self.unused))}" if self.unused else ""
        total = len(self.taken) + len(self.fresh)
        return f"{len(self.taken)} of {total} tensors from {self.path}; {random}{unused}"


def is_path(weights: str) -> bool:
    """Whether `weights` names a file, and not `none` or `imagenet`."""
    return weights not in {"none", "imagenet"}


def check_weights(model: str, weights: str) -> None:
    """Refuse what cannot work before anything is decoded or built.

    Raises:
        WeightsError: the file is missing or no safetensors file, or `imagenet` is asked of a network of ours.
    """
    if weights == "imagenet" and not model.startswith("timm:"):
        raise WeightsError(
            f"model.weights: imagenet needs a model named timm:<name>, found {model!r}; "
            "nobody has published ImageNet weights for it. Set model.weights: none."
        )
    if is_path(weights) and not Path(weights).is_file():
        raise WeightsError(
            f"model.weights: there is no file {weights!r} (looked in {Path.cwd()}); "
            "give none, imagenet, or the path of a safetensors file"
        )
    if is_path(weights):
        read_weights(weights)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        WeightsError: the file is not a whole safetensors file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as a safetensors file: {error}; write it again or name another file"
        ) from error


def load_file_into(network: nn.Module, path: str | Path) -> None:
    """Load a safetensors file that holds exactly the network's tensors.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape.
    """
    stored, own = read_weights(path), network.state_dict()
    mistakes = [*_compare(stored, own).values(), *(f"unknown {name}" for name in stored if name not in own)]
    if mistakes:
        raise WeightsError(f"{path} does not fit the model, {len(mistakes)} differences: {_head(mistakes)}")
    network.load_state_dict(stored)


def transfer(network: nn.Module, path: str) -> Taken:
    """Start a network from the weights of another training: the features whole, of the head what fits.

    A layer of the head is taken where the file has all its tensors in the same shapes, else it stays
    random. A file in timm's own names fills the backbone alone; its stem is summed over RGB for grey input
    and its classifier is left out, as timm does.

    Returns:
        Which tensors were taken, and which were not.

    Raises:
        WeightsError: a tensor of the backbone is missing or does not fit.
    """
    stored, own = read_weights(path), network.state_dict()
    if not any(name.startswith(BACKBONE) for name in stored):
        _fill_backbone(network, path, stored)
        taken = {name for name in own if name.startswith(BACKBONE)}
        spare = stored.keys() - {name.removeprefix(BACKBONE) for name in taken}
    else:
        misfits = _compare(stored, own)
        broken = [mistake for name, mistake in misfits.items() if name.startswith(BACKBONE)]
        if broken:
            raise WeightsError(
                f"{path} does not fit the model, {len(broken)} of its features differ: {_head(broken)}"
            )
        layers = {_layer_of(name) for name in misfits}
        taken = {name for name in own if _layer_of(name) not in layers}
        spare = stored.keys() - taken
        network.load_state_dict({name: stored[name] for name in taken}, strict=False)
    fresh = tuple(name for name in own if name not in taken)
    return Taken(path, tuple(name for name in own if name in taken), fresh, tuple(sorted(spare)))


def _compare(stored: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, str]:
    """What is wrong with each tensor of `own` that `stored` cannot fill."""
    return {
        name: f"missing {name}"
        if name not in stored
        else f"{name} is {tuple(stored[name].shape)}, the model needs {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name not in stored or stored[name].shape != tensor.shape
    }


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0]


def _fill_backbone(network: nn.Module, path: str, stored: dict[str, torch.Tensor]) -> None:
    backbone: Any = network.backbone
    missing = [name for name in backbone.state_dict() if name not in stored]
    if missing:
        raise WeightsError(f"{path} does not fit the model; missing from the file: {_head(missing)}")
    if not hasattr(backbone, "pretrained_cfg"):
        raise WeightsError(f"{path} holds no weights that Falx wrote, and the model is no network of timm")
    from timm.models import load_pretrained

    config = {**backbone.pretrained_cfg, "file": str(path)}
    channels = _count_channels(backbone)
    try:
        load_pretrained(backbone, config, num_classes=0, in_chans=channels)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the model: {error}") from error


def _count_channels(backbone: nn.Module) -> int:
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    return first.in_channels


def _head(items: list[str], limit: int = 3) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(items[:limit]) + more
