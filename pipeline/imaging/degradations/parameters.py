"""What is drawn once a image: axis, angle, place in k-space, shape of a field."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.draws import draw_uniforms

# Lengths in pixels are stated at this width and scale with the image's.
STATED_WIDTH = 224

# The augmentation draws from streams 1 and 2 of the same seeds, the noise from 0 and 4.
_STREAM = 3


def draw_parameters(seeds: Sequence[int], count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) a image: float64 [n, count], independent of its noise and augmentation."""
    return draw_uniforms(seeds, count, stream=_STREAM)
