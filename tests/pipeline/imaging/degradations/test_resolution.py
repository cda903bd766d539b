"""Resolution against exact averages in NumPy, and against Pillow's box and bilinear filters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog import load_catalog
from pipeline.imaging.degradations.parameters import draw_parameters
from pipeline.imaging.degradations.resolution import (
    downsample_by_matrix,
    downsample_one_axis,
    downsample_plane,
)
from pipeline.imaging.degradations.separable import filter_by_matrix, filter_planes
from pipeline.imaging.degrade import degrade

KINDS = load_catalog().degradations
SEVERITIES = (1, 2, 3, 4, 5)

Batches = Callable[..., torch.Tensor]


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


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [64, 101, 224])
def test_anisotropic_resolution_is_that_along_one_axis(severity: int, size: int, make_batch: Batches) -> None:
    images, seeds = make_batch(4, size), [1, 2, 3, 7]
    side = round(size / KINDS["anisotropic_resolution"].severities[severity - 1])
    found = degrade(images, KINDS["anisotropic_resolution"], severity, seeds).numpy()[:, 0]
    upright = draw_parameters(seeds, 1)[:, 0] < 0.5
    assert set(upright) == {True, False}
    for plane, result, rows in zip(images.numpy()[:, 0].astype(np.float64), found, upright, strict=True):
        turned = plane if rows else plane.T
        expected = interpolate_up(average_down(turned, side), size)
        assert np.abs((result if rows else result.T) - expected).max() < 1e-3


@pytest.mark.parametrize("factor", [1.5, 6.0])
def test_matrix_products_are_the_resampling_of_the_cpu(factor: float, make_batch: Batches) -> None:
    images = make_batch(3, 90)[:, :, :, 11:80]
    by_matrix = filter_by_matrix(images, downsample_plane, factor)
    assert (by_matrix - filter_planes(images, downsample_plane, factor)).abs().max() < 1e-5
    upright = torch.from_numpy(draw_parameters([1, 2, 3], 1)[:, 0] < 0.5)
    one_axis = downsample_by_matrix(images, factor, upright)
    assert (one_axis - downsample_one_axis(images, factor, [1, 2, 3])).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["downsampling", "anisotropic_resolution"])
def test_resampling_keeps_a_flat_image_flat(name: str) -> None:
    flat = torch.full((1, 1, 50, 50), 0.3)
    for severity in SEVERITIES:
        assert (degrade(flat, KINDS[name], severity, [0]) - 0.3).abs().max() < 1e-6
