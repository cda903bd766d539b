"""From a painted head to the pixels that a scanner and its operator would have stored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phantoms.anatomy import Head, measure_surfaces
from pipeline.phantoms.geometry import View, lay_points, place_pixels
from pipeline.phantoms.textures import Field
from pipeline.phantoms.tissues import Sequence, paint_head
from pipeline.phantoms.tumours import Tumour, paint_tumour, push_points

SIZE = 224

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scan:
    """How one examination was taken: the same for all its slices.

    Args:
        contrast: exponent of the brightness curve; gain: brightness of the brightest tissue.
        bias: strength of the slow shading, and `bias_at` its direction in radians.
        noise: deviation of the noise, share of full brightness; blur: in pixels.
    """

    sequence: Sequence
    contrast: float
    gain: float
    bias: float
    bias_at: float
    noise: float
    blur: float


def draw_scan(sequence: Sequence, rng: np.random.Generator) -> Scan:
    """Settings of an examination, drawn anew."""
    return Scan(
        sequence=sequence,
        contrast=rng.uniform(0.85, 1.2),
        gain=rng.uniform(0.70, 1.05),
        bias=rng.uniform(0.03, 0.25),
        bias_at=rng.uniform(0, 2 * np.pi),
        noise=rng.uniform(0.006, 0.022),
        blur=rng.uniform(0.5, 0.9),
    )


@dataclass(frozen=True)
class Exposure:
    """A rendered slice: pixels uint8, mask bool, both [SIZE, SIZE]; the tumour's box or None.

    The box is (centre x, centre y, width, height) as fractions of the picture.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: Box | None


def expose_slice(head: Head, tumour: Tumour | None, scan: Scan, view: View, seed: int) -> Exposure:
    """Render one slice; a function of its arguments alone, `seed` draws the noise."""
    across, up = place_pixels(view, SIZE)
    points = lay_points(view, across, up)
    surfaces = measure_surfaces(head, view, push_points(points, tumour))
    canvas = paint_head(head, surfaces, scan.sequence)
    mask = np.zeros((SIZE, SIZE), bool)
    if tumour is not None:
        mask = paint_tumour(canvas, tumour, surfaces, points) > 0.5
    pixels = _develop(canvas.image, scan, np.random.default_rng(seed))
    return Exposure(pixels, mask, find_box(mask))


def find_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around a mask [height, width], as fractions; None where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (
        float((left + right) / 2 / width),
        float((top + bottom) / 2 / height),
        float((right - left) / width),
        float((bottom - top) / height),
    )


def _develop(image: Field, scan: Scan, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shading, blur, Rician noise, brightness curve, eight bits."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    across, down = np.float32(np.cos(scan.bias_at)), np.float32(np.sin(scan.bias_at))
    shading = 1 + np.float32(scan.bias) * (axis[None, :] * across + axis[:, None] * down)
    shaded = np.asarray(cv2.GaussianBlur(np.clip(image, 0, 1.2), (0, 0), scan.blur), np.float32) * shading
    real, imaginary = rng.standard_normal((2, SIZE, SIZE), np.float32) * np.float32(scan.noise)
    magnitude = np.sqrt(np.square(shaded + real) + np.square(imaginary))
    bright = np.power(magnitude, np.float32(scan.contrast)) * np.float32(scan.gain)
    return np.asarray(np.clip(bright * 255 + 0.5, 0, 255), np.uint8)
