"""Degradations of grey images: batched, seeded per image, the same function for variants and for training.

A kind is a function `(images, value, seeds) -> images` in `DEGRADERS`; its numbers and their sources stand in
`catalog/degradations.yaml`. On the CPU filters run image by image in OpenCV, elsewhere as batched tensor
operations that are built from the same OpenCV filters; noise is the same code on every device.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.catalog import Degradation
from pipeline.errors import CatalogError
from pipeline.imaging.draws import draw_normals

Plane: TypeAlias = NDArray[np.float32]
Degrader: TypeAlias = Callable[[torch.Tensor, float, Sequence[int]], torch.Tensor]

# Severities that are lengths in pixels are stated at this width and scale with the image's.
STATED_WIDTH = 224


def degrade(
    images: torch.Tensor, degradation: Degradation, severity: int, seeds: Sequence[int]
) -> torch.Tensor:
    """Degrade a batch of images, each with its own draw.

    Args:
        images: float32 [n, 1, h, w] in [0, 1], on any device; left as it is.
        degradation: kind and severities, from the catalog.
        severity: 0 (identity, bit for bit) to 5 (severe).
        seeds: one a image; kinds without chance ignore them.

    Returns:
        A new float32 tensor [n, 1, h, w] in [0, 1] on the same device: a function of (image, seed) alone.
        On the CPU the bits depend on neither batch composition nor thread count.

    Raises:
        CatalogError: the degradation's name is no kind that Falx has code for.
        ValueError: another shape, type, severity or number of seeds.
    """
    if degradation.name not in DEGRADERS:
        raise CatalogError(
            [f"degradations.yaml: {degradation.name}: no such kind; known: {', '.join(sorted(DEGRADERS))}"]
        )
    _check_batch(images, severity, seeds)
    if severity == 0 or not len(images):
        return images.clone()
    value = degradation.severities[severity - 1]
    # Mixed precision would run the filters' products in 8 bits of mantissa.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        return DEGRADERS[degradation.name](images, value, seeds).clamp_(0, 1)


def add_gaussian_noise(images: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Add white noise of standard deviation `sigma`, a share of the grey range."""
    height, width = images.shape[-2:]
    return draw_normals(seeds, height, width, device=images.device).mul_(sigma).add_(images)


def blur(images: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Convolve with a Gaussian of `sigma` pixels at 224 pixels width, cut at 4 sigma, edges mirrored."""
    return _filter_planes(images, "blur", sigma * images.shape[-1] / STATED_WIDTH)


def downsample(images: torch.Tensor, factor: float, seeds: Sequence[int]) -> torch.Tensor:
    """Average down to round(side / `factor`) pixels a side, then interpolate linearly back up."""
    return _filter_planes(images, "downsample", factor)


DEGRADERS: dict[str, Degrader] = {
    "gaussian_noise": add_gaussian_noise,
    "gaussian_blur": blur,
    "downsampling": downsample,
}


def _blur_plane(plane: Plane, sigma: float, target: Plane) -> None:
    cv2.GaussianBlur(plane, (0, 0), sigma, dst=target)


def _downsample_plane(plane: Plane, factor: float, target: Plane) -> None:
    height, width = plane.shape
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    coarse = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
    cv2.resize(coarse, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)


# A filter writes what it makes of a plane into another; both it and its target are contiguous.
_PLANE_FILTERS: dict[str, Callable[[Plane, float, Plane], None]] = {
    "blur": _blur_plane,
    "downsample": _downsample_plane,
}


def _filter_planes(images: torch.Tensor, name: str, value: float) -> torch.Tensor:
    if images.device.type != "cpu":
        return _filter_by_matrix(images, name, value)
    filtered = torch.empty(images.shape)
    for source, target in zip(images.numpy()[:, 0], filtered.numpy()[:, 0], strict=True):
        _PLANE_FILTERS[name](np.ascontiguousarray(source), value, target)
    return filtered


def _filter_by_matrix(images: torch.Tensor, name: str, value: float) -> torch.Tensor:
    # These filters are linear and separable: rows and columns are two matrix products for the whole batch.
    # Where TF32 is switched on they err by less than half a grey level.
    height, width = images.shape[-2:]
    rows = torch.from_numpy(_filter_matrix(name, value, height)).to(images.device)
    columns = torch.from_numpy(_filter_matrix(name, value, width)).to(images.device)
    return rows @ images @ columns.T


@lru_cache(maxsize=64)
def _filter_matrix(name: str, value: float, length: int) -> Plane:
    matrix = np.empty((length, length), np.float32)
    column = np.empty((length, 1), np.float32)
    for place in range(length):
        impulse = np.zeros((length, 1), np.float32)
        impulse[place] = 1
        _PLANE_FILTERS[name](impulse, value, column)
        matrix[:, place] = column[:, 0]
    return matrix


def _check_batch(images: torch.Tensor, severity: int, seeds: Sequence[int]) -> None:
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != torch.float32:
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}; float32 [n, 1, height, width] is needed"
        )
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} images but {len(seeds)} seeds; one each is needed")
    if not 0 <= severity <= 5:
        raise ValueError(f"severity is {severity}; allowed: 0 (identity) to 5")
