"""Augmentation: one sample, one draw; nothing else has a say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision.transforms import v2

from pipeline.catalog import load_catalog
from pipeline.digests import seed_for
from pipeline.errors import CatalogError
from pipeline.imaging.augment import Augmenter, change_by_batch
from pipeline.imaging.degrade import degrade
from pipeline.imaging.draws import draw_uniforms
from pipeline.imaging.warps import draw_maps
from pipeline.recipe import AugmentSpec

KINDS = load_catalog().degradations
FULL = AugmentSpec(
    hflip=0.5,
    rotate=15,
    crop_scale=(0.7, 1.0),
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    gamma=0.3,
    degrade=0.6,
    max_severity=5,
)
GOLDEN_ROW = [0.4081, 0.4309, 0.4533, 0.4753, 0.4969, 0.5183, 0.5393, 0.5601]
IDS = [f"{index:032x}" for index in range(40)]


def augmenter(spec: AugmentSpec, seed: int = 0, threads: int = 1) -> Augmenter:
    return Augmenter(spec, KINDS, seed=seed, threads=threads)


def heads_of(make_heads, count: int, size: int = 48) -> torch.Tensor:
    return torch.from_numpy(make_heads(count, size))


def test_no_change_is_the_image_divided_by_255_exactly() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert torch.equal(augmenter(AugmentSpec())(images, IDS[:1], 0), (images.float() / 255)[:, None])


def test_saturation_does_nothing_to_grey(make_heads) -> None:
    images = heads_of(make_heads, 3)
    assert torch.equal(
        augmenter(AugmentSpec(saturation=0.9))(images, IDS[:3], 2), images[:, None].float() / 255
    )


def test_shape_type_and_range(make_heads) -> None:
    images = heads_of(make_heads, 40)
    before = images.clone()
    augmented = augmenter(FULL)(images, IDS, 3)
    assert (augmented.shape, augmented.dtype) == ((40, 1, 48, 48), torch.float32)
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    assert torch.equal(images, before)


def test_a_channel_axis_changes_nothing(make_heads) -> None:
    images = heads_of(make_heads, 5)
    plain = augmenter(FULL)(images, IDS[:5], 1)
    assert torch.equal(augmenter(FULL)(images[:, None], IDS[:5], 1), plain)


@settings(max_examples=12, deadline=None)
@given(
    size=st.integers(17, 70),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 99),
    rows=st.lists(st.integers(0, 11), min_size=1, max_size=12),
    threads=st.integers(1, 4),
)
def test_a_sample_depends_on_neither_batch_nor_threads(
    size: int, seed: int, epoch: int, rows: list[int], threads: int
) -> None:
    images = torch.from_numpy(np.random.default_rng(size).integers(0, 256, (12, size, size), dtype=np.uint8))
    whole = augmenter(FULL, seed)(images, IDS[:12], epoch)
    part = augmenter(FULL, seed, threads)(images[rows], [IDS[row] for row in rows], epoch)
    assert torch.equal(part, whole[rows])


def test_seed_epoch_and_image_each_change_the_draw(make_heads) -> None:
    image = heads_of(make_heads, 1)
    base = augmenter(FULL)(image, ["a"], 0)
    assert torch.equal(augmenter(FULL)(image, ["a"], 0), base)
    for other in (
        augmenter(FULL)(image, ["b"], 0),
        augmenter(FULL)(image, ["a"], 1),
        augmenter(FULL, 1)(image, ["a"], 0),
    ):
        assert not torch.equal(other, base)


def test_views_give_what_copies_give(make_heads) -> None:
    view = heads_of(make_heads, 8, 60)[::2, 3:50, 5:55]
    assert not view.is_contiguous()
    assert torch.equal(augmenter(FULL)(view, IDS[:4], 0), augmenter(FULL)(view.contiguous(), IDS[:4], 0))


def test_no_images_give_no_images() -> None:
    assert augmenter(FULL)(torch.empty(0, 9, 9, dtype=torch.uint8), [], 0).shape == (0, 1, 9, 9)


def test_brightness_and_contrast_are_those_of_torchvision(make_heads) -> None:
    images = heads_of(make_heads, 20)
    seeds = [seed_for(0, 4, image_id) for image_id in IDS[:20]]
    uniforms = draw_uniforms(seeds, 6, stream=2)
    brightness, contrast = 1 + 0.4 * (2 * uniforms[:, 0] - 1), 1 + 0.4 * (2 * uniforms[:, 1] - 1)
    for spec, factors, change in (
        (AugmentSpec(brightness=0.4), brightness, v2.functional.adjust_brightness),
        (AugmentSpec(contrast=0.4), contrast, v2.functional.adjust_contrast),
    ):
        found = augmenter(spec)(images, IDS[:20], 4)
        expected = [
            change(image[None].float() / 255, factor) for image, factor in zip(images, factors, strict=True)
        ]
        assert (found - torch.stack(expected)).abs().max() < 1e-5
        assert factors.min() < 0.75
        assert factors.max() > 1.25


def test_gamma_is_that_of_torchvision(make_heads) -> None:
    images = heads_of(make_heads, 20)
    seeds = [seed_for(0, 4, image_id) for image_id in IDS[:20]]
    exponents = np.exp(0.5 * (2 * draw_uniforms(seeds, 6, stream=2)[:, 2] - 1))
    found = augmenter(AugmentSpec(gamma=0.5))(images, IDS[:20], 4)
    for image, exponent, result in zip(images, exponents, found, strict=True):
        assert (v2.functional.adjust_gamma(image[None].float() / 255, exponent) - result).abs().max() < 1e-5


@pytest.mark.parametrize(
    "spec", [FULL, AugmentSpec(), AugmentSpec(gamma=0.4), AugmentSpec(brightness=0.4, contrast=0.4)]
)
def test_the_batched_way_agrees_with_the_way_of_the_cpu(make_heads, spec: AugmentSpec) -> None:
    clean = spec.model_copy(update={"degrade": 0.0})
    images = heads_of(make_heads, 12, 64)
    seeds = [seed_for(0, 1, image_id) for image_id in IDS[:12]]
    batched = change_by_batch(
        clean, images, draw_maps(clean, seeds, 64, 64), draw_uniforms(seeds, 6, stream=2)
    )
    difference = batched[:, None] - augmenter(clean)(images, IDS[:12], 1)
    assert difference.abs().mean() < 1 / 255
    assert difference.abs().max() < 6 / 255


def test_degradations_come_as_often_as_asked_and_are_those_of_the_catalog(make_heads) -> None:
    spec = AugmentSpec(
        degrade=0.4, min_severity=2, max_severity=3, degradations=("gaussian_blur", "downsampling")
    )
    images = heads_of(make_heads, 1, 40).expand(400, 40, 40)
    ids = [f"{index:032x}" for index in range(400)]
    augmented = augmenter(spec)(images, ids, 0)
    clean = (images[:1].float() / 255)[:, None]
    allowed = {
        (name, severity): degrade(clean, KINDS[name], severity, [0])[0]
        for name in spec.degradations
        for severity in (2, 3)
    } | {("clean", 0): clean[0]}
    counts = {
        key: sum(torch.equal(result, expected) for result in augmented) for key, expected in allowed.items()
    }
    assert sum(counts.values()) == 400
    assert counts["clean", 0] / 400 == pytest.approx(0.6, abs=0.08)
    assert all(20 < counts[key] < 65 for key in counts if key != ("clean", 0))


def test_noise_in_training_differs_between_epochs(make_heads) -> None:
    spec = AugmentSpec(degrade=1, max_severity=1, degradations=("gaussian_noise",))
    image = heads_of(make_heads, 1)
    noises = torch.stack([augmenter(spec)(image, ["a"], epoch) for epoch in range(5)])
    assert len(torch.unique(noises.view(5, -1), dim=0)) == 5


def test_a_golden_sample() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).reshape(1, 8, 8)
    found = augmenter(FULL.model_copy(update={"degrade": 0.0}))(ramp, ["golden"], 7)[0, 0, 3]
    assert found.tolist() == pytest.approx(GOLDEN_ROW, abs=1.5 / 255)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"crop_scale": (0.0, 1.0)}, "crop_scale: give"),
        ({"crop_scale": (0.9, 0.8)}, "crop_scale: give"),
        ({"crop_scale": (0.9, 1.1)}, "crop_scale: give"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio: give"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio: give"),
    ],
)
def test_ranges_that_hold_nothing_are_refused(ranges: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AugmentSpec(**ranges)


def test_unknown_degradations_are_named() -> None:
    with pytest.raises(CatalogError, match=r"unknown \['fog'\]; known: .*gaussian_blur"):
        augmenter(AugmentSpec(degrade=0.1, degradations=("fog", "gaussian_blur")))


def test_degrading_needs_degradations() -> None:
    with pytest.raises(CatalogError, match="known: none"):
        Augmenter(AugmentSpec(degrade=0.1), {}, seed=0)
    assert Augmenter(AugmentSpec(), {}, seed=0) is not None


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        (torch.zeros(2, 8, 8), IDS[:2], "torch.float32"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), IDS[:2], r"\[2, 3, 8, 8\]"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), IDS[:1], "2 images but 1 ids"),
    ],
)
def test_other_input_is_refused(images: torch.Tensor, ids: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmenter(FULL)(images, ids, 0)
