"""Grey values: uneven coils, and windows that are set too wide, too dark or too bright."""

from collections.abc import Sequence
from math import log

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.imaging.degradations.parameters import draw_parameters

# TorchIO's default order of the polynomial.
_ORDER = 3

# Points a side at which the field's range is sought: its logarithm is missed by less than 3 %.
_SEARCHED = 65

# Against a division by zero: a black image stays black.
_TINY = 1e-12


def shade(images: torch.Tensor, ratio: float, seeds: Sequence[int]) -> torch.Tensor:
    """Multiply by a smooth field, drawn per image: its largest gain is `ratio` times its smallest.

    The logarithm of the field is a polynomial of order 3 in x and y, each from -1 to 1, with coefficients
    drawn evenly from ± 1 as in TorchIO (after Van Leemput et al., IEEE TMI 18:885, 1999), then scaled. The
    ratio holds over the ellipse that fits into the picture, where heads lie; a corner may get more or less.
    The image keeps its mean grey value, as a window set by eye would keep it, and what that lifts beyond
    white is white.
    """
    coefficients = scale_polynomials(2 * draw_parameters(seeds, (_ORDER + 1) ** 2) - 1, log(ratio))
    rows, columns = (_find_powers(side) for side in images.shape[-2:])
    left = torch.from_numpy((rows @ coefficients).astype(np.float32))
    right = torch.from_numpy(columns.T.astype(np.float32)).expand(len(left), -1, -1)
    field = torch.bmm(left.to(images.device), right.to(images.device))
    shaded = _exponential(field)[:, None].mul_(images)
    before, after = (_find_means(planes) for planes in (images, shaded))
    return shaded.mul_(before / after.clamp_min(_TINY))


def scale_polynomials(draws: NDArray[np.float64], span: float) -> NDArray[np.float64]:
    """Polynomials from `-span` to 0 over the ellipse that fits into the picture.

    Args:
        draws: coefficients before scaling, float64 [n, 16]; those of other than orders 1 to 3 are left out.
        span: largest minus smallest value.

    Returns:
        float64 [n, 4, 4]; entry i, j belongs to y to the power i times x to the power j.
    """
    powers = np.arange(_ORDER + 1)
    degree = powers[:, None] + powers
    shapes = draws.reshape(-1, _ORDER + 1, _ORDER + 1) * ((degree > 0) & (degree <= _ORDER))
    places = _find_powers(_SEARCHED)
    values = (places @ shapes @ places.T)[:, np.add.outer(places[:, 2], places[:, 2]) <= 1]
    largest, smallest = values.max(1)[:, None, None], values.min(1)[:, None, None]
    scale = span / (largest - smallest)
    scaled: NDArray[np.float64] = shapes * scale - largest * scale * (degree == 0)
    return scaled


def _find_powers(side: int) -> NDArray[np.float64]:
    """Powers 0 to 3 of a coordinate from -1 to 1: float64 [side, 4]."""
    powers: NDArray[np.float64] = np.linspace(-1, 1, side)[:, None] ** np.arange(_ORDER + 1)
    return powers


def reduce_contrast(images: torch.Tensor, factor: float, seeds: Sequence[int]) -> torch.Tensor:
    """Multiply each grey value's distance to the image's mean by `factor`."""
    mean = _find_means(images)
    return (images - mean).mul_(factor).add_(mean)


def apply_gamma(images: torch.Tensor, gamma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Raise each grey value to the power `gamma`."""
    if images.device.type != "cpu":
        return images**gamma
    return torch.from_numpy(np.power(np.ascontiguousarray(images.numpy()), np.float32(gamma)))


def _find_means(images: torch.Tensor) -> torch.Tensor:
    # In double precision the order of summation, which follows the batch, leaves no trace in the result.
    return images.mean((1, 2, 3), dtype=torch.float64, keepdim=True).float()


def _exponential(values: torch.Tensor) -> torch.Tensor:
    # NumPy, since torch computes the last few elements of a tensor by another function than the rest, so that
    # the last bit would depend on an image's place in its batch.
    if values.device.type != "cpu":
        return values.exp()
    return torch.from_numpy(np.exp(values.numpy()))
