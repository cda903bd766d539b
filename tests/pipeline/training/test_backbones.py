"""timm's networks and where their weights come from."""

import time
from pathlib import Path

import pytest
from timm.models._hub import get_cache_dir

from pipeline.errors import TrainingError, WeightsError
from pipeline.training.backbones import find_config, find_imagenet_file, find_local_file


def test_imagenet_without_a_network_fails_fast_and_says_what_to_do() -> None:
    begun = time.monotonic()
    with pytest.raises(WeightsError, match=r"not in the local cache .* set model.weights: none"):
        find_imagenet_file("test_resnet", endpoint="http://127.0.0.1:9")
    assert time.monotonic() - begun < 20


def test_local_files_are_found_in_the_folder_then_in_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert find_local_file("test_resnet") == find_local_file("legacy_xception") == ""
    snapshot = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("abc")
    cached = snapshot / "snapshots" / "abc" / "model.safetensors"
    cached.write_bytes(b"")
    assert find_local_file("test_resnet") == find_imagenet_file("test_resnet") == str(cached)
    own = tmp_path / "test_resnet.safetensors"
    own.write_bytes(b"")
    assert find_local_file("test_resnet", folder=str(tmp_path)) == str(own)
    [url] = [Path(find_config("legacy_xception").url).name]
    timm_cache = Path(get_cache_dir()) / url
    timm_cache.parent.mkdir(parents=True, exist_ok=True)
    timm_cache.write_bytes(b"")
    assert timm_cache.is_relative_to(tmp_path)
    assert find_local_file("legacy_xception") == find_imagenet_file("legacy_xception") == str(timm_cache)


def test_weights_that_nobody_published_are_refused() -> None:
    with pytest.raises(
        WeightsError, match=r"names no weights for 'convnext_atto_rms'; set model.weights: none"
    ):
        find_imagenet_file("convnext_atto_rms")


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"'resnet10t.no_such_tag'; allowed: resnet10t.c3_in1k"):
        find_config("resnet10t.no_such_tag")
