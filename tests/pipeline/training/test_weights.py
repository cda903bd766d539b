"""Pretrained weights: found, fitted, or refused before any work."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from training_toys import make_recipe

from pipeline.errors import WeightsError
from pipeline.training.loop import train
from pipeline.training.models import build_model
from pipeline.training.spec import SilentReporter, TrainingSpec

TINY = "timm:test_resnet"


def test_a_missing_file_is_refused_before_any_work(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path
) -> None:
    recipe = make_recipe(model={"name": "slim", "weights": str(tmp_path / "gone.safetensors")})
    spec = make_spec(recipe=recipe, split=str(tmp_path / "never_read.parquet"))
    with pytest.raises(WeightsError, match=r"there is no file '.*gone.safetensors'.*give none, imagenet"):
        train(spec, SilentReporter())
    assert not Path(spec.work).exists()


def test_imagenet_is_refused_for_our_own_networks() -> None:
    with pytest.raises(WeightsError, match="needs a model named timm:<name>, found 'slim'"):
        build_model(make_recipe(), weights="imagenet")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="cannot be read as a safetensors file"):
        build_model(make_recipe(), weights=str(path))


def test_own_weights_come_back(tmp_path: Path) -> None:
    source = build_model(make_recipe())
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_model(make_recipe(), weights=str(path))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in source.state_dict().items())


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_model(make_recipe()).state_dict(), path)
    with pytest.raises(WeightsError, match=r"does not fit the model, \d+ differences: missing backbone"):
        build_model(make_recipe(model={"name": "cnn3"}), weights=str(path))


def test_a_file_in_timms_names_fills_the_backbone_and_sums_the_stem(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", pretrained=False, num_classes=1000)
    path = tmp_path / "timm.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_model(make_recipe(model={"name": TINY}), weights=str(path))
    stem = next(name for name in source.state_dict() if source.state_dict()[name].shape[1:2] == (3,))
    grey = loaded.backbone.state_dict()[stem]
    torch.testing.assert_close(grey, source.state_dict()[stem].sum(1, keepdim=True))
    others = [name for name in loaded.backbone.state_dict() if name != stem]
    assert all(torch.equal(loaded.backbone.state_dict()[name], source.state_dict()[name]) for name in others)


def test_a_timm_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "timm.safetensors"
    save_file({"stem.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="missing from the file"):
        build_model(make_recipe(model={"name": TINY}), weights=str(path))


def test_a_timm_recipe_takes_weights_that_falx_wrote(tmp_path: Path) -> None:
    source = build_model(make_recipe(model={"name": TINY}))
    path = tmp_path / "best.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_model(make_recipe(model={"name": TINY}), weights=str(path))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in source.state_dict().items())
