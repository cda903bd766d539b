"""Alignment: recovers the transform of a copy from a rough start, and gives up on what is no copy."""

import numpy as np
import pytest
from painted_heads import paint_head, rotate, shrink

from pipeline.curation.alignment import Gallery, Step, Views, align_pair, is_sane
from pipeline.curation.orientation import compose, orient

STILL = np.eye(2, 3)
CORNERS = np.array([[0.2, 0.2, 1], [0.8, 0.2, 1], [0.2, 0.8, 1], [0.8, 0.8, 1]]).T


def views(pixels):
    return Views(shrink(pixels))


def spin(degrees):
    angle = np.deg2rad(degrees)
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, 0.5 - linear @ [0.5, 0.5]])


@pytest.mark.parametrize("degrees", [-7, 3, 7])
def test_finds_a_rotation_from_the_identity(degrees):
    found = align_pair(views(paint_head(1)), views(rotate(paint_head(1), degrees)), [STILL])
    assert found.likeness.score > 0.95
    assert np.abs((found.transform - spin(degrees)) @ CORNERS).max() < 0.006


def test_takes_the_better_start():
    head = paint_head(2)
    mirrored = np.ascontiguousarray(rotate(head, 10)[:, ::-1])
    starts = [STILL, compose(orient(1), spin(6))]
    found = align_pair(views(head), views(mirrored), starts)
    assert found.likeness.score > 0.95
    assert np.abs((found.transform - compose(orient(1), spin(10))) @ CORNERS).max() < 0.006


@pytest.mark.parametrize("other", [paint_head(4), np.zeros((256, 256), np.uint8)], ids=["head", "blank"])
def test_gives_up_on_another_picture(other):
    found = align_pair(views(paint_head(3)), views(other), [STILL])
    assert found.likeness is None and found.fit < 0.6


@pytest.mark.parametrize(
    ("scale", "sane"), [((1, 1), True), ((0.4, 1), False), ((1, 2.1), False), ((0.6, 1.8), True)]
)
def test_sane_scales(scale, sane):
    assert is_sane(np.diag([*scale, 1.0])[:2]) is sane


def test_gallery_gives_the_same_views_whether_kept_or_not(monkeypatch):
    stack, step = np.stack([shrink(paint_head(k)) for k in range(3)]), Step(32, 4.0, 1.0, 4, 0.7)
    kept = Gallery(stack)
    assert kept.view(1) is kept.view(1)
    monkeypatch.setattr("pipeline.curation.alignment.KEPT_VIEWS", 1)
    forgetful = Gallery(stack)
    for row in (0, 1, 2, 1, 0):
        assert (forgetful.view(row).at(step) == Views(stack[row]).at(step)).all()
