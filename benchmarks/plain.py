"""Degradations as people write them: one image at a time, Pillow where it has the filter, NumPy elsewhere.

The loop of `benchmarks.degrade`. Pillow's filters and its JPEG take 8-bit images: planes are converted there
and back, as scripts do.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Plane = NDArray[np.float32]
PlainLoop = Callable[[Plane, float, np.random.Generator], Plane]


def _to_pillow(plane: Plane) -> Image.Image:
    return Image.fromarray((plane * 255).astype(np.uint8))


def _to_plane(image: Image.Image) -> Plane:
    return np.asarray(image, np.float32) / np.float32(255)


def _add_noise(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    return plane + rng.normal(0, value, plane.shape).astype(np.float32)


def _add_rician(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    return np.hypot(_add_noise(plane, value, rng), rng.normal(0, value, plane.shape).astype(np.float32))


def _blur(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    radius = value * plane.shape[1] / 224
    return _to_plane(_to_pillow(plane).filter(ImageFilter.GaussianBlur(radius)))


def _smear(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    length, angle = round(value * plane.shape[1] / 224), rng.uniform(0, np.pi)
    total = np.zeros_like(plane)
    for place in np.arange(length) - (length - 1) / 2:
        down, across = round(place * math.sin(angle)), round(place * math.cos(angle))
        total += np.roll(plane, (down, across), (0, 1))
    return total / np.float32(max(1, length))


def _ghost(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    spectrum, axis, count = np.fft.fft2(plane), rng.integers(2), rng.integers(4, 11)
    lines = np.fft.fftfreq(plane.shape[axis], 1 / plane.shape[axis]).round()
    gain = np.where((lines % count == 0) & (lines != 0), 1 - value, 1)
    return np.abs(np.fft.ifft2(spectrum * np.expand_dims(gain, 1 - axis))).astype(np.float32)


def _spike(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    spectrum = np.fft.fft2(plane)
    down, across = rng.integers(4, 20, 2)
    for place in ((down, across), (-down, -across)):
        spectrum[place] += value / 2 * np.abs(spectrum[0, 0])
    return np.abs(np.fft.ifft2(spectrum)).astype(np.float32)


def _truncate(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    down, across = (np.abs(np.fft.fftfreq(side, 1 / side)) <= value * side / 2 for side in plane.shape)
    return np.abs(np.fft.ifft2(np.fft.fft2(plane) * (down[:, None] & across))).astype(np.float32)


def _shade(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    places = (np.linspace(-1, 1, side) for side in plane.shape)
    field = np.polynomial.polynomial.polygrid2d(*places, rng.uniform(-1, 1, (4, 4)))
    field = np.exp((field - field.max()) * math.log(value) / np.ptp(field)) * plane
    return (field * plane.mean() / field.mean()).astype(np.float32)


def _resample(plane: Plane, down: float, across: float) -> Plane:
    height, width = plane.shape
    image = Image.fromarray(plane)
    small = image.resize((round(width / across), round(height / down)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def _coarsen(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    return _resample(plane, value, value)


def _coarsen_one_axis(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    return _resample(plane, *((value, 1) if rng.random() < 0.5 else (1, value)))


def _flatten(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    mean = plane.mean()
    return mean + (plane - mean) * np.float32(value)


def _bend(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    return plane ** np.float32(value)


def _encode(plane: Plane, value: float, rng: np.random.Generator) -> Plane:
    file = io.BytesIO()
    _to_pillow(plane).save(file, "JPEG", quality=round(value))
    return _to_plane(Image.open(file))


LOOPS: dict[str, PlainLoop] = {
    "gaussian_noise": _add_noise,
    "rician_noise": _add_rician,
    "gaussian_blur": _blur,
    "motion_blur": _smear,
    "motion_ghosting": _ghost,
    "kspace_spike": _spike,
    "gibbs_ringing": _truncate,
    "bias_field": _shade,
    "downsampling": _coarsen,
    "anisotropic_resolution": _coarsen_one_axis,
    "contrast_down": _flatten,
    "gamma_up": _bend,
    "gamma_down": _bend,
    "jpeg": _encode,
}
