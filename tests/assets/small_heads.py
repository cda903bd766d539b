"""Heads drawn for tests of assets: small, and told apart by content."""

import numpy as np
from scipy.ndimage import gaussian_filter


def draw_head(generator: np.random.Generator, size: int = 96) -> np.ndarray:
    """A bright oval of its own texture on black, uint8 [size, size]: enough to pass for a slice."""
    texture = gaussian_filter(generator.normal(0, 1, (size, size)), 2.5)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = (x / 0.75) ** 2 + (y / 0.85) ** 2 < 1
    grey = 110 + 45 * texture / texture.std() + 3 * generator.normal(0, 1, (size, size))
    return np.where(inside, grey, 2).clip(0, 255).astype(np.uint8)
