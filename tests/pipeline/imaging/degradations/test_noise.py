"""Noise against the distributions that it is drawn from, as SciPy and NumPy know them."""

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.catalog import load_catalog
from pipeline.imaging.degrade import degrade

KINDS = load_catalog().degradations
SEVERITIES = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_noise_has_its_sigma_and_no_mean(severity: int) -> None:
    grey = torch.full((1, 1, 256, 256), 0.5)
    # Grey 0.5 leaves room on both sides; what the severest level clips, it clips in the expectation too.
    difference = (degrade(grey, KINDS["gaussian_noise"], severity, [severity]) - grey).numpy().ravel()
    sigma = KINDS["gaussian_noise"].severities[severity - 1]
    clipped = np.clip(np.random.default_rng(0).normal(0, sigma, difference.size), -0.5, 0.5)
    assert difference.std() == pytest.approx(clipped.std(), rel=0.02)
    assert abs(difference.mean()) < 4 * sigma / 256


@pytest.mark.parametrize("name", ["gaussian_noise", "rician_noise"])
def test_noise_is_white_and_differs_between_seeds(name: str) -> None:
    grey = torch.full((2, 1, 200, 200), 0.5)
    first, second = (degrade(grey, KINDS[name], 1, [8, 9]) - 0.5).numpy()[:, 0]
    for other in (second, np.roll(first, 1, 0), np.roll(first, 1, 1)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / 200


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("grey", [0.0, 0.05, 0.3])
def test_rician_noise_is_the_rice_distribution_of_scipy(severity: int, grey: float) -> None:
    sigma = KINDS["rician_noise"].severities[severity - 1]
    found = degrade(torch.full((1, 1, 256, 256), grey), KINDS["rician_noise"], severity, [severity])
    expected = stats.rice(grey / sigma, scale=sigma)
    # Kolmogorov and Smirnov's critical distance for 65,536 draws at 1 %.
    assert stats.kstest(found.numpy().ravel(), expected.cdf).statistic < 1.63 / 256


def test_rician_noise_lifts_black_by_the_mean_of_rayleigh() -> None:
    # Gudbjartsson and Patz 1995, equation 3.
    sigma = KINDS["rician_noise"].severities[2]
    black = degrade(torch.zeros(1, 1, 256, 256), KINDS["rician_noise"], 3, [0])
    assert black.mean().item() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)
    assert black.min() >= 0
