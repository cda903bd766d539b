"""Pretrained weights: found before any work, checked for fit, never quietly replaced by random ones."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError


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
    mistakes = [f"missing {name}" for name in own if name not in stored]
    mistakes += [f"unknown {name}" for name in stored if name not in own]
    mistakes += [
        f"{name} is {tuple(stored[name].shape)}, the model needs {tuple(own[name].shape)}"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    if mistakes:
        raise WeightsError(f"{path} does not fit the model, {len(mistakes)} differences: {_head(mistakes)}")
    network.load_state_dict(stored)


def load_timm_file(network: nn.Module, path: str) -> None:
    """Load a file into a timm network: either one that Falx wrote, or one in timm's own names.

    A file in timm's names fills the backbone alone; its stem is summed over RGB for grey input and its
    classifier is left out, as timm does.

    Raises:
        WeightsError: a tensor of the backbone is missing or does not fit.
    """
    stored = read_weights(path)
    if any(name.startswith("backbone.") for name in stored):
        load_file_into(network, path)
        return
    backbone: Any = network.backbone
    missing = [name for name in backbone.state_dict() if name not in stored]
    if missing:
        raise WeightsError(f"{path} does not fit the model; missing from the file: {_head(missing)}")
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
