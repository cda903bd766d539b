"""Statistics of thumbnails: known values on made pictures, whatever the frame."""

import cv2
import numpy as np
import pytest

from pipeline.curation.textures import (
    FLAT_DARK,
    LINE_LENGTH,
    Texture,
    bound_coarseness,
    count_lines,
    find_levels,
    measure_coarseness,
)
from pipeline.imaging.decode import resize_grey

GRADIENT = np.tile(np.arange(128, dtype=np.uint8), (128, 1))


@pytest.mark.parametrize("source", [64, 128, 256])
def test_white_noise_loses_half_of_its_contrast_at_some_scale(source):
    noise = np.random.default_rng(source).integers(0, 256, (source, source)).astype(np.uint8)
    assert measure_coarseness(resize_grey(noise, 128)) < 0.62


def test_smooth_pictures_keep_their_contrast_and_even_ones_have_none_to_lose():
    assert measure_coarseness(GRADIENT) > 0.99
    assert measure_coarseness(np.full((128, 128), 9, np.uint8)) == 1.0


def test_lines_are_long_straight_and_off_the_rim():
    pixels = np.zeros((128, 128), np.uint8)
    assert count_lines(pixels) == 0
    pixels[40:44, 20 : 20 + LINE_LENGTH] = 200  # a bar: an edge above and one below
    assert count_lines(pixels) == 2
    assert count_lines(np.rot90(pixels)) == 2
    pixels[40:44, 20] = 0  # one pixel too short
    assert count_lines(pixels) == 0
    framed = np.zeros((128, 128), np.uint8)
    framed[3:-3, 3:-3] = 200
    assert count_lines(framed) == 0


def test_a_slanted_edge_is_no_line():
    assert count_lines(np.triu(np.full((128, 128), 200, np.uint8))) == 0


def test_even_areas_are_counted_by_their_level():
    dark, grey, light = (Texture(np.full((128, 128), level, np.uint8)) for level in (5, 100, 240))
    assert (dark.flat, grey.flat, light.flat) == (0.0, 1.0, 1.0)
    assert (dark.light, grey.light, light.light) == (0.0, 0.0, 1.0)
    assert (dark.border, grey.border, light.border) == (0.0, 1.0, 1.0)
    assert FLAT_DARK > 5


def test_a_white_frame_is_no_light_area():
    framed = np.full((128, 128), 255, np.uint8)
    framed[12:-12, 12:-12] = GRADIENT[12:-12, 12:-12]
    assert Texture(framed).light == 0.0


def test_a_frame_does_not_hide_noise_nor_make_it():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (128, 128)).astype(np.uint8)
    thin = GRADIENT.copy()
    thin[:4] = thin[-4:] = thin[:, :4] = thin[:, -4:] = 255
    assert Texture(noise).coarse < 0.62 < Texture(thin).coarse


def test_levels_are_percentiles():
    assert find_levels(GRADIENT, (0.01, 0.5, 0.99)) == [1, 63, 126]
    assert Texture(GRADIENT).extent == 125.0


@pytest.mark.parametrize("contrast", [1, 3, 40])
def test_the_quick_bound_lies_below_the_coarseness_and_decides_alike(contrast):
    rng = np.random.default_rng(contrast)
    for smooth in (0.3, 0.6, 1.0, 3.0):
        drawn = cv2.GaussianBlur(rng.normal(0, 1, (128, 128)), (0, 0), smooth)
        pixels = np.clip(120 + contrast * drawn / drawn.std(), 0, 255).astype(np.uint8)
        assert bound_coarseness(pixels) <= measure_coarseness(pixels)
        assert Texture(pixels).is_coarse(0.62) == (Texture(pixels).coarse > 0.62)
