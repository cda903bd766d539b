"""Rings around heads: bone of CT, fat of MR."""

import cv2
import numpy as np
import pytest

from pipeline.curation.skull import Ring, find_head, measure_ring

ROW, COLUMN = (np.mgrid[:128, :128] - 63.5) / 64
RADIUS = np.sqrt((ROW / 0.8) ** 2 + (COLUMN / 0.65) ** 2)


def finish(levels, seed=0):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(levels.astype(np.float32), (0, 0), 0.7)
    return np.clip(smooth + rng.normal(0, 2, smooth.shape) * (smooth > 5), 0, 255).astype(np.uint8)


def draw_ct(thickness=0.1):
    return finish(np.select([1 - thickness > RADIUS, RADIUS < 1], [105, 255], 0))


def draw_mr():
    """Bright scalp as a ridge, dark bone, brain."""
    ridge = 230 * np.exp(-(((RADIUS - 0.95) / 0.03) ** 2))
    return finish(np.where(RADIUS < 0.84, 110, ridge))


def test_bone_is_a_plateau_with_brain_right_inside():
    ring = measure_ring(draw_ct())
    assert ring.rays > 0.95
    assert ring.sharpness > 0.5
    assert ring.width == pytest.approx(0.1 * 0.72 * 64, abs=2)
    assert ring.inside == pytest.approx(105 / 255, abs=0.02)
    assert ring.beneath > 0.9
    assert ring.spread < 0.1


def test_fat_of_mr_has_dark_bone_inside():
    ring = measure_ring(draw_mr())
    assert ring.rays < 0.1
    assert ring.beneath < 0.5


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turning_changes_little(turn):
    straight, turned = measure_ring(draw_ct()), measure_ring(np.ascontiguousarray(np.rot90(draw_ct(), turn)))
    assert turned.rays == pytest.approx(straight.rays, abs=0.05)
    assert turned.width == pytest.approx(straight.width, abs=0.5)


def test_a_head_has_its_holes_filled_and_nothing_beside_it():
    pixels = draw_mr()
    pixels[:6, :6] = 255
    head = find_head(pixels)
    assert head is not None
    assert set(np.unique(head)) == {0, 1}
    assert head[64, 64] == 1
    assert head[2, 2] == 0
    assert head.sum() == pytest.approx(np.pi * 0.8 * 0.65 * 64 * 64, rel=0.1)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_without_a_head_there_is_no_ring(level):
    pixels = np.zeros((128, 128), np.uint8)
    pixels[60:70, 60:70] = level
    assert find_head(pixels) is None
    assert measure_ring(pixels) == Ring()
