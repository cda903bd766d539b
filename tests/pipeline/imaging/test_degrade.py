"""Degradations: identity, range, sameness, order of severity, and an independent implementation of each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.catalog import Degradation, load_catalog
from pipeline.errors import CatalogError
from pipeline.imaging.degrade import DEGRADERS, _filter_by_matrix, _filter_planes, degrade

KINDS = dict(load_catalog().degradations)
SEVERITIES = (1, 2, 3, 4, 5)

Batches = Callable[..., torch.Tensor]


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Degradation:
    return KINDS[request.param]


def psnr(clean: torch.Tensor, degraded: torch.Tensor) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image, dB, for a peak of 1."""
    error = (clean - degraded).double().square().mean((1, 2, 3)).numpy()
    return np.asarray(-10 * np.log10(error))


def test_the_catalog_lists_exactly_the_kinds_with_code() -> None:
    assert sorted(KINDS) == sorted(DEGRADERS)


def test_severities_rise(kind: Degradation) -> None:
    steps = np.diff(kind.severities)
    assert (steps > 0).all() or (steps < 0).all()


def test_severity_0_is_the_identity(kind: Degradation, make_batch: Batches) -> None:
    images = make_batch(3)
    degraded = degrade(images, kind, 0, [1, 2, 3])
    assert torch.equal(degraded, images)
    degraded += 1
    assert images.max() <= 1


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (224, 224)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_shape_type_and_range_are_kept(kind: Degradation, severity: int, size: tuple[int, int]) -> None:
    images = torch.from_numpy(np.random.default_rng(0).random((2, 1, *size), dtype=np.float32))
    images[0, 0, :9], images[1, 0, :9] = 0, 1
    before = images.clone()
    degraded = degrade(images, kind, severity, [1, 2])
    assert (degraded.shape, degraded.dtype) == (images.shape, torch.float32)
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert not torch.equal(degraded, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [64, 224])
def test_each_severity_is_worse_than_the_last(kind: Degradation, size: int, make_batch: Batches) -> None:
    images = make_batch(6, size)
    ratios = np.stack([psnr(images, degrade(images, kind, level, range(6))) for level in SEVERITIES])
    assert (np.diff(ratios, axis=0) < -0.1).all(), ratios.round(1)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    severity=st.integers(1, 5),
    size=st.integers(17, 90),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=7, unique=True),
)
def test_a_result_depends_on_its_image_and_seed_alone(
    name: str, severity: int, size: int, seeds: list[int]
) -> None:
    rng = np.random.default_rng(size)
    images = torch.from_numpy(rng.random((len(seeds), 1, size, size), dtype=np.float32))
    together = degrade(images, KINDS[name], severity, seeds)
    backwards = degrade(images.flip(0), KINDS[name], severity, seeds[::-1]).flip(0)
    alone = torch.cat(
        [degrade(images[i : i + 1], KINDS[name], severity, seeds[i : i + 1]) for i in range(len(seeds))]
    )
    assert torch.equal(together, backwards)
    assert torch.equal(together, alone)


def test_threads_change_no_bit(kind: Degradation, make_batch: Batches) -> None:
    images, threads = make_batch(5, 131), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = degrade(images, kind, 3, range(5))
        torch.set_num_threads(2)
        two = degrade(images, kind, 3, range(5))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)


def test_views_give_what_copies_give(kind: Degradation, make_batch: Batches) -> None:
    wide = make_batch(4, 64).flip(3)
    view = wide[::2, :, 3:50, 5:60]
    assert not view.is_contiguous()
    assert torch.equal(degrade(view, kind, 2, [1, 2]), degrade(view.contiguous(), kind, 2, [1, 2]))


