"""Blur against SciPy: its Gaussian filter, and the average of images that it shifts along the line."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.catalog import load_catalog
from pipeline.imaging.degradations.blur import (
    blur_along_line,
    blur_plane,
    convolve_each,
    cut_zeros,
    draw_lines,
)
from pipeline.imaging.degradations.parameters import draw_parameters
from pipeline.imaging.degradations.separable import filter_by_matrix, filter_planes
from pipeline.imaging.degrade import degrade

KINDS = load_catalog().degradations
SEVERITIES = (1, 2, 3, 4, 5)

Batches = Callable[..., torch.Tensor]


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


def average_shifted(plane: NDArray[np.float32], length: float, angle: float) -> NDArray[np.float64]:
    """The mean of many copies, shifted evenly along a line, with SciPy's linear interpolation."""
    places = np.linspace(-length / 2, length / 2, 801)
    down, across = np.mgrid[: plane.shape[0], : plane.shape[1]].astype(float)
    total = np.zeros(plane.shape)
    for place in places:
        shifted = [down + np.sin(angle) * place, across + np.cos(angle) * place]
        total += ndimage.map_coordinates(plane.astype(np.float64), shifted, order=1, mode="mirror")
    return total / len(places)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_blur_is_the_mean_of_shifted_images(severity: int, make_batch: Batches) -> None:
    images = make_batch(3, 72)
    length = KINDS["motion_blur"].severities[severity - 1] * 72 / 224
    angles = np.pi * draw_parameters([1, 2, 3], 1)[:, 0]
    found = degrade(images, KINDS["motion_blur"], severity, [1, 2, 3]).numpy()[:, 0]
    for plane, result, angle in zip(images.numpy()[:, 0], found, angles, strict=True):
        assert np.abs(result - average_shifted(plane, length, angle)).max() < 1e-3


def test_angles_cover_the_half_circle() -> None:
    angles = draw_parameters(range(400), 1)[:, 0]
    assert np.histogram(angles, 4, (0, 1))[0].min() > 70


@pytest.mark.parametrize("length", [0.4, 3.0, 28.0])
def test_lines_have_sum_1_and_their_length(length: float) -> None:
    kernels = draw_lines(length, np.linspace(0, np.pi, 9)).astype(np.float64)
    assert np.allclose(kernels.sum((1, 2)), 1, atol=1e-6)
    assert np.allclose(kernels, kernels[:, ::-1, ::-1], atol=1e-7)
    places = np.arange(kernels.shape[1]) - kernels.shape[1] // 2
    spread = (kernels * (places[:, None] ** 2 + places**2)).sum((1, 2))
    # An even line has variance length²/12; interpolation adds f(1 - f) at most a direction, 1/4.
    assert (spread >= length**2 / 12 - 1e-2).all()
    assert (spread <= length**2 / 12 + 0.5).all()


@pytest.mark.parametrize("length", [0.3, 2.1, 6.0, 28.0])
def test_zeros_are_cut_off_about_the_centre(length: float) -> None:
    # At an angle of π rounding makes one side of a kernel zero where the other is 1e-17.
    for kernel in draw_lines(length, np.linspace(0, np.pi, 181)):
        frame = cut_zeros(kernel)
        rows, columns = ((whole - part) // 2 for whole, part in zip(kernel.shape, frame.shape, strict=True))
        assert np.array_equal(np.pad(frame, ((rows, rows), (columns, columns))), kernel)


def test_convolution_by_groups_is_that_of_the_cpu(make_batch: Batches) -> None:
    images = make_batch(4, 90)[:, :, :, 11:80]
    angles = np.pi * draw_parameters(range(4), 1)[:, 0]
    kernels = torch.from_numpy(draw_lines(9 * 69 / 224, angles))
    assert (convolve_each(images, kernels) - blur_along_line(images, 9, range(4))).abs().max() < 1e-5


@pytest.mark.parametrize("sigma", [0.8, 4.0])
def test_matrix_products_are_the_blur_of_the_cpu(sigma: float, make_batch: Batches) -> None:
    images = make_batch(3, 90)[:, :, :, 11:80]
    difference = filter_by_matrix(images, blur_plane, sigma) - filter_planes(images, blur_plane, sigma)
    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur"])
def test_blur_keeps_a_flat_image_flat(name: str) -> None:
    flat = torch.full((1, 1, 50, 50), 0.3)
    for severity in SEVERITIES:
        assert (degrade(flat, KINDS[name], severity, [0]) - 0.3).abs().max() < 1e-6
