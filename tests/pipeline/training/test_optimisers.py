"""Optimisers and learning rates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_toys import make_recipe

from pipeline.recipe import OptimiserSpec
from pipeline.training.optimisers import count_reductions, find_rate, make_optimiser, set_rate


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_recipe_names_the_optimiser(name: str, kind: type) -> None:
    spec = OptimiserSpec.model_validate({"name": name, "lr": 0.3, "weight_decay": 0.01, "momentum": 0.8})
    optimiser = make_optimiser(nn.Linear(2, 2), spec)
    assert type(optimiser) is kind
    assert optimiser.param_groups[0]["lr"] == 0.3
    assert optimiser.param_groups[0]["weight_decay"] == 0.01
    if name == "sgd":
        assert optimiser.param_groups[0]["momentum"] == 0.8
        assert optimiser.param_groups[0]["nesterov"]


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    optimiser = make_optimiser(model, OptimiserSpec())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 2


def test_set_rate() -> None:
    optimiser = make_optimiser(nn.Linear(2, 2), OptimiserSpec())
    set_rate(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5]


def _rates(schedule: dict[str, object], epochs: int = 4, steps: int = 10) -> list[float]:
    recipe = make_recipe(schedule=schedule, stopping={"epochs": epochs}, optimiser={"name": "sgd", "lr": 1.0})
    return [find_rate(recipe, step, steps, []) for step in range(epochs * steps)]


def test_golden_rates() -> None:
    cosine = _rates({"name": "cosine", "warmup_epochs": 1})
    assert cosine[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert [cosine[10], cosine[25], cosine[39]] == pytest.approx([1.0, 0.5, 0.0027390523])
    assert _rates({"name": "linear"})[::10] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert set(_rates({"name": "constant"})) == {1.0}


@given(
    st.sampled_from(["cosine", "linear", "constant"]),
    st.integers(1, 20),
    st.integers(1, 30),
    st.floats(0, 0.99),
)
def test_rates_rise_to_the_peak_and_never_after(name: str, epochs: int, steps: int, warmup: float) -> None:
    rates = _rates({"name": name, "warmup_epochs": warmup * epochs}, epochs, steps)
    top = max(0, round(warmup * epochs * steps) - 1)
    top = min(top, len(rates) - 1)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_each_stage_has_a_peak_and_a_schedule_of_its_own() -> None:
    recipe = make_recipe(
        schedule={"name": "linear", "warmup_epochs": 0.5},
        optimiser={"name": "adam", "lr": 1.0},
        stages=[{"epochs": 2}, {"epochs": 4, "lr_factor": 0.1}],
        stopping={"epochs": 6, "patience": 1},
    )
    early = [{"val_macro_f1": 0.2}, {"val_macro_f1": 0.1}]
    assert [find_rate(recipe, step, 4, []) for step in range(3)] == pytest.approx([0.5, 1.0, 1.0])
    assert [find_rate(recipe, step, 4, early) for step in (8, 9, 10)] == pytest.approx([0.05, 0.1, 0.1])
    assert find_rate(recipe, 17, 4, [*early, {"val_macro_f1": 0.3}]) == pytest.approx(0.1 * (1 - 7 / 14))


def test_plateau_counts_within_its_stage() -> None:
    recipe = make_recipe(
        schedule={"name": "plateau", "factor": 0.5, "patience": 1},
        optimiser={"name": "adam", "lr": 1.0},
        stages=[{"epochs": 2}, {"epochs": 4, "lr_factor": 0.1}],
        stopping={"epochs": 6},
    )
    history = [{"val_macro_f1": figure} for figure in (0.5, 0.4, 0.3, 0.3)]
    assert [find_rate(recipe, 99, 4, history[:count]) for count in (1, 2, 3, 4)] == [1.0, 0.1, 0.1, 0.05]


@pytest.mark.parametrize(
    ("figures", "patience", "cuts"),
    [
        ([0.5, 0.6, 0.7], 2, 0),
        ([0.5, 0.5, 0.5], 2, 1),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2, 2),
        ([0.5, 0.4, 0.6, 0.4], 2, 0),
        ([0.5, 0.4], 0, 1),
    ],
)
def test_plateau_is_a_function_of_the_history(figures: list[float], patience: int, cuts: int) -> None:
    recipe = make_recipe(
        schedule={"name": "plateau", "factor": 0.5, "patience": patience},
        optimiser={"lr": 1.0},
        stopping={"epochs": 9, "monitor": "val_accuracy"},
    )
    history = [{"val_accuracy": figure} for figure in figures]
    assert count_reductions(recipe.schedule, "val_accuracy", history) == cuts
    assert find_rate(recipe, 99, 10, history) == 0.5**cuts


def test_plateau_on_a_loss_waits_for_it_to_fall() -> None:
    recipe = make_recipe(schedule={"name": "plateau", "patience": 1}, stopping={"epochs": 9})
    falling = [{"val_loss": figure} for figure in (3.0, 2.0, 1.0)]
    assert count_reductions(recipe.schedule, "val_loss", falling) == 0
    assert count_reductions(recipe.schedule, "val_loss", falling[::-1]) == 2
