"""JPEG's loss on grey images without its files: cosine waves of 8 x 8 blocks, rounded by the standard table.

ITU-T T.81 (1992), annexes A.3 and K.1; qualities as the Independent JPEG Group's `jpeg_quality_scaling`
scales the table. Huffman coding loses nothing and is left out.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

_BLOCK = 8

# T.81, table K.1: luminance.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def compress(images: torch.Tensor, quality: float, seeds: Sequence[int]) -> torch.Tensor:
    """Round to 8 bits, encode as baseline JPEG of `quality` 1 to 100 and decode again."""
    height, width = images.shape[-2:]
    # A GPU may multiply float32 in TF32, whose 10 bits of mantissa change what is rounded how.
    dtype = torch.float32 if images.device.type == "cpu" else torch.float64
    waves, norms, table = (
        torch.from_numpy(part).to(images.device, dtype) for part in _find_tables(round(quality))
    )
    grey = _pad(images[:, 0].to(dtype).mul(255).round_().sub_(128))
    blocks = grey.view(len(grey), grey.shape[1] // _BLOCK, _BLOCK, grey.shape[2])
    sums = torch.matmul(waves, blocks).view(-1, _BLOCK) @ waves.T
    # The IJG's integer transform hands on eighths, so that values just short of a half round up with it.
    eighths = sums.view(len(grey), -1, _BLOCK, grey.shape[2] // _BLOCK, _BLOCK).mul_(8 * norms).round_()
    steps = _round_half_away(eighths.div_(8 * table))
    scaled = steps.mul_(table * norms).view(-1, _BLOCK) @ waves
    restored = torch.matmul(waves.T, scaled.view(blocks.shape)).view(grey.shape)
    levels = restored[:, :height, :width].add(128.5).floor_().clamp_(0, 255)
    return levels.div_(255).to(torch.float32)[:, None]


def scale_table(quality: int) -> NDArray[np.int64]:
    """The luminance table at a quality from 1 to 100, as `jpeg_set_quality` with forced baseline makes it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled: NDArray[np.int64] = ((_LUMINANCE * percent + 50) // 100).clip(1, 255)
    return scaled


@lru_cache(maxsize=32)
def _find_tables(quality: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Waves [8, 8], a row a frequency; what makes their products orthonormal [8, 1, 8]; the table [8, 1, 8].

    The waves are scaled to a largest value of 1. That of frequency 0 is then all ones: its sums are whole
    numbers, exact in any order of summation, and the many halves among them round as the standard says.
    """
    order = np.arange(_BLOCK)
    waves = np.cos(np.pi * np.outer(order, 2 * order + 1) / (2 * _BLOCK))
    norms = np.where(order == 0, np.sqrt(1 / _BLOCK), np.sqrt(2 / _BLOCK))
    products: NDArray[np.float64] = np.multiply.outer(norms, norms).reshape(_BLOCK, 1, _BLOCK)
    table = scale_table(quality).reshape(_BLOCK, 1, _BLOCK).astype(np.float64)
    return waves, products, table


def _round_half_away(values: torch.Tensor) -> torch.Tensor:
    return values.abs().add_(0.5).floor_().copysign_(values)


def _pad(planes: torch.Tensor) -> torch.Tensor:
    """Repeat the last row and column up to whole blocks, as encoders do."""
    down, across = (-side % _BLOCK for side in planes.shape[-2:])
    return torch.nn.functional.pad(planes, (0, across, 0, down), mode="replicate").contiguous()
