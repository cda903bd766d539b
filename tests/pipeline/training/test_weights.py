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
from pipeline.training.models import build_model, require_weights
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
    with pytest.raises(WeightsError, match=r"does not fit the model, 27 of its features differ: backbone"):
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


def test_layers_of_the_head_that_do_not_fit_stay_random_and_are_named(tmp_path: Path) -> None:
    source = build_model(make_recipe(model={"name": "slim", "head": [16]}), classes=3)
    path = str(tmp_path / "best.safetensors")
    save_file(source.state_dict(), path)
    torch.manual_seed(5)
    loaded = build_model(make_recipe(model={"name": "slim", "head": [16]}), weights=path)
    given, own = source.state_dict(), loaded.state_dict()
    total = len(own)
    assert loaded.origin == (
        f"{total - 2} of {total} tensors from {path}; random: head.3.weight; head.3.bias; "
        "not used: head.3.bias; head.3.weight"
    )
    for name, tensor in own.items():
        if not name.startswith("head.3."):
            assert torch.equal(tensor, given[name]), name
    assert own["head.3.weight"].shape == (4, 16)


def test_features_that_do_not_fit_are_never_left_random(tmp_path: Path) -> None:
    path = str(tmp_path / "best.safetensors")
    save_file(build_model(make_recipe()).state_dict(), path)
    colour = make_recipe(input={"size": 32, "channels": 3, "normalise": "half"})
    with pytest.raises(
        WeightsError, match=r"1 of its features differ: backbone.0.weight is \(32, 1, 4, 4\), "
    ):
        build_model(colour, weights=path)


def test_a_file_of_our_own_folder_stands_for_imagenet(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = timm.create_model("test_resnet", pretrained=False, num_classes=1000)
    save_file(source.state_dict(), tmp_path / "test_resnet.safetensors")
    recipe = make_recipe(model={"name": TINY, "weights": "imagenet", "freeze": 1.0})
    require_weights(recipe, folder=str(tmp_path))
    loaded = build_model(recipe, folder=str(tmp_path))
    assert loaded.origin == "backbone: ImageNet weights of test_resnet; head: random"
    name, tensor = list(loaded.backbone.state_dict().items())[-1]
    assert torch.equal(tensor, source.state_dict()[name])
    assert not any(value.requires_grad for value in loaded.backbone.parameters())


def test_a_file_of_another_network_in_our_folder_is_refused(tmp_path: Path) -> None:
    save_file({"stem.weight": torch.zeros(1)}, tmp_path / "test_resnet.safetensors")
    recipe = make_recipe(model={"name": TINY, "weights": "imagenet"})
    with pytest.raises(
        WeightsError, match=r"does not hold the weights of 'test_resnet'.* put the right file"
    ):
        build_model(recipe, folder=str(tmp_path))


def test_imagenet_that_is_not_to_be_had_is_refused_before_any_work(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    recipe = make_recipe(model={"name": TINY, "weights": "imagenet"})
    spec = make_spec(recipe=recipe, weights=str(tmp_path), split=str(tmp_path / "never_read.parquet"))
    message = rf"or put the file here as {tmp_path}/test_resnet.safetensors; or .* set model.weights: none"
    with pytest.raises(WeightsError, match=message):
        train(spec, SilentReporter())
    assert not Path(spec.work).exists()
