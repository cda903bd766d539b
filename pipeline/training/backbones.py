"""Networks of timm, and their ImageNet weights: from the local cache, else from the Hugging Face hub."""

import contextlib
import difflib
import urllib.error
import urllib.request
from typing import Any

from pipeline.errors import TrainingError, WeightsError

PROBE_SECONDS = 5.0
_OFFLINE_HINT = (
    "Connect once, or copy the file here and set model.weights to its path, or set model.weights: none."
)


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


def create_timm(name: str, channels: int, *, imagenet: bool, endpoint: str | None = None) -> Any:
    """A timm network without classifier, its weights random or those that timm calls its default.

    Args:
        endpoint: another address of the Hugging Face hub, as `https://host`.

    Raises:
        TrainingError: timm knows no such network.
        WeightsError: the weights are neither in the local cache nor to be had from the hub.
    """
    import timm

    find_config(name)
    if not imagenet:
        return timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels)
    overlay = {"file": find_imagenet_file(name, endpoint=endpoint)}
    return timm.create_model(
        name, pretrained=True, num_classes=0, in_chans=channels, pretrained_cfg_overlay=overlay
    )


def find_imagenet_file(name: str, *, endpoint: str | None = None) -> str:
    """Path of the default weights of a timm network: from the local cache, else from the hub.

    Raises:
        WeightsError: timm names none, or they are not in the cache and the hub does not answer.
    """
    config = find_config(name)
    if not config.has_weights:
        raise WeightsError(f"timm names no weights for {name!r}; set model.weights: none")
    if config.hf_hub_id:
        return _find_on_hub(name, config.hf_hub_id, endpoint)
    from timm.models._hub import download_cached_file

    try:
        return str(download_cached_file(str(config.url)))
    except OSError as error:
        raise WeightsError(f"no weights of {name!r} from {config.url}: {error}. {_OFFLINE_HINT}") from error


def _find_on_hub(name: str, repository: str, endpoint: str | None) -> str:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    file = "model.safetensors"
    address = endpoint or constants.ENDPOINT
    try:
        return str(hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        _ask(address)
        return str(hf_hub_download(repository, file, endpoint=endpoint))
    except Exception as error:  # the client's own errors share no base across its versions
        raise WeightsError(
            f"ImageNet weights of {name!r} ({repository}/{file}) are not in the local cache and "
            f"{address} gives none: {error}. {_OFFLINE_HINT}"
        ) from error


def _ask(address: str) -> None:
    """One question before the download: without a network the hub's client retries for 47 seconds."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PROBE_SECONDS).close()
