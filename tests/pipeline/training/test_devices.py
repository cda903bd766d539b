"""Devices and precision: rules, each with its reason."""

import pytest
import torch
from torch import nn
from training_toys import make_recipe

from pipeline.errors import TrainingError
from pipeline.training.devices import choose_device
from pipeline.training.models import build_model


def test_the_choice_comes_with_reasons_and_repeats() -> None:
    model = build_model(make_recipe())
    first, second = choose_device("cpu", model), choose_device("cpu", model)
    assert first == second
    assert first.why == {
        "device": "cpu, as the settings say",
        "precision": first.why["precision"],
        "threads": "1, as the settings say",
    }
    assert first.why["precision"].startswith(f"{first.precision}, since ")


def test_auto_takes_cuda_where_there_is_one() -> None:
    device = choose_device("auto", build_model(make_recipe()))
    assert device.kind == ("cuda" if torch.cuda.is_available() else "cpu")


def test_threads_are_pinned() -> None:
    choose_device("cpu", build_model(make_recipe()), threads=2)
    assert torch.get_num_threads() == 2
    choose_device("cpu", build_model(make_recipe()), threads=1)
    assert torch.get_num_threads() == 1


def test_an_absent_device_is_refused_with_those_that_are_here() -> None:
    with pytest.raises(TrainingError, match=r"device 'cuda:99' is not here; allowed: auto, cpu"):
        choose_device("cuda:99", build_model(make_recipe()))


def test_bf16_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(make_recipe())
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_device("cpu", model).precision == "bf16"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert choose_device("cpu", model).precision == "fp32"


def test_small_networks_of_grouped_convolutions_stay_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    small = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    large = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Linear(2000, 2000))
    assert choose_device("cpu", small).precision == "fp32"
    assert choose_device("cpu", large).precision == "bf16"


def test_autocast_follows_the_precision() -> None:
    device = choose_device("cpu", build_model(make_recipe()))
    with device.autocast():
        product = torch.rand(4, 4) @ torch.rand(4, 4)
    assert product.dtype == (torch.bfloat16 if device.precision == "bf16" else torch.float32)