def test_autocast_changes_nothing(kind: Degradation, make_batch: Batches) -> None:
    images = make_batch(2)
    plain = degrade(images, kind, 3, [1, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(degrade(images, kind, 3, [1, 2]), plain)


def test_no_images_give_no_images(kind: Degradation) -> None:
    assert degrade(torch.empty(0, 1, 8, 8), kind, 3, []).shape == (0, 1, 8, 8)


# ---- each kind against an implementation that is not ours ----


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_sigma_and_no_mean(severity: int) -> None:
    grey = torch.full((1, 1, 256, 256), 0.5)
    # Grey 0.5 leaves room on both sides; what the severest level clips, it clips in the expectation too.
    difference = (degrade(grey, KINDS["gaussian_noise"], severity, [severity]) - grey).numpy().ravel()
    sigma = KINDS["gaussian_noise"].severities[severity - 1]
    clipped = np.clip(np.random.default_rng(0).normal(0, sigma, difference.size), -0.5, 0.5)
    assert difference.std() == pytest.approx(clipped.std(), rel=0.02)
    assert abs(difference.mean()) < 4 * sigma / 256


def test_noise_is_white_and_differs_between_seeds() -> None:
    grey = torch.full((2, 1, 200, 200), 0.5)
    first, second = (degrade(grey, KINDS["gaussian_noise"], 1, [8, 9]) - 0.5).numpy()[:, 0]
    for other in (second, np.roll(first, 1, 0), np.roll(first, 1, 1)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / 200


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [64, 97, 224])
def test_blur_is_that_of_scipy(severity: int, size: int, make_batch: Batches) -> None:
    images = make_batch(2, size)
    sigma = KINDS["gaussian_blur"].severities[severity - 1] * size / 224
    radius = round(4 * sigma)
    expected = [
        ndimage.gaussian_filter(plane.astype(np.float64), sigma, mode="mirror", radius=radius)
        for plane in images.numpy()[:, 0]
    ]
    found = degrade(images, KINDS["gaussian_blur"], severity, [0, 0]).numpy()[:, 0]
    assert np.abs(found - np.stack(expected)).max() < 1 / 255


def average_down(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Exact averages over `count` equal stretches of the first axis, through the integral."""
    integral = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    edges = np.linspace(0, len(rows), count + 1)
    places = np.arange(len(rows) + 1)
    at_edges = np.stack([np.interp(edges, places, column) for column in integral.T], axis=1)
    return np.diff(at_edges, axis=0) * count / len(rows)


def interpolate_up(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Linear interpolation between the centres of the first axis' stretches, flat beyond the outermost."""
    places = (np.arange(count) + 0.5) * len(rows) / count - 0.5
    return np.stack([np.interp(places, np.arange(len(rows)), column) for column in rows.T], axis=1)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [64, 101, 224])
def test_downsampling_is_exact_averaging_and_linear_interpolation(
    severity: int, size: int, make_batch: Batches
) -> None:
    images = make_batch(2, size)
    side = round(size / KINDS["downsampling"].severities[severity - 1])
    found = degrade(images, KINDS["downsampling"], severity, [0, 0]).numpy()[:, 0]
    for plane, result in zip(images.numpy()[:, 0].astype(np.float64), found, strict=True):
        small = average_down(average_down(plane, side).T, side)
        assert np.abs(result - interpolate_up(interpolate_up(small, size).T, size)).max() < 1e-3


@pytest.mark.parametrize("severity", [2, 4])
def test_downsampling_by_whole_factors_is_that_of_pillow(severity: int, make_batch: Batches) -> None:
    # By other factors Pillow's box filter counts whole pixels only, so it is no reference there.
    image = make_batch(1, 224)
    side = round(224 / KINDS["downsampling"].severities[severity - 1])
    small = Image.fromarray(image.numpy()[0, 0]).resize((side, side), Image.Resampling.BOX)
    expected = np.asarray(small.resize((224, 224), Image.Resampling.BILINEAR))
    found = degrade(image, KINDS["downsampling"], severity, [0]).numpy()[0, 0]
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "value"), [("blur", 0.8), ("blur", 4.0), ("downsample", 1.5), ("downsample", 6.0)]
)
def test_matrix_products_are_the_filters_of_the_cpu(name: str, value: float, make_batch: Batches) -> None:
    images = make_batch(3, 90)[:, :, :, 11:80]
    difference = _filter_by_matrix(images, name, value) - _filter_planes(images, name, value)
    assert difference.abs().max() < 1e-5


def test_filters_keep_a_flat_image_flat() -> None:
    flat = torch.full((1, 1, 50, 50), 0.3)
    for name in ("gaussian_blur", "downsampling"):
        for severity in SEVERITIES:
            assert (degrade(flat, KINDS[name], severity, [0]) - 0.3).abs().max() < 1e-6


# ---- what cannot be degraded ----


def test_a_kind_without_code_is_refused(kind: Degradation) -> None:
    stranger = kind.model_copy(update={"name": "fog"})
    with pytest.raises(CatalogError, match=r"fog: no such kind; known: .*gaussian_blur"):
        degrade(torch.zeros(1, 1, 8, 8), stranger, 1, [0])


@pytest.mark.parametrize(
    ("images", "severity", "seeds", "message"),
    [
        (torch.zeros(1, 8, 8), 1, [0], r"torch.float32 \[1, 8, 8\]"),
        (torch.zeros(1, 3, 8, 8), 1, [0], r"\[1, 3, 8, 8\]"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.float64), 1, [0], "torch.float64"),
        (torch.zeros(2, 1, 8, 8), 1, [0], "2 images but 1 seeds"),
        (torch.zeros(1, 1, 8, 8), 6, [0], "severity is 6; allowed: 0"),
        (torch.zeros(1, 1, 8, 8), -1, [0], "severity is -1"),
    ],
)
def test_other_input_is_refused(
    kind: Degradation, images: torch.Tensor, severity: int, seeds: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        degrade(images, kind, severity, seeds)
