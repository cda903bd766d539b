"""Resolution: fewer pixels in the plane, in both directions or in one."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from pipeline.imaging.degradations.parameters import draw_parameters
from pipeline.imaging.degradations.separable import Plane, filter_planes, matrix_of


def downsample(images: torch.Tensor, factor: float, seeds: Sequence[int]) -> torch.Tensor:
    """Average down to round(side / `factor`) pixels a side, then interpolate linearly back up."""
    return filter_planes(images, downsample_plane, factor)


def downsample_plane(plane: Plane, factor: float, target: Plane) -> None:
    """One plane down and back up in both directions."""
    _resample(plane, factor, factor, target)


def downsample_one_axis(images: torch.Tensor, factor: float, seeds: Sequence[int]) -> torch.Tensor:
    """Average down to round(side / `factor`) pixels along an axis drawn per image, then linearly back up."""
    upright = draw_parameters(seeds, 1)[:, 0] < 0.5
    if images.device.type != "cpu":
        return downsample_by_matrix(images, factor, torch.from_numpy(upright).to(images.device))
    coarse = torch.empty(images.shape)
    for source, rows, target in zip(images.numpy()[:, 0], upright, coarse.numpy()[:, 0], strict=True):
        _resample(np.ascontiguousarray(source), factor if rows else 1, 1 if rows else factor, target)
    return coarse


def downsample_by_matrix(images: torch.Tensor, factor: float, upright: torch.Tensor) -> torch.Tensor:
    """The same by matrix products on any device; `upright` bool [n]: fewer rows, else fewer columns."""
    rows, columns = (matrix_of(downsample_plane, factor, side, images.device) for side in images.shape[-2:])
    return torch.where(upright[:, None, None, None], rows @ images, images @ columns.T)


def _resample(plane: Plane, down: float, across: float, target: Plane) -> None:
    height, width = plane.shape
    small = (max(1, round(width / across)), max(1, round(height / down)))
    coarse = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
    cv2.resize(coarse, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
