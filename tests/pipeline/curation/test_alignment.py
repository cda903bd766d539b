"""Alignment: recovers the transform of a copy from a rough start, and gives up on what is no copy."""

import numpy as np
import pytest
from painted_heads import paint_head, rotate, shrink

from pipeline.curation.alignment import align_pairs, are_sane, to_fractions, to_pixels
from pipeline.curation.orientation import compose, orient
from pipeline.curation.thumbnails import Stack

STILL = np.eye(2, 3)
CORNERS = np.array([[0.2, 0.2, 1], [0.8, 0.2, 1], [0.2, 0.8, 1], [0.8, 0.8, 1]]).T


def align(first, second, starts):
    (found,) = align_pairs(Stack([np.stack([shrink(first), shrink(second)])]), np.array([[0, 1]]), [starts])
    return found


def spin(degrees):
    angle = np.deg2rad(degrees)
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, 0.5 - linear @ [0.5, 0.5]])


@pytest.mark.parametrize("degrees", [-7, 3, 7])
def test_finds_a_rotation_from_the_identity(degrees):
    found = align(paint_head(1), rotate(paint_head(1), degrees), [STILL])
    assert found.likeness.score > 0.95
    assert np.abs((found.transform - spin(degrees)) @ CORNERS).max() < 0.006


def test_takes_the_better_start():
    head = paint_head(2)
    mirrored = np.ascontiguousarray(rotate(head, 10)[:, ::-1])
    starts = [STILL, compose(orient(1), spin(6))]
    found = align(head, mirrored, starts)
    assert found.likeness.score > 0.95
    assert np.abs((found.transform - compose(orient(1), spin(10))) @ CORNERS).max() < 0.006


@pytest.mark.parametrize("other", [paint_head(4), np.zeros((256, 256), np.uint8)], ids=["head", "blank"])
def test_gives_up_on_another_picture(other):
    found = align(paint_head(3), other, [STILL])
    assert found.likeness is None and -1 <= found.fit < 0.7


def test_gives_up_on_an_insane_start():
    found = align(paint_head(3), paint_head(3), [np.array([[0.1, 0, 0.4], [0, 0.1, 0.4]])])
    assert found.likeness is None


def test_a_pair_does_not_depend_on_its_company():
    heads = [paint_head(k) for k in range(4)] + [rotate(paint_head(k), 5) for k in range(4)]
    pixels = Stack([np.stack([shrink(head) for head in heads])])
    pairs = np.array([(one, other) for one in range(8) for other in range(one + 1, 8)])
    starts = [[STILL, spin(4)], [STILL]] * (len(pairs) // 2)
    together = align_pairs(pixels, pairs, starts)
    assert sum(found.likeness is not None and found.likeness.score > 0.9 for found in together) == 4
    for row in range(len(pairs)):
        (alone,) = align_pairs(pixels, pairs[[row]], [starts[row]])
        assert (alone.transform == together[row].transform).all()
        assert (alone.fit, alone.likeness) == (together[row].fit, together[row].likeness)


def test_no_pairs():
    assert align_pairs(Stack([np.zeros((2, 128, 128), np.uint8)]), np.empty((0, 2), np.intp), []) == []


def test_sane_scales():
    scales = [(1, 1), (0.4, 1), (1, 2.1), (0.6, 1.8)]
    transforms = np.stack([np.diag([*scale, 1.0])[:2] for scale in scales])
    assert are_sane(transforms).tolist() == [True, False, False, True]


def test_pixels_and_back():
    transforms = np.stack([spin(12), compose(orient(3), spin(-5))])
    assert np.allclose(to_fractions(to_pixels(transforms, 64), 64), transforms)
    corner = to_pixels(orient(1)[None], 64)[0] @ [0, 0, 1]
    assert np.allclose(corner, [63, 0])  # the first pixel centre of a mirrored row is the last
