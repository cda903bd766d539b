"""Borders: bright frames become black, plain backgrounds stay."""

import cv2
import numpy as np
import pytest
from painted_heads import adjust, paint_head, shrink

from pipeline.curation.borders import blacken_borders

HEAD = shrink(paint_head(1))


@pytest.mark.parametrize("grey", [25, 128, 255])
def test_bright_border_becomes_black_and_nothing_else_changes(grey):
    framed = np.full((1, 128, 128), grey, np.uint8)
    framed[0, 12:118, 20:110] = cv2.resize(HEAD, (90, 106))
    cleaned = blacken_borders(framed)[0]
    outside = np.ones((128, 128), bool)
    outside[12:118, 20:110] = False
    assert (cleaned[outside] == 0).all()
    assert (cleaned[13:117, 21:109] == framed[0, 13:117, 21:109]).all()
    assert framed[0, 0, 0] == grey, "the given stack stays as it is"


def test_border_on_one_side_alone():
    framed = HEAD.copy()
    framed[:, :9] = 200
    cleaned = blacken_borders(framed[None])[0]
    assert (cleaned[:, :9] == 0).all() and (cleaned[:, 10:] == HEAD[:, 10:]).all()


@pytest.mark.parametrize(
    "stack",
    [HEAD, np.maximum(HEAD, 30), adjust(HEAD, 1.5), np.full_like(HEAD, 200), np.zeros_like(HEAD)],
    ids=["head", "grey background", "bright", "plain", "black"],
)
def test_what_is_no_border_stays(stack):
    assert (blacken_borders(stack[None])[0] == stack).all()
