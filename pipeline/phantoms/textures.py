"""Smooth random fields in three dimensions, so that neighbouring slices of one head belong together."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.digests import seed_for

Field = NDArray[np.float32]

CELLS = 40
MARGIN = 3


@lru_cache(maxsize=8)
def open_volume(name: str) -> Field:
    """A periodic noise volume, float32 [CELLS, CELLS, CELLS], zero mean, unit deviation, band limited.

    White noise through a Gaussian band in the frequency domain (3 to 7 cycles a period), which leaves
    blobs of one size; the ridges of its zero crossings look like sulci. One volume a name, the same always.
    """
    noise = np.random.default_rng(seed_for("volume", name)).standard_normal((CELLS, CELLS, CELLS))
    frequency = np.fft.fftfreq(CELLS, 1 / CELLS)
    radius = np.sqrt(
        frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, :] ** 2
    )
    band = np.exp(-(((radius - 5.0) / 2.0) ** 2))
    volume = np.fft.ifftn(np.fft.fftn(noise) * band).real
    return np.asarray((volume - volume.mean()) / volume.std(), np.float32)


def sample_slab(name: str, depth: float, across: Field, down: Field) -> Field:
    """Noise on a flat slab through a volume.

    Args:
        name: which volume.
        depth: where the slab cuts the volume's first axis, in periods.
        across, down: [height, width], coordinates on the slab, in periods; any range, the noise repeats.

    Returns:
        float32 [height, width], about zero mean and unit deviation.
    """
    volume = open_volume(name)
    position = (depth % 1.0) * CELLS
    low = int(position) % CELLS
    share = np.float32(position - int(position))
    slab = volume[low] * (1 - share) + volume[(low + 1) % CELLS] * share
    # Half way between two cells the mean of both is flatter than either: give the deviation back.
    slab /= np.sqrt(share**2 + (1 - share) ** 2 + share * (1 - share) * np.float32(1.2))
    padded = np.pad(slab, MARGIN, mode="wrap")
    columns = (across - np.floor(across)) * np.float32(CELLS) + np.float32(MARGIN)
    rows = (down - np.floor(down)) * np.float32(CELLS) + np.float32(MARGIN)
    return np.asarray(cv2.remap(padded, columns, rows, cv2.INTER_CUBIC), np.float32)
