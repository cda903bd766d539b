"""Levels: the local normalisation by matrices is that by filters, and nothing depends on company."""

import numpy as np
import pytest
from painted_heads import paint_head, shrink

from pipeline.curation.levels import Level, Views, make_blur
from pipeline.curation.scores import blur_image, normalise_locally
from pipeline.curation.thumbnails import halve

PIXELS = np.stack([shrink(paint_head(k)) for k in range(4)])


@pytest.mark.parametrize(("side", "sigma"), [(32, 4.0), (64, 1.5), (64, 3.0)])
def test_blur_is_the_gaussian_filter(side, sigma):
    image = np.random.default_rng(1).normal(size=(side, side)).astype(np.float32)
    matrix = make_blur(side, sigma)
    assert np.abs(matrix @ image @ matrix.T - blur_image(image, sigma)).max() < 1e-4


@pytest.mark.parametrize("level", [Level(32, 4.0, 1.0), Level(64, 2.0), Level(128, 4.0)])
def test_normalised_as_by_filters(level):
    image = PIXELS[0].astype(np.float32)
    while image.shape[0] > level.side:
        image = halve(image)
    expected = normalise_locally(image, level.sigma)
    expected = blur_image(expected, level.blur) if level.blur else expected
    assert np.abs(Views(PIXELS).show(level, np.array([0]))[0] - expected).max() < 1e-3


def test_views_are_the_same_whenever_they_are_made():
    level = Level(64, 2.0, 1.0)
    whole = Views(PIXELS).show(level, np.arange(4))
    views = Views(PIXELS)
    for rows in ([2], [3, 2, 2], [0, 1, 2, 3]):
        assert (views.show(level, np.array(rows))[rows] == whole[rows]).all()
    assert (views.show(level, np.empty(0, np.intp)) == whole).all()
