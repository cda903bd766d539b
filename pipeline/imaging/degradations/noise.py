"""Noise of the receiver: white in the complex signal, Rician in the magnitude that a scanner shows."""

from collections.abc import Sequence

import torch

from pipeline.imaging.draws import draw_normals

_IMAGINARY_STREAM = 4


def add_gaussian_noise(images: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Add white noise of standard deviation `sigma`, a share of the grey range."""
    height, width = images.shape[-2:]
    return draw_normals(seeds, height, width, device=images.device).mul_(sigma).add_(images)


def add_rician_noise(images: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Add white noise of standard deviation `sigma` to real and imaginary part, then take the magnitude.

    Gudbjartsson and Patz, The Rician distribution of noisy MRI data, Magn Reson Med 34:910, 1995: black
    becomes Rayleigh of mean sigma √(π/2), bright tissue nearly Gaussian.
    """
    height, width = images.shape[-2:]
    imaginary = draw_normals(seeds, height, width, device=images.device, stream=_IMAGINARY_STREAM)
    real = add_gaussian_noise(images, sigma, seeds)
    return real.square_().add_(imaginary.mul_(sigma).square_()).sqrt_()
