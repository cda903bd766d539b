"""Grey values: uneven coils, and windows that are set too wide, too dark or too bright."""

from collections.abc import Sequence
from math import log

import numpy as np
import torch

from pipeline.imaging.degradations.parameters import draw_parameters

# TorchIO's default order of the polynomial.
_ORDER = 3


def shade(images: torch.Tensor, ratio: float, seeds: Sequence[int]) -> torch.Tensor:
    """Multiply by a smooth field, drawn per image: its largest gain is `ratio` times its smallest.

    The logarithm of the field is a polynomial of order 3 in x and y, each from -1 to 1, with coefficients
    drawn evenly from ± 1 as in TorchIO (after Van Leemput et al., IEEE TMI 18:885, 1999), then scaled to the
    ratio. The largest gain is 1, as an export that scales to the brightest pixel gives it.
    """
    field = draw_polynomials(seeds, images.shape[-2], images.shape[-1]).to(images.device)
    largest, smallest = field.amax((1, 2), keepdim=True), field.amin((1, 2), keepdim=True)
    field.sub_(largest).mul_(log(ratio) / (largest - smallest))
    return _exponential(field)[:, None].mul_(images)


def draw_polynomials(seeds: Sequence[int], height: int, width: int) -> torch.Tensor:
    """Polynomials of order 3 without constant term over a picture: float32 [n, height, width]."""
    draws = 2 * draw_parameters(seeds, (_ORDER + 1) ** 2) - 1
    powers = np.arange(_ORDER + 1)
    degree = powers[:, None] + powers
    coefficients = draws.reshape(-1, _ORDER + 1, _ORDER + 1) * ((degree > 0) & (degree <= _ORDER))
    rows, columns = (np.linspace(-1, 1, side)[:, None] ** powers for side in (height, width))
    left = torch.from_numpy((rows @ coefficients).astype(np.float32))
    return torch.bmm(left, torch.from_numpy(columns.T.astype(np.float32)).expand(len(left), -1, -1))


def reduce_contrast(images: torch.Tensor, factor: float, seeds: Sequence[int]) -> torch.Tensor:
    """Multiply each grey value's distance to the image's mean by `factor`."""
    # In double precision the order of summation, which follows the batch, leaves no trace in the result.
    mean = images.mean((1, 2, 3), dtype=torch.float64, keepdim=True).float()
    return (images - mean).mul_(factor).add_(mean)


def apply_gamma(images: torch.Tensor, gamma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Raise each grey value to the power `gamma`."""
    if images.device.type != "cpu":
        return images**gamma
    return torch.from_numpy(np.power(np.ascontiguousarray(images.numpy()), np.float32(gamma)))


def _exponential(values: torch.Tensor) -> torch.Tensor:
    # NumPy, since torch computes the last few elements of a tensor by another function than the rest, so that
    # the last bit would depend on an image's place in its batch.
    if values.device.type != "cpu":
        return values.exp()
    return torch.from_numpy(np.exp(values.numpy()))
