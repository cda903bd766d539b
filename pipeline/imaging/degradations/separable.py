"""Linear filters that treat rows and columns alike: OpenCV on the CPU, matrix products elsewhere.

Both ways are one definition: the matrix is what the OpenCV filter makes of each unit impulse.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]

PlaneFilter: TypeAlias = Callable[[Plane, float, Plane], None]
"""Writes what it makes of a plane into another; both are contiguous. Linear and separable."""


def filter_planes(images: torch.Tensor, plane_filter: PlaneFilter, value: float) -> torch.Tensor:
    """Filter float32 [n, 1, h, w]; a new tensor of the same shape on the same device."""
    if images.device.type != "cpu":
        return filter_by_matrix(images, plane_filter, value)
    filtered = torch.empty(images.shape)
    for source, target in zip(images.numpy()[:, 0], filtered.numpy()[:, 0], strict=True):
        plane_filter(np.ascontiguousarray(source), value, target)
    return filtered


def filter_by_matrix(images: torch.Tensor, plane_filter: PlaneFilter, value: float) -> torch.Tensor:
    """The same by two matrix products for the whole batch, on any device.

    Where TF32 is switched on they err by less than half a grey level.
    """
    rows, columns = (matrix_of(plane_filter, value, side, images.device) for side in images.shape[-2:])
    return rows @ images @ columns.T


def matrix_of(
    plane_filter: PlaneFilter, value: float, length: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """What the filter does to an axis of `length` pixels: float32 [length, length], columns in."""
    return torch.from_numpy(_find_matrix(plane_filter, value, length)).to(device)


@lru_cache(maxsize=64)
def _find_matrix(plane_filter: PlaneFilter, value: float, length: int) -> Plane:
    matrix = np.empty((length, length), np.float32)
    column = np.empty((length, 1), np.float32)
    for place in range(length):
        impulse = np.zeros((length, 1), np.float32)
        impulse[place] = 1
        plane_filter(impulse, value, column)
        matrix[:, place] = column[:, 0]
    return matrix
