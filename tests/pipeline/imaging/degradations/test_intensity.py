"""Grey values against NumPy in double precision: its powers, its means, its polynomials."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from pipeline.catalog import load_catalog
from pipeline.imaging.degradations.parameters import draw_parameters
from pipeline.imaging.degrade import degrade

KINDS = load_catalog().degradations
SEVERITIES = (1, 2, 3, 4, 5)

Batches = Callable[..., torch.Tensor]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gamma_up", "gamma_down"])
def test_gamma_is_a_power(name: str, severity: int, make_batch: Batches) -> None:
    images = make_batch(2, 64)
    expected = images.numpy().astype(np.float64) ** KINDS[name].severities[severity - 1]
    assert np.abs(degrade(images, KINDS[name], severity, [0, 0]).numpy() - expected).max() < 1e-6


def test_gamma_up_darkens_and_gamma_down_brightens(make_batch: Batches) -> None:
    images = make_batch(2, 64)
    assert degrade(images, KINDS["gamma_up"], 1, [0, 0]).mean() < images.mean()
    assert degrade(images, KINDS["gamma_down"], 1, [0, 0]).mean() > images.mean()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_about_the_mean(severity: int, make_batch: Batches) -> None:
    images = make_batch(3, 64)
    grey = images.numpy().astype(np.float64)
    mean = grey.mean((1, 2, 3), keepdims=True)
    expected = mean + (grey - mean) * KINDS["contrast_down"].severities[severity - 1]
    found = degrade(images, KINDS["contrast_down"], severity, [0, 0, 0]).numpy()
    assert np.abs(found - expected).max() < 1e-6
    assert found.std() / grey.std() == pytest.approx(KINDS["contrast_down"].severities[severity - 1], 0.05)


def find_field(seed: int, ratio: float, size: tuple[int, int]) -> NDArray[np.float64]:
    """The field that a seed stands for, by NumPy's polynomials of two variables."""
    coefficients = 2 * draw_parameters([seed], 16).reshape(4, 4) - 1
    degrees = np.add.outer(range(4), range(4))
    coefficients[(degrees > 3) | (degrees == 0)] = 0
    down, across = np.meshgrid(*[np.linspace(-1, 1, 65)] * 2, indexing="ij")
    inside = polynomial.polyval2d(down, across, coefficients)[down**2 + across**2 <= 1]
    places = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    values = polynomial.polyval2d(*places, coefficients)
    return np.asarray(ratio ** ((values - inside.max()) / np.ptp(inside)))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [(64, 64), (97, 74)])
def test_a_bias_field_multiplies(severity: int, size: tuple[int, int], make_batch: Batches) -> None:
    images = make_batch(3, 97)[:, :, : size[0], : size[1]]
    ratio = KINDS["bias_field"].severities[severity - 1]
    found = degrade(images, KINDS["bias_field"], severity, [5, 6, 7])
    for seed, clean, result in zip((5, 6, 7), images, found, strict=True):
        grey = clean[0].double().numpy()
        shaded = grey * find_field(seed, ratio, size)
        expected = (shaded * grey.mean() / shaded.mean()).clip(0, 1)
        assert np.abs(result[0].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_bias_field_is_smooth_and_has_its_ratio(severity: int) -> None:
    # Dark enough that no corner's gain reaches white.
    flat = torch.full((20, 1, 90, 120), 0.002)
    field = degrade(flat, KINDS["bias_field"], severity, range(20)).double().numpy()[:, 0] / 0.002
    assert field.max() < 500
    down, across = np.meshgrid(np.linspace(-1, 1, 90), np.linspace(-1, 1, 120), indexing="ij")
    inside = field[:, down**2 + across**2 <= 1]
    ratio = KINDS["bias_field"].severities[severity - 1]
    assert np.allclose(np.log(inside.max(1) / inside.min(1)), np.log(ratio), rtol=0.03)
    assert np.allclose(field.mean((1, 2)), 1, atol=1e-5)
    waves = np.stack([(down**i * across**j).ravel() for i in range(4) for j in range(4 - i)], 1)
    residual = np.linalg.lstsq(waves, np.log(field).reshape(20, -1).T, rcond=None)[1]
    assert (residual < 1e-6).all()


def test_a_black_image_stays_black() -> None:
    assert degrade(torch.zeros(2, 1, 20, 20), KINDS["bias_field"], 5, [1, 2]).abs().max() == 0
