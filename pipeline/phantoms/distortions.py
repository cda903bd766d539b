"""What makes a copy hard to find: quarter turns, small rotations, crops, borders, local contrast, blur."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Sides = tuple[int, int, int, int]
Transform = tuple[float, float, float, float, float, float]

IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MIRROR = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
# np.rot90: what lay to the right lies above.
QUARTER = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

Matrix = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Distortion:
    """Changes to a picture after it was mirrored or not, in the order of the fields.

    Args:
        turn: quarter turns counter-clockwise, in degrees: 0, 90, 180 or 270.
        angle: rotation about the centre, degrees counter-clockwise; the frame stays, its corners are black.
        crop: pixels cut off left, top, right and bottom, of the rendered picture.
        border: pixels added left, top, right and bottom, of the brightness `level`.
        clip: clip limit of contrast-limited adaptive histogram equalisation on 8 × 8 tiles; 0 for none.
        blur: deviation of a Gaussian, in pixels; 0 for none.
    """

    turn: int = 0
    angle: float = 0.0
    crop: Sides = (0, 0, 0, 0)
    border: Sides = (0, 0, 0, 0)
    level: int = 0
    clip: float = 0.0
    blur: float = 0.0


UNDISTORTED = Distortion()


def distort(pixels: Pixels, distortion: Distortion) -> Pixels:
    """A grey picture [height, width] after `distortion`; a function of both alone."""
    height, width = pixels.shape
    if distortion.turn:
        pixels = np.ascontiguousarray(np.rot90(pixels, distortion.turn // 90))
    if distortion.angle:
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, distortion.angle, 1.0)
        pixels = np.asarray(cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC), np.uint8)
    left, top, right, bottom = distortion.crop
    pixels = pixels[top : pixels.shape[0] - bottom, left : pixels.shape[1] - right]
    left, top, right, bottom = distortion.border
    pixels = np.pad(pixels, ((top, bottom), (left, right)), constant_values=distortion.level)
    if distortion.clip:
        clahe = cv2.createCLAHE(clipLimit=distortion.clip, tileGridSize=(8, 8))
        pixels = np.asarray(clahe.apply(pixels), np.uint8)
    if distortion.blur:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), distortion.blur), np.uint8)
    return pixels


def move_mask(mask: NDArray[np.bool_], distortion: Distortion) -> NDArray[np.bool_]:
    """A mask [height, width] as the distorted picture shows it: what moves pixels, and nothing else."""
    moved = distort(mask.astype(np.uint8) * np.uint8(255), replace(distortion, level=0, clip=0.0, blur=0.0))
    return np.asarray(moved > 127)


def map_picture(distortion: Distortion, *, mirror: bool, size: int) -> Transform:
    """Where a point of the rendered picture lies after mirroring and `distortion`.

    Returns:
        a … f: (x, y) goes to (ax + by + c, dx + ey + f), in fractions of width and height, y down.

    Args:
        size: side of the rendered picture, in pixels; crop and border are counted in them.
    """
    matrix = MIRROR if mirror else np.eye(3)
    for _ in range(distortion.turn // 90):
        matrix = QUARTER @ matrix
    matrix = _rotate(distortion.angle) @ matrix
    left, top, right, bottom = distortion.crop
    width, height = size - left - right, size - top - bottom
    matrix = _reframe((size, size), (width, height), (-left, -top)) @ matrix
    left, top, right, bottom = distortion.border
    wide, high = width + left + right, height + top + bottom
    matrix = _reframe((width, height), (wide, high), (left, top)) @ matrix
    a, b, c, d, e, f = (round(float(value), 9) for value in matrix[:2].ravel())
    return (a, b, c, d, e, f)


def join_transforms(first: Transform, second: Transform) -> Transform:
    """The way from the file that `first` leads to, to the one that `second` leads to."""
    matrix = _square(second) @ np.linalg.inv(_square(first))
    a, b, c, d, e, f = (float(value) for value in matrix[:2].ravel())
    return (a, b, c, d, e, f)


def _reframe(old: tuple[int, int], new: tuple[int, int], shift: tuple[int, int]) -> Matrix:
    """Fractions of a frame (width, height) as those of another, which shows it moved by `shift` pixels."""
    (width, height), (wide, high), (across, down) = old, new, shift
    return np.array([[width / wide, 0, across / wide], [0, height / high, down / high], [0, 0, 1]])


def _rotate(angle: float) -> Matrix:
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    turned = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    return np.asarray(middle @ turned @ np.linalg.inv(middle), np.float64)


def _square(transform: Transform) -> Matrix:
    return np.vstack([np.array(transform, np.float64).reshape(2, 3), [0.0, 0.0, 1.0]])
