"""JPEG against Pillow's encoder and decoder (libjpeg-turbo): the same tables, nearly the same pixels."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from pipeline.catalog import load_catalog
from pipeline.imaging.degradations.compression import compress, scale_table

JPEG = load_catalog().degradations["jpeg"]
SEVERITIES = (1, 2, 3, 4, 5)

Batches = Callable[..., torch.Tensor]
Levels = NDArray[np.int64]


def encode(plane: NDArray[np.uint8], quality: int) -> JpegImagePlugin.JpegImageFile:
    """A plane as Pillow's JPEG, opened."""
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG", quality=quality)
    opened = Image.open(file)
    assert isinstance(opened, JpegImagePlugin.JpegImageFile)
    return opened


@pytest.mark.parametrize("quality", [1, 7, 10, 15, 30, 49, 50, 51, 75, 95, 100])
def test_tables_are_those_of_pillow(quality: int) -> None:
    table = encode(np.zeros((8, 8), np.uint8), quality).quantization[0]
    assert scale_table(quality).ravel().tolist() == list(table)


def compare(levels: NDArray[np.uint8], quality: int) -> tuple[Levels, Levels]:
    """Grey levels that Pillow and we make of a batch of planes."""
    images = torch.from_numpy(levels).float().div(255)[:, None]
    found = compress(images, quality, [0] * len(images)).mul(255)
    assert (found - found.round()).abs().max() < 1e-4
    expected = np.stack([np.asarray(encode(plane, quality)) for plane in levels])
    return expected.astype(int), found.round().numpy()[:, 0].astype(int)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [64, 97, 224])
def test_pixels_are_those_of_pillow(severity: int, size: int, make_heads: Batches) -> None:
    # libjpeg-turbo transforms in integers of 13 bits: a coefficient within 1e-2 of a half may round the other
    # way there, which shows in its whole block. Elsewhere the results differ by one grey level at most.
    levels = np.asarray(make_heads(6, size))[:, : size - 3]
    expected, found = compare(levels, round(JPEG.severities[severity - 1]))
    difference = np.abs(found - expected)
    assert difference.mean() < 0.25
    assert (difference > 1).mean() < 0.05
    assert difference.mean() < 0.1 * np.abs(expected - levels).mean()


def test_flat_blocks_are_exactly_those_of_pillow() -> None:
    # Many of their coefficients are exact halves: at quality 50 those of every odd grey level.
    flat = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(8, 0).repeat(8, 1)[None]
    for quality in (50, 30, 15, 10, 7):
        expected, found = compare(flat, quality)
        assert np.array_equal(found, expected)
