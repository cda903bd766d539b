"""Boxes: mapped as pixels are mapped, tighter than a rotated rectangle, gone when the tumour is gone."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.curation.boxes import IDENTITY, compose, invert, map_box, read_transform
from pipeline.errors import TableError

BOX = (0.3, 0.4, 0.1, 0.2)
MIRROR = (-1.0, 0.0, 1.0, 0.0, 1.0, 0.0)
UPSIDE_DOWN = (1.0, 0.0, 0.0, 0.0, -1.0, 1.0)
SIDE = 400


def rotation(degrees, scale=1.0):
    """Counter-clockwise about the centre, y pointing down."""
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return (cosine, sine, 0.5 - (cosine + sine) / 2, -sine, cosine, 0.5 - (cosine - sine) / 2)


def crop(x, y, width):
    return (1 / width, 0.0, -x / width, 0.0, 1 / width, -y / width)


transforms = st.builds(
    lambda degrees, scale, mirrored, x, y: compose(
        compose(crop(x, y, 0.9), rotation(degrees, scale)), MIRROR if mirrored else IDENTITY
    ),
    st.floats(-180, 180),
    st.floats(0.5, 2),
    st.booleans(),
    st.floats(0, 0.1),
    st.floats(0, 0.1),
)


def warp(pixels, transform):
    """The picture after the transform, by OpenCV: pixel centres lie at (column + 0.5) / side."""
    a, b, c, d, e, f = transform
    side = len(pixels)
    matrix = np.array(
        [[a, b, c * side + (a + b - 1) / 2], [d, e, f * side + (d + e - 1) / 2]],
    )
    return cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_NEAREST)


def draw_ellipse(box):
    x, y, width, height = box
    row, column = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    inside = ((column - x) / (width / 2)) ** 2 + ((row - y) / (height / 2)) ** 2 <= 1
    return inside.astype(np.uint8)


def bound(pixels):
    rows, columns = np.nonzero(pixels)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return (
        (left + right) / 2 / SIDE, (top + bottom) / 2 / SIDE, (right - left) / SIDE, (bottom - top) / SIDE
    )  # fmt: skip


def overlap(one, other):
    shared = math.prod(
        max(0.0, min(one[k] + one[k + 2] / 2, other[k] + other[k + 2] / 2)
            - max(one[k] - one[k + 2] / 2, other[k] - other[k + 2] / 2))
        for k in (0, 1)
    )  # fmt: skip
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (IDENTITY, BOX),
        (MIRROR, (0.7, 0.4, 0.1, 0.2)),
        (UPSIDE_DOWN, (0.3, 0.6, 0.1, 0.2)),
        (rotation(90), (0.4, 0.7, 0.2, 0.1)),
        (rotation(180), (0.7, 0.6, 0.1, 0.2)),
        (rotation(270), (0.6, 0.3, 0.2, 0.1)),
        (compose(rotation(180), MIRROR), (0.3, 0.6, 0.1, 0.2)),
        (crop(0.2, 0.1, 0.5), (0.2, 0.6, 0.2, 0.4)),
        (rotation(0, 0.5), (0.4, 0.45, 0.05, 0.1)),
    ],
)
def test_mirror_turns_scale_and_crop_are_exact(transform, expected):
    assert map_box(BOX, transform) == pytest.approx(expected, abs=1e-6)


def test_a_counter_clockwise_turn_is_that_of_numpy():
    pixels = draw_ellipse(BOX)
    assert map_box(BOX, rotation(90)) == pytest.approx(bound(np.rot90(pixels)), abs=1 / SIDE)


@pytest.mark.parametrize(
    "transform",
    [
        rotation(15),
        rotation(-10, 1.2),
        compose(rotation(7), MIRROR),
        compose(crop(0.1, 0.05, 0.8), rotation(-12)),
    ],
)
def test_the_box_bounds_the_moved_pixels(transform):
    moved = bound(warp(draw_ellipse(BOX), transform))
    assert map_box(BOX, transform) == pytest.approx(moved, abs=2.5 / SIDE)


def test_the_box_of_the_ellipse_is_tighter_than_that_of_the_corners():
    rng = np.random.default_rng(0)
    ellipse, corners = [], []
    for _ in range(40):
        spokes = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        lobes = 1 + 0.18 * np.cos(3 * spokes + rng.uniform(0, 6)) + 0.1 * np.cos(5 * spokes)
        outline = (
            np.stack([np.cos(spokes), np.sin(spokes)], 1) * lobes[:, None] * rng.uniform(0.05, 0.15, 2) + 0.5
        )
        a, b, c, d, e, f = rotation(15)
        moved = outline @ np.array([[a, d], [b, e]]) + [c, f]
        old, true = (
            (*((points.min(0) + points.max(0)) / 2), *np.ptp(points, axis=0)) for points in (outline, moved)
        )
        x, y, w, h = old
        rectangle = (x, y, abs(a) * w + abs(b) * h, abs(d) * w + abs(e) * h)
        ellipse.append(overlap(map_box(old, rotation(15)), true))
        corners.append(overlap(rectangle, true))
    assert np.mean(ellipse) > 0.85
    assert np.mean(corners) < 0.70


@settings(deadline=None)
@given(transforms)
def test_there_and_back_is_the_identity(transform):
    assert compose(invert(transform), transform) == pytest.approx(IDENTITY, abs=1e-9)
    assert compose(transform, invert(transform)) == pytest.approx(IDENTITY, abs=1e-9)


@settings(deadline=None)
@given(transforms, transforms, st.floats(0, 1), st.floats(0, 1))
def test_composing_is_doing_one_after_the_other(first, second, x, y):
    def apply(transform, point):
        a, b, c, d, e, f = transform
        return (a * point[0] + b * point[1] + c, d * point[0] + e * point[1] + f)

    assert apply(compose(second, first), (x, y)) == pytest.approx(apply(second, apply(first, (x, y))))


@settings(deadline=None)
@given(transforms, st.tuples(*[st.floats(0.2, 0.8)] * 2, *[st.floats(0.02, 0.3)] * 2))
def test_a_box_lies_in_the_image(transform, box):
    mapped = map_box(box, transform)
    assume(mapped is not None)
    x, y, width, height = mapped
    assert width > 0
    assert height > 0
    assert x - width / 2 >= -1e-6
    assert x + width / 2 <= 1 + 1e-6
    assert y - height / 2 >= -1e-6
    assert y + height / 2 <= 1 + 1e-6


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0.30, (0.025, 0.4, 0.05, 0.2)),  # just half inside: kept, clipped
        (0.31, None),
        (0.50, None),
        (0.28, (0.035, 0.4, 0.07, 0.2)),
    ],
)
def test_a_box_that_is_mostly_outside_is_none(shift, expected):
    mapped = map_box(BOX, (1.0, 0.0, -shift, 0.0, 1.0, 0.0))
    assert mapped == (pytest.approx(expected, abs=1e-6) if expected else None)


def test_no_box_and_a_box_without_extent_stay_none():
    assert map_box(None, IDENTITY) is None
    assert map_box((0.5, 0.5, 0.0, 0.1), IDENTITY) is None


@pytest.mark.parametrize("values", [[1, 0, 0, 0, 1], [1, 0, 0, 0, 1, math.nan], [1, 0, 0, 0, math.inf, 0]])
def test_a_transform_has_six_finite_numbers(values):
    with pytest.raises(TableError, match="six finite numbers"):
        read_transform(values)


def test_a_transform_that_cannot_be_undone_is_refused():
    with pytest.raises(TableError, match="squeezes a picture to a line"):
        read_transform([1, 2, 0, 2, 4, 0])
