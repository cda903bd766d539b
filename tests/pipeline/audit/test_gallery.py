"""Pairs laid over each other: the transform brings the second onto the first, whatever was done to it."""

import base64
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pages.gallery import Gallery, differ, lay_over


def test_identity_changes_nothing(kit):
    pixels = kit.paint("one")
    np.testing.assert_array_equal(lay_over(pixels, kit.upright), pixels)
    assert differ(pixels, pixels).max() == 0


def test_mirror_is_undone(kit):
    pixels = kit.paint("one")
    np.testing.assert_array_equal(lay_over(np.ascontiguousarray(pixels[:, ::-1]), kit.mirror), pixels)


@pytest.mark.parametrize(
    ("turns", "transform"),
    [(1, [0, 1, 0, -1, 0, 1]), (2, [-1, 0, 1, 0, -1, 1]), (3, [0, -1, 1, 1, 0, 0])],
)
def test_quarter_turns_are_undone(kit, turns, transform):
    """Counter-clockwise as in the schema: a point (x, y) then lies at (y, 1 − x)."""
    pixels = kit.paint("one")
    np.testing.assert_array_equal(lay_over(np.ascontiguousarray(np.rot90(pixels, turns)), transform), pixels)


@settings(max_examples=25, deadline=None)
@given(st.floats(-15, 15), st.floats(0.8, 1.25), st.booleans())
def test_rotation_and_scale_are_undone(angle, scale, mirrored):
    row, column = np.mgrid[0:128, 0:128]
    pixels = np.clip(255 * np.exp(-(((row - 50) / 22) ** 2) - ((column - 76) / 12) ** 2), 0, 255).astype(
        np.uint8
    )
    turn = cv2.getRotationMatrix2D((0.5, 0.5), angle, scale)
    matrix = np.vstack([turn, [0, 0, 1]]) @ (
        np.diag([-1, 1, 1]) + np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]]) if mirrored else np.eye(3)
    )
    size = np.diag([128, 128, 1])
    centre = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    moved = cv2.warpAffine(pixels, (centre @ size @ matrix @ np.linalg.inv(centre @ size))[:2], (128, 128))
    laid = lay_over(moved, matrix[:2].ravel())
    assert np.abs(laid.astype(int) - pixels)[20:108, 20:108].max() < 12


def test_brightness_is_taken_out(kit):
    pixels = kit.paint("one")
    darker = (pixels * 0.5 + 20).astype(np.uint8)
    assert differ(pixels, darker).max() <= 4
    assert differ(pixels, kit.paint("two")).max() > 100
    assert differ(pixels, np.zeros_like(pixels)).dtype == np.uint8


def test_between_goes_through_the_representative(kit):
    transforms = [kit.upright, kit.mirror, [0.8, 0.1, 0.05, -0.1, 0.8, 0.2]]
    pictures = pd.DataFrame({"image_id": ["a", "b", "c"], "transform": transforms})
    gallery = Gallery(pd.DataFrame({"image_id": [], "pixels": []}), pictures)
    assert gallery.between("a", "c") == pytest.approx(transforms[2])
    assert gallery.between("b", "a") == pytest.approx(kit.mirror)
    there, back = gallery.between("b", "c"), gallery.between("c", "b")
    point = np.array([0.3, 0.6, 1])
    moved = np.reshape(there, (2, 3)) @ point
    np.testing.assert_allclose(np.reshape(back, (2, 3)) @ [*moved, 1], point[:2], atol=1e-12)
    assert gallery.between("a", "elsewhere") is None


def test_flat_transform_is_no_comparison(kit):
    pictures = pd.DataFrame({"image_id": ["a", "b"], "transform": [[0.0] * 6, kit.upright]})
    assert Gallery(pd.DataFrame({"image_id": [], "pixels": []}), pictures).between("a", "b") is None


def size_of(figure):
    data = base64.b64decode(re.search(r"base64,([^\"]+)", figure).group(1))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).shape


def test_tiles_are_small_pictures(evidence, gallery):
    first, second = evidence.images["image_id"][:2]
    assert first in gallery
    assert size_of(gallery.tile(first, "x")) == (96, 96)
    assert size_of(gallery.pair(first, second, None, "x")) == (96, 194)
    assert size_of(gallery.pair(first, second, [1, 0, 0, 0, 1, 0], "x")) == (96, 390)
    assert size_of(gallery.boxed([(first, (0.5, 0.5, 0.2, 0.2))], "x")) == (96, 96)


def test_image_without_thumbnail_is_a_gap(evidence, gallery):
    known = evidence.images["image_id"].iloc[0]
    for figure in (
        gallery.tile("none", "a <b>"), gallery.tile(None, "a <b>"),
        gallery.pair(known, "none", None, "a <b>"), gallery.boxed([("none", (0, 0, 1, 1))], "a <b>"),
    ):  # fmt: skip
        assert "no picture" in figure
        assert "a &lt;b&gt;" in figure


def test_box_is_drawn_where_it_lies(evidence, gallery):
    image_id = evidence.images["image_id"].iloc[0]
    figure = gallery.boxed([(image_id, (0.25, 0.75, 0.2, 0.1))], "x")
    data = base64.b64decode(re.search(r"base64,([^\"]+)", figure).group(1))
    drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert drawn[67:78, 13:36].max() > 200
    assert np.median(drawn[67, 16:32]) > 200
