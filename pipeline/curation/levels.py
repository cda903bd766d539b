"""Thumbnails as the alignment sees them: made smaller, locally normalised, some blurred. By batches."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.curation.scores import FLOOR, normalise_locally
from pipeline.curation.thumbnails import SIDE, Floats, Pixels, halve

BLOCK = 64  # images at a time: what is worked on stays in the processor's cache


@dataclass(frozen=True)
class Level:
    """Side, window of the local normalisation, and blur after it (0: none), in pixels of that side."""

    side: int
    sigma: float
    blur: float = 0.0

    def show(self, images: Floats) -> Floats:
        """Grey images float32 [n, side, side] at this level: the same shape.

        What comes of one does not depend on the others. Up to 64 pixels a blur is two small matrix products,
        a tenth of the time of a filter.
        """
        if self.side == SIDE:
            return np.stack([normalise_locally(image, self.sigma) for image in images])
        high = images - _blur(images, self.sigma)
        deviation = np.sqrt(_blur(high * high, self.sigma))
        normal = np.asarray(high / (deviation + np.float32(FLOOR)), np.float32)
        return _blur(normal, self.blur) if self.blur else normal


class Views:
    """Thumbnails uint8 [n, 128, 128] at any level; each is made when it is first asked for."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._grey: dict[int, Floats] = {}
        self._shown: dict[Level, Floats] = {}
        self._made: dict[Level, npt.NDArray[np.bool_]] = {}

    def show(self, level: Level, rows: npt.NDArray[np.intp]) -> Floats:
        """All thumbnails at a level, float32 [n, side, side]; those of `rows` at least are made."""
        if level not in self._shown:
            self._shown[level] = np.empty((len(self.pixels), level.side, level.side), np.float32)
            self._made[level] = np.zeros(len(self.pixels), dtype=np.bool_)
        wanted = np.zeros(len(self.pixels), dtype=np.bool_)
        wanted[rows] = True
        missing = np.flatnonzero(wanted & ~self._made[level])
        for start in range(0, len(missing), BLOCK):
            part = missing[start : start + BLOCK]
            self._shown[level][part] = level.show(self._shrink(level.side, part))
        self._made[level][missing] = True
        return self._shown[level]

    def _shrink(self, side: int, rows: npt.NDArray[np.intp]) -> Floats:
        if side == SIDE:
            return self.pixels[rows].astype(np.float32)
        if side not in self._grey:
            images = halve(self.pixels)
            while images.shape[-1] > side:
                images = halve(images)
            self._grey[side] = images
        return self._grey[side][rows]


@cache
def make_blur(side: int, sigma: float) -> Floats:
    """A Gaussian blur along one axis of `side` pixels, mirrored at its ends, as a matrix [side, side].

    The kernel is OpenCV's for float images: eight sigma wide.
    """
    width = round(8 * sigma + 1) | 1
    kernel = cv2.getGaussianKernel(width, sigma, cv2.CV_64F).ravel()
    places = np.pad(np.arange(side), width // 2, mode="reflect")
    matrix = np.zeros((side, side))
    for row in range(side):
        np.add.at(matrix[row], places[row : row + width], kernel)
    return matrix.astype(np.float32)


def _blur(images: Floats, sigma: float) -> Floats:
    matrix = make_blur(images.shape[-1], sigma)
    return np.asarray(matrix @ images @ matrix.T, np.float32)
