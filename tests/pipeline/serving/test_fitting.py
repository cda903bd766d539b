"""The reference of a trained model: what it keeps follows from content, and it tells strangers apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shades import SIZE, make_recipe

from pipeline.errors import CheckpointError
from pipeline.evaluation.calibration import fit_temperature
from pipeline.evaluation.predictions import Answers
from pipeline.serving import fitting
from pipeline.serving.answers import weigh_logits
from pipeline.serving.distance import Eye, Ruler
from pipeline.serving.fitting import fit_calibration, fit_reference, write_fitted
from pipeline.training.batches import Part
from pipeline.training.models import Network, build_model
from pipeline.training.spec import TrainingSpec


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build_model(make_recipe(), weights="none").to(memory_format=torch.channels_last)


def make_part(count: int, seed: int, prefix: str) -> Part:
    """Smooth pictures: each a bright spot on black."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:SIZE, :SIZE]
    centres = rng.uniform(5, SIZE - 5, (count, 2))
    spots = [np.exp(-((down - y) ** 2 + (across - x) ** 2) / 20) * 200 for y, x in centres]
    pixels = torch.from_numpy(np.stack(spots).astype(np.uint8))
    ids = tuple(f"{prefix}{number}" for number in range(count))
    return Part(pixels, torch.zeros(count, dtype=torch.int64), ids)


def shuffle(part: Part) -> Part:
    rows = torch.randperm(len(part), generator=torch.Generator().manual_seed(1))
    return Part(part.images[rows], part.labels[rows], tuple(part.image_ids[row] for row in rows))


def test_strangers_are_far_and_the_like_is_near(network: Network):
    recipe = make_recipe()
    reference = fit_reference(network, recipe, make_part(200, 0, "t"), make_part(150, 1, "v"))
    eye, ruler = Eye(network, recipe), Ruler(reference)
    like = ruler.measure(eye.look(make_part(100, 2, "n").images.numpy())[1])
    noise = np.random.default_rng(0).integers(0, 256, (50, SIZE, SIZE), np.uint8)
    strange = ruler.measure(eye.look(noise)[1])
    assert (like > reference.threshold).mean() <= 0.05
    assert (strange > reference.threshold).all()


def test_order_and_repetitions_change_nothing(network: Network, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitting, "MOST_IMAGES", 30)
    recipe, train, val = make_recipe(), make_part(60, 0, "t"), make_part(40, 1, "v")
    twice = Part(
        torch.cat([train.images] * 2), torch.cat([train.labels] * 2), train.image_ids + train.image_ids
    )
    one = fit_reference(network, recipe, train, val)
    other = fit_reference(network, recipe, shuffle(twice), shuffle(val))
    assert len(one.features) == len(one.val) == 30
    for name in ("features", "mean", "scale", "val"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_calibration_is_that_of_the_evaluation(network: Network):
    recipe, val = make_recipe(), make_part(120, 1, "v")
    labels = torch.arange(120) % 4
    found = fit_calibration(network, recipe, Part(val.images, labels, val.image_ids))
    scores = weigh_logits(Eye(network, recipe).look(val.images.numpy())[0], None)
    answers = Answers(labels.numpy(), scores, np.arange(120))
    assert found.temperature == fit_temperature(answers)
    assert found.val_images == 120
    held = scores[np.arange(120), labels.numpy()] >= found.conformal.threshold
    assert 0.9 <= held.mean() < 0.93


def test_where_val_is_too_small_to_exclude_a_class_every_set_is_full(network: Network):
    val = make_part(5, 1, "v")
    assert fit_calibration(network, make_recipe(), val).conformal.threshold == 0


def test_a_channel_that_is_dead_in_training_does_not_decide_alone(network: Network):
    with torch.no_grad():
        first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
        first.weight[0] = 0
    reference = fit_reference(network, make_recipe(), make_part(20, 0, "t"), make_part(20, 1, "v"))
    assert reference.scale.min() >= 0.009 * np.median(reference.scale)


def test_without_weights_there_is_no_reference(tmp_path: Path):
    spec = TrainingSpec.model_construct(work=str(tmp_path), recipe=make_recipe())
    with pytest.raises(CheckpointError, match="train recipe 'shades' first"):
        write_fitted(spec)
