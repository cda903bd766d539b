"""Scores: blind to brightness, blur and borders; awake to other texture under the same skull."""

import numpy as np
import pytest
from painted_heads import adjust, blur, equalise, paint_head, reencode, shrink

from pipeline.curation.scores import compare_aligned

STILL = np.eye(2, 3)
HEAD = paint_head(5)


@pytest.mark.parametrize(
    "copy",
    [
        adjust(HEAD, 0.4),
        adjust(HEAD, 1.0, 2.0),
        adjust(HEAD, 1.0, 0.6),
        blur(HEAD, 2.5),
        equalise(HEAD),
        reencode(HEAD),
    ],
    ids=["dark", "gamma 2", "gamma 0.6", "blurred", "CLAHE", "re-encoded"],
)
def test_copies_score_high_in_every_block(copy):
    likeness = compare_aligned(shrink(HEAD), shrink(copy), STILL)
    assert likeness.score > 0.93 and likeness.worst > 0.85 and likeness.overlap > 0.9


def test_neighbour_under_the_same_skull_scores_low():
    likeness = compare_aligned(shrink(HEAD), shrink(paint_head(5, slice_seed=1)), STILL)
    assert likeness.score < 0.8 and likeness.worst < 0.5


def test_blur_does_not_lift_a_neighbour():
    sharp, soft = (
        compare_aligned(shrink(HEAD), shrink(blur(paint_head(5, 1), sigma)), STILL).score
        for sigma in (0.3, 3)
    )
    assert soft < 0.85 and abs(soft - sharp) < 0.25


def test_likeness_is_that_of_what_both_show():
    cut = shrink(HEAD).copy()
    cut[:, 80:] = 0
    likeness = compare_aligned(shrink(HEAD), cut, STILL)
    assert likeness.score > 0.99 and likeness.overlap > 0.95


@pytest.mark.parametrize("shift", [0.0, 0.9])
def test_nothing_to_compare_gives_none(shift):
    away = np.array([[1.0, 0, shift], [0, 1, 0]])
    blank = np.zeros((128, 128), np.uint8)
    assert compare_aligned(shrink(HEAD), blank if shift == 0 else shrink(HEAD), away) is None
