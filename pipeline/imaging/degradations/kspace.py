"""Faults of k-space, the plane of spatial frequencies that a scanner measures line by line.

Each fault is symmetric about the centre of k-space, so that a real image stays real; what is shown is its
magnitude, as scanners show it. That makes each a real operation on the image itself: a matrix along one
axis (ghosts), a wave (spike), a projection (truncation). No transform is taken, and the tests compare with
NumPy's.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.imaging.degradations.parameters import draw_parameters

# TorchIO's default range for the number of ghosts, both ends included.
_FEWEST_GHOSTS, _MOST_GHOSTS = 4, 10

# Waves across the picture: fewer look like shading, more like a grey veil at 64 pixels.
_FEWEST_WAVES, _MOST_WAVES = 8.0, 28.0
# Highest share of the sampling rate that a wave may have; from 0.5 on it would fold over.
_HIGHEST_RATE = 0.4


def add_ghosts(images: torch.Tensor, intensity: float, seeds: Sequence[int]) -> torch.Tensor:
    """Weaken every g-th line of k-space by the share `intensity`: g ghosts along an axis, drawn per image.

    TorchIO's model (Pérez-García et al. 2021): g from 4 to 10, the central line left as it is; beyond 1 the
    lines change sign.
    """
    draws = draw_parameters(seeds, 2)
    counts = _FEWEST_GHOSTS + (draws[:, 1] * (_MOST_GHOSTS + 1 - _FEWEST_GHOSTS)).astype(int)
    upright = draws[:, 0] < 0.5
    ghosted = torch.empty_like(images, memory_format=torch.contiguous_format)
    for chosen, turned in ((upright, False), (~upright, True)):
        rows = np.flatnonzero(chosen).tolist()
        planes = images[rows, 0].transpose(1, 2) if turned else images[rows, 0]
        combs = [_find_comb(int(count), planes.shape[1]) for count in counts[rows]]
        if rows:
            lines = torch.bmm(torch.from_numpy(np.stack(combs)).to(images.device), planes)
            changed = (planes - lines.mul_(intensity)).abs_()
            ghosted[rows, 0] = changed.transpose(1, 2) if turned else changed
    return ghosted


@lru_cache(maxsize=64)
def _find_comb(count: int, length: int) -> NDArray[np.float32]:
    """What lets through each `count`-th line of k-space except the central: float32 [length, length]."""
    frequencies = np.fft.fftfreq(length, 1 / length).round().astype(int)
    kept = (frequencies % count == 0) & (frequencies != 0)
    spectra = np.fft.fft(np.eye(length), axis=0) * kept[:, None]
    return np.fft.ifft(spectra, axis=0).real.astype(np.float32)


def add_spike(images: torch.Tensor, intensity: float, seeds: Sequence[int]) -> torch.Tensor:
    """Add a point of `intensity` times k-space's maximum at a place drawn per image: stripes all over.

    A spike and its mirror at ± (u, v) add the wave `intensity` · mean · cos(2π(u x / w + v y / h) + phase):
    the maximum of the k-space of an image without negative values is its sum, at the centre.
    """
    height, width = images.shape[-2:]
    down, across = _draw_waves(seeds, height, width, images.device)
    # In double precision the order of summation, which follows the batch, leaves no trace in the result.
    mean = images.mean((1, 2, 3), dtype=torch.float64, keepdim=True).float()
    # cos(a + b) = cos a cos b - sin a sin b, so that each wave needs height + width cosines.
    waves = down.real[:, None, :, None] * across.real[:, None, None, :]
    waves -= down.imag[:, None, :, None] * across.imag[:, None, None, :]
    return waves.mul_(mean * intensity).add_(images).abs_()


def _draw_waves(
    seeds: Sequence[int], height: int, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(i a) down the rows and exp(i b) along the columns: complex64 [n, height] and [n, width]."""
    draws = draw_parameters(seeds, 3)
    most = _HIGHEST_RATE * min(height, width)
    radius = np.minimum(_FEWEST_WAVES + (_MOST_WAVES - _FEWEST_WAVES) * draws[:, 0], most)
    angle, phase = np.pi * draws[:, 1], 2 * np.pi * draws[:, 2]
    # A measured point of k-space stands for a whole number of waves.
    waves_down, waves_across = np.rint(radius * np.sin(angle)), np.rint(radius * np.cos(angle))
    down = 2 * np.pi * waves_down[:, None] * np.arange(height) / height + phase[:, None]
    across = 2 * np.pi * waves_across[:, None] * np.arange(width) / width
    first, second = (torch.from_numpy(np.exp(1j * part).astype(np.complex64)) for part in (down, across))
    return first.to(device), second.to(device)


def truncate(images: torch.Tensor, share: float, seeds: Sequence[int]) -> torch.Tensor:
    """Keep the central `share` of k-space in both directions and fill the rest with zeros: edges ring."""
    if images.device.type != "cpu":
        return _project(images, share)
    # The last bits of a product follow its place in a batch, so each plane is a product of its own; they
    # follow the number of threads too, of which rounding from double precision leaves nothing.
    return torch.cat(
        [_project(plane.to(torch.float64), share).to(torch.float32) for plane in torch.split(images, 1)]
    )


def _project(images: torch.Tensor, share: float) -> torch.Tensor:
    down, across = (
        torch.from_numpy(_find_low_waves(share, side)).to(images.device, images.dtype)
        for side in images.shape[-2:]
    )
    coarse = down.T @ images @ across
    return (down @ coarse @ across.T).abs_()


@lru_cache(maxsize=64)
def _find_low_waves(share: float, length: int) -> NDArray[np.float64]:
    """Waves of at most `share` · length / 2 periods as an orthonormal basis: float64 [length, m], m odd."""
    angles = 2 * np.pi * np.outer(np.arange(length), np.arange(1, int(share * length / 2) + 1)) / length
    waves = [np.full((length, 1), np.sqrt(0.5)), np.cos(angles), np.sin(angles)]
    basis: NDArray[np.float64] = np.concatenate(waves, axis=1) * np.sqrt(2 / length)
    return basis
