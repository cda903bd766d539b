"""Networks of timm, and their ImageNet weights: from a folder, timm's cache, or the Hugging Face hub."""

import contextlib
import difflib
import urllib.error
import urllib.request
from pathlib import Path
from textwrap import shorten
from typing import Any

from pipeline.errors import TrainingError, WeightsError

PROBE_SECONDS = 5.0
HUB_FILE = "model.safetensors"


def find_config(name: str) -> Any:
    """What timm states about a network and its default weights: mean, std, address, licence.

    Raises:
        TrainingError: timm knows no such network, or no such tag of it; names its neighbours.
    """
    import timm

    network = name.split(".", maxsplit=1)[0]
    if not timm.is_model(network):
        near = difflib.get_close_matches(name, timm.list_models(), n=3) or ["resnet18d", "mobilenetv2_100"]
        raise TrainingError(f"model.name: timm knows no {name!r}; near it: {', '.join(near)}")
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        allowed = ", ".join(timm.list_pretrained(f"{network}.*")) or "none"
        raise TrainingError(f"model.name: timm knows no weights {name!r}; allowed: {allowed}") from error


def create_timm(name: str, channels: int, *, file: str = "") -> Any:
    """A timm network without classifier, its weights random or those of a file in timm's own names.

    Raises:
        TrainingError: timm knows no such network.
        WeightsError: the file does not hold this network's weights.
    """
    import timm

    find_config(name)
    if not file:
        return timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels)
    overlay = {"file": file}
    try:
        # With its classifier, since without one timm would take a file that lacks tensors and say nothing.
        model: Any = timm.create_model(
            name, pretrained=True, in_chans=channels, pretrained_cfg_overlay=overlay
        )
    except Exception as error:  # broken bytes and wrong tensors raise all sorts
        raise WeightsError(
            f"{file} does not hold the weights of {name!r} in timm's names, classifier included: "
            f"{shorten(str(error), 200)}. Remove it, or put the right file in its place"
        ) from error
    model.reset_classifier(0)
    return model


def find_local_file(name: str, *, folder: str = "") -> str:
    """Path of the default weights of a timm network that are on this machine already; empty where none are.

    Args:
        folder: looked in first, for `<name>.safetensors`; empty = none.
    """
    config = find_config(name)
    own = Path(folder) / f"{name}.safetensors"
    if folder and own.is_file():
        return str(own)
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(config.hf_hub_id, HUB_FILE)
        return found if isinstance(found, str) else ""
    from timm.models._hub import get_cache_dir

    cached = Path(get_cache_dir()) / Path(str(config.url)).name
    return str(cached) if config.url and cached.is_file() else ""


def find_imagenet_file(name: str, *, folder: str = "", endpoint: str | None = None) -> str:
    """Path of the default weights of a timm network: in a folder, in the local cache, or from the hub.

    Args:
        folder: looked in first, for `<name>.safetensors`; empty = none.
        endpoint: another address of the Hugging Face hub, as `https://host`.

    Raises:
        WeightsError: timm names none, or they are in neither place and the hub does not answer.
    """
    config = find_config(name)
    if not config.has_weights:
        raise WeightsError(f"timm names no weights for {name!r}; set model.weights: none")
    local = find_local_file(name, folder=folder)
    if local:
        return local
    if config.hf_hub_id:
        return _find_on_hub(name, config.hf_hub_id, folder, endpoint)
    from timm.models._hub import download_cached_file

    try:
        return str(download_cached_file(str(config.url)))
    except OSError as error:
        raise WeightsError(
            f"ImageNet weights of {name!r} are not in the local cache and {config.url} gives none: {error}. "
            f"{_advise(name, folder)}"
        ) from error


def _find_on_hub(name: str, repository: str, folder: str, endpoint: str | None) -> str:
    from huggingface_hub import constants, hf_hub_download

    address = endpoint or constants.ENDPOINT
    try:
        _ask(address)
        return str(hf_hub_download(repository, HUB_FILE, endpoint=endpoint))
    except Exception as error:  # the client's own errors share no base across its versions
        raise WeightsError(
            f"ImageNet weights of {name!r} ({repository}/{HUB_FILE}) are not in the local cache and "
            f"{address} gives none: {error}. {_advise(name, folder)}"
        ) from error


def _advise(name: str, folder: str) -> str:
    place = f"{folder}/{name}.safetensors" if folder else f"{name}.safetensors in a folder, FALX_WEIGHTS"
    return (
        f"Connect once; or put the file here as {place}; or copy the recipe under another name and "
        "set model.weights: none, with nothing frozen, or the path of a checkpoint of ours."
    )


def _ask(address: str) -> None:
    """One question before the download: without a network the hub's client retries for 47 seconds."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PROBE_SECONDS).close()
