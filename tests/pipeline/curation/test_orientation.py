"""Orientations: pixels, spectra, sides and coordinates all turn the same way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from pipeline.curation.orientation import (
    INVERSES,
    ORIENTATIONS,
    compose,
    flatten,
    invert,
    name_orientation,
    orient,
    turn,
    turn_sides,
    turn_spectra,
    unflatten,
)

ALL = range(ORIENTATIONS)
STACK = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)


def test_mirror_comes_first_and_turns_are_counter_clockwise():
    corner = np.zeros((4, 4), np.float32)
    corner[0, 3] = 1  # top right
    assert turn(corner, 1)[0, 0] == 1
    assert turn(corner, 2)[0, 0] == 1, "a quarter turn counter-clockwise takes the top right to the top left"
    assert turn(corner, 3)[3, 0] == 1, "mirrored to the top left, then turned to the bottom left"
    assert (turn(corner, 5) == corner[::-1]).all(), "mirrored and turned by 180 degrees is upside down"


@pytest.mark.parametrize("orientation", ALL)
def test_transform_takes_each_pixel_to_where_it_is_seen(orientation):
    turned, matrix = turn(STACK, orientation), orient(orientation)
    for row, column in ((0, 0), (3, 11), (15, 2)):
        x, y = matrix[:, :2] @ [(column + 0.5) / 16, (row + 0.5) / 16] + matrix[:, 2]
        assert turned[0, int(y * 16), int(x * 16)] == STACK[0, row, column]


@pytest.mark.parametrize("orientation", ALL)
def test_spectra_turn_like_pixels(orientation):
    spectra = dctn(STACK, axes=(1, 2)).astype(np.float32)
    expected = dctn(turn(STACK, orientation), axes=(1, 2))
    np.testing.assert_allclose(turn_spectra(spectra, orientation), expected, atol=1e-3)


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("orientation", ALL)
def test_sides_turn_like_pixels(orientation, side):
    frame = np.zeros((4, 4), np.float32)
    (frame[:, 0], frame[0], frame[:, -1], frame[-1])[side][:] = 1
    seen = turn(frame, orientation)
    expected = [seen[:, 0].all(), seen[0].all(), seen[:, -1].all(), seen[-1].all()]
    assert turn_sides(np.arange(4) == side, orientation).tolist() == expected


@pytest.mark.parametrize("orientation", ALL)
def test_inverse_orientation_undoes(orientation):
    assert (turn(turn(STACK, orientation), int(INVERSES[orientation])) == STACK).all()
    np.testing.assert_allclose(invert(orient(orientation)), orient(int(INVERSES[orientation])), atol=1e-12)


@given(st.sampled_from(ALL), st.floats(-30, 30), st.floats(0.7, 1.4), st.floats(0.7, 1.4))
def test_orientation_is_read_off_a_transform(orientation, degrees, wide, tall):
    angle = np.deg2rad(degrees)
    spin = np.array([[np.cos(angle), np.sin(angle), 0.1], [-np.sin(angle), np.cos(angle), -0.05]])
    stretch = np.array([[wide, 0, 0], [0, tall, 0.02]])
    found = name_orientation(compose(stretch, compose(spin, orient(orientation))))
    assert found == (bool(orientation & 1), 90 * (orientation >> 1))


@given(st.lists(st.floats(-0.3, 0.3), min_size=12, max_size=12))
def test_composition_applies_the_second_first(numbers):
    one, other = np.eye(2, 3) + np.array(numbers).reshape(2, 2, 3)
    point = np.array([0.3, 0.8])
    via = other[:, :2] @ point + other[:, 2]
    both = compose(one, other)
    np.testing.assert_allclose(both[:, :2] @ point + both[:, 2], one[:, :2] @ via + one[:, 2], atol=1e-9)
    np.testing.assert_allclose(compose(invert(one), one), np.eye(2, 3), atol=1e-9)


def test_six_numbers_have_no_negative_zero_and_come_back():
    numbers = flatten(np.array([[1.0, -1e-9, 0.25], [0.0, 1.0, 1 / 3]]))
    assert numbers == [1.0, 0.0, 0.25, 0.0, 1.0, 0.333333]
    assert not any(np.signbit(numbers))
    assert unflatten(numbers).shape == (2, 3)
