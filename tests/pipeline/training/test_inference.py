"""From stored weights to probabilities."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import make_recipe

from pipeline.errors import CheckpointError, TrainingError, WeightsError
from pipeline.training.checkpoints import write_best
from pipeline.training.inference import answer, load_model, predict, prepare_images
from pipeline.training.models import Network, build_model


@pytest.fixture(scope="module")
def model() -> Network:
    torch.manual_seed(1)
    return build_model(make_recipe()).to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (70, 32, 32), dtype=np.uint8)


def test_probabilities(model: Network, images: np.ndarray) -> None:
    found = predict(model, images, make_recipe())
    assert found.shape == (70, 4) and found.dtype == np.float64
    assert (found >= 0).all()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-12)


def test_the_same_call_gives_the_same_bits(model: Network, images: np.ndarray) -> None:
    first, second = (predict(model, images, make_recipe()) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("batch_size", [1, 7, 70])
def test_the_batch_size_moves_nothing_that_counts(
    model: Network, images: np.ndarray, batch_size: int
) -> None:
    found = predict(model, images, make_recipe(), batch_size=batch_size)
    assert np.abs(found - predict(model, images, make_recipe())).max() < 1e-5


def test_asked_about_both_sides_a_network_answers_with_the_mean_of_its_logits(
    model: Network, images: np.ndarray
) -> None:
    both = make_recipe(augment={"hflip": 0.5}, model={"name": "slim", "mirror": True})
    sides = [
        torch.from_numpy(predict(model, side, make_recipe())).log()
        for side in (images, images[..., ::-1].copy())
    ]
    found = predict(model, images, both)
    assert np.allclose(found, torch.softmax((sides[0] + sides[1]) / 2, dim=1).numpy(), atol=1e-7)
    assert np.abs(found - predict(model, images, make_recipe())).max() > 1e-5
    assert np.allclose(found, predict(model, images[..., ::-1].copy(), both), atol=1e-7)
    inputs = prepare_images(torch.from_numpy(images)[:3, None], both, "cpu")
    assert answer(model, inputs, both).shape == (3, 4)


def test_floats_are_taken_as_they_are(model: Network, images: np.ndarray) -> None:
    floats = torch.from_numpy(images)[:, None].float() / 255
    found = predict(model, floats, make_recipe())
    assert found.tobytes() == predict(model, images, make_recipe()).tobytes()


def test_no_image_no_row(model: Network) -> None:
    assert predict(model, np.empty((0, 32, 32), np.uint8), make_recipe()).shape == (0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 31, 32), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((2, 32, 32), np.float32),
        np.zeros((2, 1, 32, 32), np.int64),
    ],
)
def test_other_shapes_and_types_are_refused(model: Network, wrong: np.ndarray) -> None:
    with pytest.raises(TrainingError, match=r"recipe 'toy' needs uint8 \[n, 32, 32\] or float"):
        predict(model, wrong, make_recipe())


def test_stored_weights_come_back_and_answer_the_same(
    model: Network, images: np.ndarray, tmp_path: Path
) -> None:
    write_best(tmp_path, model)
    loaded = load_model(tmp_path, make_recipe())
    assert not loaded.training
    expected = predict(model, images, make_recipe())
    assert predict(loaded, images, make_recipe()).tobytes() == expected.tobytes()


def test_loading_never_fetches_pretrained_weights(model: Network, tmp_path: Path) -> None:
    write_best(tmp_path, model)
    recipe = make_recipe(model={"name": "slim", "weights": "/gone.safetensors", "freeze": 0.5})
    assert load_model(tmp_path, recipe).head[-1].out_features == 4


def test_no_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights at .*; train recipe 'toy' first"):
        load_model(tmp_path, make_recipe())


def test_weights_of_another_recipe_are_an_error(model: Network, tmp_path: Path) -> None:
    write_best(tmp_path, model)
    with pytest.raises(WeightsError, match="does not fit the model"):
        load_model(tmp_path, make_recipe(model={"name": "cnn3"}))


def test_training_mode_is_never_needed(make_spec: Callable[..., object], model: Network) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, np.zeros((4, 32, 32), np.uint8), make_recipe())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
