"""Distortions: pixels, mask and transform of one distortion agree, for any of them, alone and combined."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phantoms.distortions import (
    IDENTITY,
    UNDISTORTED,
    Distortion,
    distort,
    join_transforms,
    map_picture,
    move_mask,
)

SIDE = 120
SIDES = st.tuples(*[st.integers(0, 10)] * 4)
DISTORTIONS = st.builds(
    Distortion,
    turn=st.sampled_from([0, 90, 180, 270]),
    angle=st.floats(-12, 12),
    crop=SIDES,
    border=SIDES,
    level=st.sampled_from([0, 255]),
    clip=st.sampled_from([0.0, 2.0]),
    blur=st.sampled_from([0.0, 1.0]),
)


def dot(x: float, y: float) -> np.ndarray:
    """A mask with one disc at a place given in fractions."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (round(x * SIDE - 0.5), round(y * SIDE - 0.5)), 3, 1, -1)
    return mask.astype(bool)


def find_dot(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return (columns.mean() + 0.5) / mask.shape[1], (rows.mean() + 0.5) / mask.shape[0]


@settings(max_examples=80, deadline=None)
@given(DISTORTIONS, st.booleans(), st.floats(0.35, 0.65), st.floats(0.35, 0.65))
def test_the_transform_says_where_the_pixels_went(distortion, mirror, x, y):
    mask = dot(x, y)
    a, b, c, d, e, f = map_picture(distortion, mirror=mirror, size=SIDE)
    moved = move_mask(mask[:, ::-1] if mirror else mask, distortion)
    x, y = find_dot(mask)
    assert find_dot(moved) == pytest.approx((a * x + b * y + c, d * x + e * y + f), abs=0.75 / SIDE)


@settings(max_examples=30, deadline=None)
@given(DISTORTIONS, DISTORTIONS, st.booleans())
def test_the_way_from_one_file_to_another_leads_there(first, second, mirror):
    one, other = (map_picture(distortion, mirror=mirror, size=SIDE) for distortion in (first, second))
    way = join_transforms(one, other)
    for x, y in ((0.2, 0.7), (0.5, 0.5)):
        a, b, c, d, e, f = one
        here = (a * x + b * y + c, d * x + e * y + f)
        a, b, c, d, e, f = way
        there = (a * here[0] + b * here[1] + c, d * here[0] + e * here[1] + f)
        a, b, c, d, e, f = other
        assert there == pytest.approx((a * x + b * y + c, d * x + e * y + f), abs=1e-6)
    assert join_transforms(one, one) == pytest.approx(IDENTITY, abs=1e-9)


def test_no_distortion_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE), np.uint8)
    assert np.array_equal(distort(pixels, UNDISTORTED), pixels)
    assert map_picture(UNDISTORTED, mirror=False, size=SIDE) == IDENTITY
    assert map_picture(UNDISTORTED, mirror=True, size=SIDE) == (-1, 0, 1, 0, 1, 0)


def test_a_quarter_turn_is_counter_clockwise():
    pixels = np.zeros((4, 4), np.uint8)
    pixels[1, 3] = 9
    assert distort(pixels, Distortion(turn=90))[0, 1] == 9
    assert distort(pixels, Distortion(turn=180))[2, 0] == 9


def test_crop_and_border_take_and_give_pixels():
    pixels = np.full((SIDE, SIDE), 100, np.uint8)
    assert distort(pixels, Distortion(crop=(1, 2, 3, 4))).shape == (SIDE - 6, SIDE - 4)
    framed = distort(pixels, Distortion(border=(1, 2, 3, 4), level=255))
    assert framed.shape == (SIDE + 6, SIDE + 4)
    assert (framed[:2] == 255).all()
    assert (framed[:, -3:] == 255).all()
    assert (framed[2:-4, 1:-3] == 100).all()


def test_filters_change_brightness_and_move_nothing():
    pixels = np.random.default_rng(1).integers(40, 90, (SIDE, SIDE), np.uint8)
    assert distort(pixels, Distortion(clip=3.0)).std() > 1.2 * pixels.std()
    assert distort(pixels, Distortion(blur=1.5)).std() < 0.5 * pixels.std()
    assert map_picture(Distortion(clip=3.0, blur=1.5), mirror=False, size=SIDE) == IDENTITY
