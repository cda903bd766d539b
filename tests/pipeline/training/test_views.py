"""What is told from two views of an image, and how far apart it is."""

import math

import pytest
import torch
from training_toys import make_recipe

from pipeline.training.models import build_model
from pipeline.training.views import Predictor, build_predictor, measure_loss, measure_spread

PRETRAINING = {"epochs": 1, "augment": {"brightness": 0.2}}


def test_a_recipe_without_pretraining_has_no_such_head() -> None:
    recipe = make_recipe()
    assert build_predictor(recipe, build_model(recipe)) is None
    recipe = make_recipe(pretraining=PRETRAINING)
    assert isinstance(build_predictor(recipe, build_model(recipe)), Predictor)


@pytest.mark.parametrize("name", ["slim", "cnn3", "timm:resnet10t"])
def test_the_head_takes_the_features_of_any_network(name: str) -> None:
    recipe = make_recipe(model={"name": name, "head": [8]}, pretraining=PRETRAINING)
    network = build_model(recipe)
    predictor = build_predictor(recipe, network)
    assert predictor is not None
    told, guess = predictor(network.backbone(torch.rand(5, 1, 32, 32)))
    assert told.shape == guess.shape == (5, 512)


def test_the_loss_is_minus_the_cosine_and_pulls_the_guess_alone() -> None:
    guess = torch.tensor([[1.0, 0.0], [3.0, 4.0]], requires_grad=True)
    wanted = torch.tensor([[0.0, 2.0], [6.0, 8.0]], requires_grad=True)
    loss = measure_loss(guess, wanted)
    assert float(loss.detach()) == pytest.approx(-0.5)
    loss.backward()
    assert guess.grad is not None and wanted.grad is None
    # Towards what is wanted, where they stand at right angles; nowhere, where they agree.
    assert guess.grad[0].tolist() == pytest.approx([0, -0.5])
    assert guess.grad[1].tolist() == pytest.approx([0, 0], abs=1e-7)


def test_spread_tells_a_collapse_from_directions_all_over() -> None:
    generator = torch.Generator().manual_seed(0)
    assert float(measure_spread(torch.randn(4000, 64, generator=generator))) == pytest.approx(1, abs=0.02)
    assert float(measure_spread(torch.ones(100, 64) * torch.rand(100, 1))) == pytest.approx(0, abs=1e-3)
    two = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(measure_spread(two)) == pytest.approx(0.5 * math.sqrt(2))
