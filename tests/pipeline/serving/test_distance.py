"""The distance to the training images: near for their like, far for others, the same from every thread."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from shades import SIZE, make_recipe

from pipeline.errors import ServingError
from pipeline.serving.distance import (
    Eye,
    Reference,
    Ruler,
    describe_reference,
    load_reference,
    save_reference,
)
from pipeline.training.inference import predict
from pipeline.training.models import Network, build_model


def make_reference(count: int = 20, val: int = 200) -> Reference:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 3)).astype(np.float16)
    return Reference(features, np.zeros(3, np.float32), np.ones(3, np.float32), np.arange(val, dtype=float))


def make_network() -> Network:
    torch.manual_seed(0)
    return build_model(make_recipe(), weights="none").to(memory_format=torch.channels_last)


def draw(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE), np.uint8)


def test_the_distance_is_that_to_the_fifth_nearest():
    reference = make_reference()
    asked = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    known = reference.features.astype(np.float32)
    plain = [np.sort(np.sqrt(((known - one) ** 2).mean(axis=1)))[4] for one in asked]
    assert np.allclose(Ruler(reference).measure(asked), plain, atol=1e-4)


def test_with_fewer_images_the_last_counts():
    reference = make_reference(count=2)
    assert Ruler(reference).neighbours == 2
    assert Ruler(reference).measure(np.full((1, 3), 50, np.float32))[0] > 40


@pytest.mark.parametrize(("val", "threshold"), [(99, 98), (199, 197), (1000, 990), (10, 9)])
def test_the_threshold_is_the_conformal_quantile_of_val(val: int, threshold: float):
    assert make_reference(val=val).threshold == threshold


def test_at_most_one_in_a_hundred_of_the_same_kind_is_refused_on_average():
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(300):
        values = rng.exponential(size=200)
        reference = Reference(*(np.zeros(1, kind) for kind in ("f2", "f4", "f4")), np.sort(values))
        shares.append((rng.exponential(size=500) > reference.threshold).mean())
    assert 0.005 < np.mean(shares) <= 0.0105


def test_looking_gives_the_probabilities_of_inference_to_the_bit():
    model, recipe, pixels = make_network(), make_recipe(), draw(5)
    logits, features = Eye(model, recipe).look(pixels)
    assert np.array_equal(torch.softmax(torch.from_numpy(logits), 1).numpy(), predict(model, pixels, recipe))
    assert features.shape == (5, 2 * (16 + 16 + 32))  # mean and deviation of three of six convolutions
    assert features.dtype == np.float32


def test_asked_about_both_sides_it_keeps_what_the_image_itself_shows():
    model, plain, pixels = make_network(), make_recipe(), draw(5)
    asked = plain.model.model_copy(update={"mirror": True})
    both = plain.model_copy(update={"model": asked})
    expected = Eye(model, plain).look(pixels)
    logits, features = Eye(model, both).look(pixels)
    assert np.array_equal(torch.softmax(torch.from_numpy(logits), 1).numpy(), predict(model, pixels, both))
    assert not np.allclose(logits, expected[0], atol=1e-4)
    assert np.array_equal(features, expected[1])


def test_batches_do_not_change_what_is_seen(monkeypatch: pytest.MonkeyPatch):
    from pipeline.serving import distance

    eye, pixels = Eye(make_network(), make_recipe()), draw(7)
    whole = eye.look(pixels)[1]
    monkeypatch.setattr(distance, "BATCH", 3)
    assert np.allclose(eye.look(pixels)[1], whole, atol=1e-5)


def test_threads_see_their_own_images():
    model = make_network()
    eye, requests = Eye(model, make_recipe()), [draw(count, count) for count in range(1, 9)]
    alone = [eye.look(pixels)[1] for pixels in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda pixels: eye.look(pixels)[1], requests * 4))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 4, together, strict=True))
    model(torch.zeros(1, 1, SIZE, SIZE))  # who runs the network without looking is not in the way


def test_a_reference_is_read_as_it_was_written(tmp_path: Path):
    made = make_reference()
    for name in ("one", "two"):
        save_reference(tmp_path / name, made)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = load_reference(tmp_path / "one")
    for name in ("features", "mean", "scale", "val"):
        assert np.array_equal(getattr(found, name), getattr(made, name))
        assert getattr(found, name).dtype == getattr(made, name).dtype
    described = describe_reference(tmp_path / "one")
    assert (described.train_images, described.val_images, described.neighbours) == (20, 200, 5)
    assert described.threshold == made.threshold


@pytest.mark.parametrize("content", [None, b"", b"no tensors", "features alone"])
def test_what_is_no_reference_is_refused(tmp_path: Path, content: bytes | str | None):
    path = tmp_path / "reference.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        from safetensors.numpy import save_file

        save_file({"features": np.zeros((2, 2), np.float16)}, path)
    with pytest.raises(ServingError, match=r"is no reference of training images: .*train again"):
        load_reference(path)
