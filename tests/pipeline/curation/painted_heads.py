"""Painted heads with fine texture of their own, and what re-publishing does to them."""

import hashlib
from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

Pixels = npt.NDArray[np.uint8]

SIDE = 256


def paint_head(seed: int, slice_seed: int | None = None) -> Pixels:
    """A head, uint8 [256, 256]. Heads of one seed share skull and coarse anatomy, like adjacent slices."""
    coarse, fine = np.random.default_rng(seed), np.random.default_rng([seed, slice_seed or 0])
    wide, tall = coarse.uniform(0.6, 0.75), coarse.uniform(0.75, 0.88)
    row, column = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = np.sqrt((row / tall) ** 2 + (column / wide) ** 2)
    texture = 60 * grow(coarse, 7) + 26 * grow(fine, 20) + 18 * grow(fine, 45) + 8 * grow(fine, 110)
    brain = (90 + texture) * (radius < 0.9)
    skull = 170 * ((radius > 0.93) & (radius < 1))
    return np.clip(cv2.GaussianBlur(brain + skull, (0, 0), 0.8), 0, 255).astype(np.uint8)


def grow(rng: np.random.Generator, cells: int) -> npt.NDArray[np.float64]:
    """A smooth random field [256, 256] of about unit variance."""
    field = cv2.resize(rng.normal(size=(cells, cells)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / field.std())


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """Counter-clockwise, black corners."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)), np.uint8)


def crop(pixels: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    """Without these shares of the sides."""
    height, width = pixels.shape
    rows = slice(round(top * height), round((1 - bottom) * height))
    return np.ascontiguousarray(pixels[rows, round(left * width) : round((1 - right) * width)])


def pad(pixels: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    """With black borders of these shares of the sides."""
    height, width = pixels.shape
    widths = [round(share * side) for share, side in ((top, height), (bottom, height))]
    across = [round(share * width) for share in (left, right)]
    return np.pad(pixels, (widths, across))


def adjust(pixels: Pixels, gain: float = 1.0, gamma: float = 1.0) -> Pixels:
    """Brightness and gamma."""
    return np.clip(255 * (pixels / 255.0) ** gamma * gain, 0, 255).astype(np.uint8)


def equalise(pixels: Pixels) -> Pixels:
    """CLAHE."""
    return np.asarray(cv2.createCLAHE(2.0, (8, 8)).apply(pixels), np.uint8)


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def reencode(pixels: Pixels, side: int = 224, quality: int = 80) -> Pixels:
    """Re-scaled and through JPEG."""
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def shrink(pixels: Pixels) -> Pixels:
    """The thumbnail, uint8 [128, 128]."""
    return np.asarray(cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)


def name_image(text: str) -> str:
    """An image_id: an MD5 in hex."""
    return hashlib.md5(text.encode()).hexdigest()


def tabulate_thumbnails(stack: Mapping[str, Pixels]) -> pd.DataFrame:
    """Table `thumbnails` of named pictures of any size."""
    rows = [(name_image(name), shrink(pixels).tobytes()) for name, pixels in stack.items()]
    return pd.DataFrame(rows, columns=["image_id", "pixels"])


def tabulate_images(stack: Mapping[str, Pixels], owners: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table `images`, as far as the picture search reads it."""
    rows = [
        (name_image(name), (owners or {}).get(name, "kaggle_a"), f"{name}.jpg", "glioma") for name in stack
    ]
    return pd.DataFrame(rows, columns=["image_id", "collection", "path", "label"])
