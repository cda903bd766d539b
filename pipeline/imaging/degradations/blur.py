"""Blur: out of focus in all directions, or smeared along one."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.imaging.degradations.parameters import STATED_WIDTH, draw_parameters
from pipeline.imaging.degradations.separable import Plane, filter_planes

# Points on the line a pixel of its length: the kernel then errs by less than 1e-4 of its sum.
_POINTS_A_PIXEL = 16


def blur(images: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
    """Convolve with a Gaussian of `sigma` pixels at 224 pixels width, cut at 4 sigma, edges mirrored."""
    return filter_planes(images, blur_plane, sigma * images.shape[-1] / STATED_WIDTH)


def blur_plane(plane: Plane, sigma: float, target: Plane) -> None:
    """Gaussian blur of one plane; `sigma` in its own pixels."""
    cv2.GaussianBlur(plane, (0, 0), sigma, dst=target)


def blur_along_line(images: torch.Tensor, length: float, seeds: Sequence[int]) -> torch.Tensor:
    """Average along a line of `length` pixels at 224 pixels width, at an angle drawn per image."""
    angles = np.pi * draw_parameters(seeds, 1)[:, 0]
    kernels = draw_lines(length * images.shape[-1] / STATED_WIDTH, angles)
    if images.device.type != "cpu":
        return convolve_each(images, torch.from_numpy(kernels).to(images.device))
    blurred = torch.empty(images.shape)
    for source, kernel, target in zip(images.numpy()[:, 0], kernels, blurred.numpy()[:, 0], strict=True):
        plane, small = np.ascontiguousarray(source), cut_zeros(kernel)
        cv2.filter2D(plane, -1, small, dst=target, borderType=cv2.BORDER_REFLECT_101)
    return blurred


def cut_zeros(kernel: Plane) -> Plane:
    """The kernel without its outer rows and columns of zeros, as many on both sides: its centre stays.

    Below 130 elements OpenCV takes the few that are not zero one by one, beyond that a Fourier transform: a
    line of 10 pixels is seven times faster in its own frame.
    """
    middle = kernel.shape[0] // 2
    down, across = (int(np.abs(np.flatnonzero(kernel.any(axis)) - middle).max()) for axis in (1, 0))
    frame = kernel[middle - down : middle + down + 1, middle - across : middle + across + 1]
    return np.ascontiguousarray(frame)


def convolve_each(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Convolve each image [n, 1, h, w] with its own symmetric kernel [n, k, k], edges mirrored."""
    radius = kernels.shape[-1] // 2
    padded = torch.nn.functional.pad(images, (radius, radius, radius, radius), mode="reflect")
    return torch.nn.functional.conv2d(padded.transpose(0, 1), kernels[:, None], groups=len(images)).transpose(
        0, 1
    )


def draw_lines(length: float, angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Kernels that average evenly along lines through their centre.

    Args:
        length: of the lines, pixels of the image.
        angles: radians, from the axis of columns towards that of rows: float64 [n].

    Returns:
        float32 [n, k, k], k odd, each of sum 1; a point between pixels counts for its four neighbours by
        bilinear weights.
    """
    radius = int(np.ceil(length / 2)) + 1
    count = max(2, int(np.ceil(length * _POINTS_A_PIXEL)))
    places = ((np.arange(count) + 0.5) / count - 0.5) * length
    across, down = np.cos(angles)[:, None] * places + radius, np.sin(angles)[:, None] * places + radius
    left, top = np.floor(across).astype(int), np.floor(down).astype(int)
    kernels = np.zeros((len(angles), 2 * radius + 1, 2 * radius + 1))
    number = np.arange(len(angles))[:, None]
    for step_down in (0, 1):
        for step_across in (0, 1):
            weight = (1 - np.abs(down - top - step_down)) * (1 - np.abs(across - left - step_across))
            np.add.at(kernels, (number, top + step_down, left + step_across), weight / count)
    return kernels.astype(np.float32)
