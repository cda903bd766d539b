"""The pointing game and the share of heat: cases by hand, and what must hold for any heat and box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ExplanationError
from pipeline.explanations.pointing import (
    TOLERANCE,
    draw_blob,
    find_wrong_reasons,
    measure_distance,
    measure_pointing,
)

LEFT_HALF = np.array([[0.25, 0.5, 0.5, 1.0]])


def _spot(side: int, row: int, column: int) -> np.ndarray:
    heat = np.zeros((1, side, side))
    heat[0, row, column] = 1
    return heat


def test_a_spot_inside_hits_and_one_outside_misses() -> None:
    inside, outside = (measure_pointing(_spot(8, 2, column), LEFT_HALF) for column in (3, 5))
    assert inside.hit == inside.near == inside.share == 1
    assert outside.hit == outside.near == outside.share == 0
    assert inside.area == 0.5 and not inside.empty


def test_x_runs_along_a_row() -> None:
    top = np.array([[0.5, 0.25, 1.0, 0.5]])
    assert measure_pointing(_spot(8, 0, 7), top).hit == 1
    assert measure_pointing(_spot(8, 7, 0), top).hit == 0


def test_the_tolerance_is_15_pixels_of_224() -> None:
    """A box of the left half ends at column 111; the centre of column 126 is 14.5 pixels from it."""
    found = [measure_pointing(_spot(224, 100, column), LEFT_HALF) for column in (111, 112, 126, 127)]
    assert [float(one.hit[0]) for one in found] == [1, 0, 0, 0]
    assert [float(one.near[0]) for one in found] == [1, 1, 1, 0]
    assert found[0].near_area == 127 / 224


def test_the_share_is_heat_inside_over_all_heat() -> None:
    heat = np.ones((1, 4, 4))
    heat[0, 0, 0] = 5
    assert measure_pointing(heat, LEFT_HALF).share == 12 / 20


def test_equally_hot_pixels_share_the_hit() -> None:
    heat = np.zeros((1, 8, 8))
    heat[0, 0, [0, 5, 6, 7]] = 1
    assert measure_pointing(heat, LEFT_HALF).hit == 0.25


def test_a_map_without_heat_counts_as_chance() -> None:
    found = measure_pointing(np.zeros((1, 8, 8)), np.array([[0.25, 0.25, 0.5, 0.5]]))
    assert found.empty and found.hit == found.share == found.area == 0.25
    assert found.near == found.near_area


def test_a_box_smaller_than_a_pixel_holds_one() -> None:
    assert (measure_distance(np.array([[0.51, 0.3, 0.001, 0.001]]), 8) == 0).sum() == 1


def test_the_blob_points_at_the_middle() -> None:
    middle, corner = np.array([[0.5, 0.5, 0.2, 0.2]]), np.array([[0.1, 0.1, 0.2, 0.2]])
    for side in (31, 64):
        blob = draw_blob(side)
        assert blob.max() == 1 and np.array_equal(blob, blob.T) and np.array_equal(blob, blob[::-1])
        found = measure_pointing(blob[None], middle)
        assert found.hit == 1 and found.share > found.area
        found = measure_pointing(blob[None], corner)
        assert found.hit == 0 and found.share < found.area


def test_wrong_reasons() -> None:
    """Right and outside; right and inside; wrong and outside; right without heat."""
    heat = np.concatenate([_spot(8, 0, 7), _spot(8, 0, 0), _spot(8, 0, 7), np.zeros((1, 8, 8))])
    found = measure_pointing(heat, np.repeat(LEFT_HALF, 4, axis=0))
    right = np.array([True, True, False, True])
    assert find_wrong_reasons(right, found).tolist() == [True, False, False, False]


def test_a_hot_pixel_outside_alone_is_no_wrong_reason() -> None:
    """Most of the heat lies inside all the same."""
    heat = np.zeros((1, 8, 8))
    heat[0, :, :4], heat[0, 0, 7] = 0.9, 1
    found = measure_pointing(heat, LEFT_HALF)
    assert found.hit == 0 and not find_wrong_reasons(np.array([True]), found)[0]


fractions = st.floats(0, 1)


@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(2, 24),
    box=st.tuples(fractions, fractions, st.floats(1e-3, 1), st.floats(1e-3, 1)),
)
def test_what_holds_for_any_heat_and_box(
    seed: int, side: int, box: tuple[float, float, float, float]
) -> None:
    heat = np.random.default_rng(seed).random((1, side, side))
    boxes = np.array([box])
    found = measure_pointing(heat, boxes)
    for values in (found.hit, found.near, found.share, found.area, found.near_area):
        assert 0 <= values[0] <= 1
    assert found.area >= 1 / side**2
    assert found.near >= found.hit and found.near_area >= found.area
    even = measure_pointing(np.ones_like(heat), boxes)
    assert even.hit == even.area and even.share == pytest.approx(even.area) and even.near == even.near_area

    brighter = measure_pointing(heat * 7.5, boxes)
    assert brighter.share == pytest.approx(found.share) and brighter.hit == found.hit

    mirrored = measure_pointing(heat[:, :, ::-1], np.array([[1 - box[0], *box[1:]]]))
    turned = measure_pointing(heat.transpose(0, 2, 1), np.array([[box[1], box[0], box[3], box[2]]]))
    assert turned.hit == found.hit and turned.share == pytest.approx(found.share)
    assert mirrored.area == pytest.approx(found.area) and mirrored.share == pytest.approx(found.share)

    wider = measure_pointing(heat, np.array([[*box[:2], min(1, box[2] * 1.5), min(1, box[3] * 1.5)]]))
    assert wider.share >= found.share - 1e-12 and wider.hit >= found.hit
    distance = measure_distance(boxes, side)[0]
    row, column = np.unravel_index(heat[0].argmax(), heat[0].shape)
    assert found.hit[0] == (distance[row, column] == 0)
    assert found.near[0] == (distance[row, column] <= TOLERANCE)


@pytest.mark.parametrize(
    ("heat", "boxes", "message"),
    [
        (np.ones((1, 4, 5)), LEFT_HALF, "heat is"),
        (np.ones((2, 4, 4)), LEFT_HALF, "boxes are"),
        (np.ones((0, 4, 4)), np.ones((0, 4)), "n at least 1"),
        (np.full((1, 4, 4), np.nan), LEFT_HALF, "finite and not negative"),
        (-np.ones((1, 4, 4)), LEFT_HALF, "finite and not negative"),
        (np.ones((1, 4, 4)), np.array([[0.5, 0.5, 0.0, 0.5]]), "box 0 is"),
        (np.ones((1, 4, 4)), np.array([[0.5, np.nan, 0.1, 0.5]]), "Materialise `patients` again"),
    ],
)
def test_what_is_refused(heat: np.ndarray, boxes: np.ndarray, message: str) -> None:
    with pytest.raises(ExplanationError, match=message):
        measure_pointing(heat, boxes)
