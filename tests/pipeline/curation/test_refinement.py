"""Refinement by batches: what OpenCV finds for one pair, for many at once and independent of company."""

import cv2
import numpy as np
import pytest
from painted_heads import paint_head, rotate, shrink

from pipeline.curation.levels import Level, Views
from pipeline.curation.refinement import correlate_batch, refine_batch

HEADS = np.stack([shrink(paint_head(k)) for k in range(5)])
TURNED = np.stack([shrink(rotate(paint_head(k), 4)) for k in range(5)])
NO_MASK = None


def show(pixels, level):
    return Views(pixels).show(level, np.arange(len(pixels)))


def pair(first, second):
    count = len(first)
    rows = np.arange(count)
    return np.concatenate([first, second]), np.stack([rows, rows + count], axis=1)


def start(count):
    return np.tile(np.eye(2, 3), (count, 1, 1))


@pytest.mark.parametrize("level", [Level(32, 4.0, 1.0), Level(64, 3.0), Level(128, 4.0)])
@pytest.mark.parametrize("iterations", [1, 3])
def test_agrees_with_opencv(level, iterations):
    first, second = show(HEADS, level), show(TURNED, level)
    found = refine_batch(*pair(first, second), start(5), iterations)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, 1e-4)
    for row in range(5):
        matrix = np.eye(2, 3, dtype=np.float32)
        likeness, matrix = cv2.findTransformECC(
            first[row], second[row], matrix, cv2.MOTION_AFFINE, criteria, NO_MASK, 1
        )
        corners = np.array([[0, 0, 1], [level.side, 0, 1], [0, level.side, 1]]).T
        assert np.abs((found.matrices[row] - matrix) @ corners).max() < 0.004 * level.side
        assert abs(found.likeness[row] - likeness) < 0.01


def test_what_is_the_same_stays():
    images = show(HEADS, Level(64, 3.0))
    found = refine_batch(*pair(images, images), start(5), 3)
    assert np.allclose(found.matrices, start(5), atol=1e-3) and (found.likeness > 0.999).all()


def test_a_pair_does_not_depend_on_its_company():
    level = Level(64, 2.0, 1.0)
    first, second = show(HEADS, level).repeat(20, 0), show(TURNED, level).repeat(20, 0)
    together = refine_batch(*pair(first, second), start(100), 3)
    for row in (0, 37, 99):
        rows = slice(row, row + 1)
        alone = refine_batch(*pair(first[rows], second[rows]), start(1), 3)
        assert (alone.matrices == together.matrices[rows]).all()
        assert alone.likeness == together.likeness[rows]
    likeness = correlate_batch(*pair(first, second), start(100), 0.2)
    assert likeness[37] == correlate_batch(*pair(first[37:38], second[37:38]), start(1), 0.2)


def test_blank_images_diverge():
    blank = np.zeros((1, 32, 32), np.float32)
    found = refine_batch(*pair(show(HEADS[:1], Level(32, 4.0)), blank), start(1), 3)
    assert found.likeness == [-1] and (found.matrices == start(1)).all()


def test_correlation_is_that_of_the_laid_pixels():
    first, second = show(HEADS, Level(32, 4.0)), show(TURNED, Level(32, 4.0))
    matrix = np.array([[1.0, 0.02, 0.7], [-0.03, 0.98, 0.4]])
    found = correlate_batch(*pair(first, second), np.tile(matrix, (5, 1, 1)), 0.2)
    for row in range(5):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        laid = cv2.warpAffine(second[row], matrix, (32, 32), flags=flags)
        inside = cv2.warpAffine(np.ones((32, 32), np.float32), matrix, (32, 32), flags=flags) > 0.5
        here, there = first[row] * inside, laid
        expected = (here * there).sum() / np.sqrt((here**2).sum() * (there**2).sum())
        assert abs(found[row] - expected) < 0.01


def test_hardly_any_overlap_says_nothing():
    images = show(HEADS[:1], Level(32, 4.0))
    far = np.array([[[1.0, 0, 28], [0, 1, 0]]])
    assert correlate_batch(*pair(images, images), far, 0.2) == [-1]
    assert correlate_batch(*pair(images, images), far, 0.1) > -1


def test_nothing_to_do():
    none = np.empty((0, 32, 32), np.float32)
    assert len(refine_batch(*pair(none, none), start(0), 2).likeness) == 0
    assert len(correlate_batch(*pair(none, none), start(0), 0.2)) == 0
