"""One epoch of a large network: what is kept of its recipe, which weights it takes, what the row says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import epochs
from benchmarks.epochs import COLUMNS, LARGE, measure_epoch, settle_weights, shorten
from benchmarks.ingredients import change_fields
from pipeline.catalog import load_catalog
from pipeline.errors import WeightsError
from pipeline.training import models
from pipeline.training.models import build_model
from pipeline.training.spec import TrainingSpec

RECIPES = load_catalog().recipes


def test_every_large_reference_recipe_is_measured() -> None:
    assert set(LARGE) <= set(RECIPES)
    assert {RECIPES[name].source for name in LARGE} == {"R1", "R3", "R4", "R5"}
    large = {name for name, one in RECIPES.items() if one.model.weights == "imagenet"}
    assert {RECIPES[name].model.name for name in large} <= {RECIPES[name].model.name for name in LARGE}


@pytest.mark.parametrize("name", LARGE)
def test_one_epoch_is_left_of_the_stage_that_trains_most(name: str) -> None:
    recipe, short = RECIPES[name], shorten(RECIPES[name])
    last = recipe.stages[-1] if recipe.stages else None
    assert (short.stopping.epochs, short.stopping.patience, len(short.stages)) == (1, None, 0)
    assert short.model.freeze == (last.freeze if last else recipe.model.freeze)
    assert short.optimiser.lr == recipe.optimiser.lr * (last.lr_factor if last else 1)
    assert (short.input, short.augment, short.data) == (recipe.input, recipe.augment, recipe.data)


def test_without_imagenet_random_weights_take_the_same_road(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(name: str, **_: str) -> str:
        raise WeightsError(f"no weights of {name}")

    monkeypatch.setattr(models, "find_imagenet_file", find_none)
    recipe, weights = settle_weights(shorten(RECIPES["mobilenet_640"]), "", tmp_path)
    assert weights == "random, no ImageNet at hand"
    assert recipe.model.weights == str(tmp_path / "mobilenet_640.safetensors")
    network = build_model(recipe)
    assert "tensors from" in network.origin
    assert [one.requires_grad for one in network.backbone.parameters()].count(True) == 0
    torch.manual_seed(0)
    drawn = build_model(change_fields(recipe, {"model.weights": "none", "model.freeze": 0.0}))
    assert all(
        torch.equal(one, other) for one, other in zip(network.parameters(), drawn.parameters(), strict=True)
    )


def test_weights_at_hand_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_imagenet_file", lambda name, **_: str(tmp_path / name))
    short = shorten(RECIPES["mobilenet_640"])
    assert settle_weights(short, "", tmp_path) == (short, "ImageNet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--recipes", "luck"],
            "luck: SettingsError: there is no recipe 'luck'; there are cnn3, cnn3_degraded",
        ),
        (
            ["--recipes", "cnn4_299", "--protocol", "luck"],
            "cnn4_299: SettingsError: there is no protocol 'luck'; there are published, stratified, patient",
        ),
    ],
)
def test_what_there_is_not_is_said_and_leaves_nothing(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lake").mkdir()
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["epochs", "--home", str(tmp_path), *arguments])
    assert epochs.main() == 1
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.glob("epochs-*"))


def test_a_recipe_without_weights_stays_as_it_is(tmp_path: Path) -> None:
    short = shorten(RECIPES["cnn4_299"])
    assert settle_weights(short, "", tmp_path) == (short, "random, as the recipe says")


def test_the_row_says_what_was_trained(make_spec: Callable[..., TrainingSpec]) -> None:
    spec = make_spec()
    short = spec.model_copy(update={"recipe": shorten(spec.recipe)})
    row = measure_epoch(short, "random, as the recipe says")
    assert tuple(row) == COLUMNS
    side = spec.recipe.input.size
    assert row["input"] == f"{side} × {side} × {spec.recipe.input.channels}"
    assert row["weights"] == "random, as the recipe says"
    assert "of which" in row["parameters"]
    assert row["device"].startswith("cpu") and row["precision"]
    assert float(row["images/s"]) > 0 and 0 <= float(row["val macro-F1"]) <= 1
