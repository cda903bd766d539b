"""Maps of flip, rotation and crop: torchvision's semantics, and both ways of warping."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from pipeline.imaging.warps import draw_crops, draw_maps, move_boxes, sample_planes, warp_planes
from pipeline.recipe import AugmentSpec

SEEDS = list(range(4000))


def crops(spec: AugmentSpec, height: int, width: int, count: int = 4000) -> list[np.ndarray]:
    uniforms = np.random.default_rng(0).random((count, 24))
    return list(draw_crops(spec, uniforms, height, width))


def test_nothing_to_move_gives_no_maps() -> None:
    assert draw_maps(AugmentSpec(brightness=0.3), [1, 2], 10, 10) is None


def test_a_flip_is_exact(make_heads) -> None:
    heads = make_heads(8, 51)
    maps = draw_maps(AugmentSpec(hflip=1), range(8), 51, 51)
    assert (warp_planes(heads, maps) == heads[:, :, ::-1]).all()
    floats = torch.from_numpy(heads).float()
    assert (sample_planes(floats / 255, maps) * 255 - floats.flip(2)).abs().max() < 0.02


def test_a_flip_comes_as_often_as_asked() -> None:
    maps = draw_maps(AugmentSpec(hflip=0.3), SEEDS, 10, 10)
    assert maps is not None
    assert (maps[:, 0, 0] < 0).mean() == pytest.approx(0.3, abs=0.03)
    assert np.allclose(np.abs(maps[:, 0, 0]), 1)


def test_rotations_fill_their_range_evenly() -> None:
    maps = draw_maps(AugmentSpec(rotate=15), SEEDS, 40, 60)
    assert maps is not None
    angles = np.rad2deg(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert np.abs(angles).max() <= 15
    assert np.histogram(angles, 6, (-15, 15))[0] / len(SEEDS) == pytest.approx(np.full(6, 1 / 6), abs=0.03)
    centre = np.array([29.5, 19.5, 1])
    assert np.allclose(maps @ centre, centre[:2])


def test_a_rotation_is_that_of_torchvision(make_heads) -> None:
    heads = make_heads(1, 96)
    maps = draw_maps(AugmentSpec(rotate=40), [5], 96, 96)
    assert maps is not None
    angle = float(np.rad2deg(np.arctan2(maps[0, 1, 0], maps[0, 0, 0])))
    assert abs(angle) > 3
    expected = v2.functional.rotate(
        torch.from_numpy(heads)[None].float(), angle, interpolation=v2.InterpolationMode.BILINEAR
    )
    assert np.abs(warp_planes(heads, maps) - expected[0].numpy()).mean() < 1


def test_a_crop_is_that_of_torchvision(make_heads) -> None:
    heads = make_heads(6, 96)
    spec = AugmentSpec(crop_scale=(0.4, 0.8))
    maps = draw_maps(spec, range(6), 96, 96)
    assert maps is not None
    for head, matrix, warped in zip(heads, maps, warp_planes(heads, maps), strict=True):
        width, height = matrix[0, 0] * 96, matrix[1, 1] * 96
        left, top = matrix[0, 2] + 0.5 - 0.5 * matrix[0, 0], matrix[1, 2] + 0.5 - 0.5 * matrix[1, 1]
        box = [top, left, height, width]
        assert np.allclose(box, np.rint(box))
        expected = v2.functional.resized_crop(
            torch.from_numpy(head)[None].float(), *np.rint(box).astype(int).tolist(), [96, 96]
        )[0].numpy()
        inner = np.abs(warped.astype(float) - expected)[4:-4, 4:-4]
        assert inner.mean() < 0.6
        assert inner.max() < 8


def test_crops_have_the_areas_and_aspects_of_torchvision() -> None:
    spec = AugmentSpec(crop_scale=(0.2, 0.9), crop_ratio=(0.6, 1.7))
    left, top, width, height = crops(spec, 120, 150)
    torch.manual_seed(0)
    reference = np.array(
        [
            v2.RandomResizedCrop.make_params(
                v2.RandomResizedCrop(120, (0.2, 0.9), (0.6, 1.7)), [torch.empty(1, 120, 150)]
            )[side]
            for _ in range(1500)
            for side in ("width", "height", "left", "top")
        ]
    ).reshape(-1, 4)
    for found, expected in zip((width, height, left, top), reference.T, strict=True):
        for share in (0.1, 0.5, 0.9):
            assert np.quantile(found, share) == pytest.approx(np.quantile(expected, share), abs=6)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(0.2, 1),
    st.floats(1, 5),
)
def test_crops_lie_within_the_image(
    height: int, width: int, first: float, second: float, low: float, high: float
) -> None:
    scale = (min(first, second), max(first, second))
    spec = AugmentSpec(crop_scale=scale, crop_ratio=(low, high))
    left, top, crop_width, crop_height = crops(spec, height, width, 50)
    for start, length, side in ((left, crop_width, width), (top, crop_height, height)):
        assert (start >= 0).all()
        assert (length >= 1).all()
        assert (start + length <= side).all()
        assert (np.rint(start) == start).all()


def test_where_no_crop_fits_the_largest_central_one_is_taken() -> None:
    spec = AugmentSpec(crop_scale=(1.0, 1.0), crop_ratio=(2.0, 2.0))
    assert [values[0] for values in crops(spec, 50, 50, 1)] == [0, 12, 50, 25]


def test_without_a_crop_the_whole_image_is_kept() -> None:
    assert [values[0] for values in crops(AugmentSpec(), 40, 50, 1)] == [0, 0, 50, 40]


def test_switching_one_change_on_leaves_the_draws_of_the_others() -> None:
    turned = draw_maps(AugmentSpec(rotate=10), range(50), 64, 64)
    both = draw_maps(AugmentSpec(rotate=10, hflip=1), range(50), 64, 64)
    assert turned is not None
    assert both is not None
    assert np.allclose(turned[:, 1], both[:, 1])


def test_both_ways_of_warping_agree(make_heads) -> None:
    heads = make_heads(8, 96)
    smooth = np.stack([cv2.GaussianBlur(head, (0, 0), 1.5) for head in heads])
    maps = draw_maps(AugmentSpec(hflip=0.5, rotate=20, crop_scale=(0.6, 1)), range(8), 96, 96)
    assert maps is not None
    difference = sample_planes(torch.from_numpy(smooth).float() / 255, maps) * 255 - torch.from_numpy(
        warp_planes(smooth, maps)
    )
    assert difference.abs().mean() < 0.5
    assert difference.abs().max() < 3


def test_what_lies_outside_is_black(make_heads) -> None:
    white = np.full((1, 64, 64), 255, np.uint8)
    maps = np.array([[[1, 0, 20], [0, 1, 0]]], float)
    for warped in (warp_planes(white, maps)[0], sample_planes(torch.ones(1, 64, 64), maps)[0].numpy() * 255):
        assert (warped[:, 45:] == 0).all()
        assert (warped[:, :43] > 254).all()


BOX = np.array([0.4, 0.55, 0.3, 0.2])


def measure_box(plane: np.ndarray) -> np.ndarray:
    """Centre x, centre y, width, height of what is bright, as fractions."""
    down, across = np.nonzero(plane > 127)
    height, width = plane.shape
    low = np.array([across.min() / width, down.min() / height])
    high = np.array([(across.max() + 1) / width, (down.max() + 1) / height])
    return np.concatenate([(low + high) / 2, high - low])


def draw_box(box: np.ndarray, height: int, width: int) -> np.ndarray:
    plane = np.zeros((height, width), np.uint8)
    left, right = (round(width * (box[0] + side * box[2] / 2)) for side in (-1, 1))
    top, bottom = (round(height * (box[1] + side * box[3] / 2)) for side in (-1, 1))
    plane[top:bottom, left:right] = 255
    return plane


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(hflip=0.5),
        AugmentSpec(rotate=30),
        AugmentSpec(crop_scale=(0.8, 1)),
        AugmentSpec(hflip=0.5, rotate=20, crop_scale=(0.6, 1), crop_ratio=(0.8, 1.25)),
    ],
    ids=["mirror", "rotation", "crop", "all"],
)
def test_a_box_follows_its_image(spec: AugmentSpec) -> None:
    height, width, count = 200, 240, 40
    planes = np.stack([draw_box(BOX, height, width)] * count)
    maps = draw_maps(spec, range(count), height, width)
    moved = move_boxes(np.stack([BOX] * count), maps, height, width)
    for plane, box in zip(warp_planes(planes, maps), moved, strict=True):
        assert np.isfinite(box).all()
        assert measure_box(plane) == pytest.approx(box, abs=2.5 / height)


def test_a_mirrored_box_is_exact_and_an_unknown_one_stays_unknown() -> None:
    boxes = np.stack([BOX, np.full(4, np.nan)])
    maps = draw_maps(AugmentSpec(hflip=1), [0, 1], 50, 60)
    moved = move_boxes(boxes, maps, 50, 60)
    assert moved[0] == pytest.approx([0.6, 0.55, 0.3, 0.2], abs=1e-12)
    assert np.isnan(moved[1]).all()
    assert np.array_equal(move_boxes(boxes, None, 50, 60), boxes, equal_nan=True)


def test_of_a_box_that_is_cut_the_rest_counts_while_a_quarter_of_it_is_seen() -> None:
    shift = np.array([[[1.0, 0, 30], [0, 1, 0]]])  # 30 of 100 pixels to the left
    inside, cut, gone = np.array([[0.5, 0.5, 0.2, 0.2], [0.3, 0.5, 0.2, 0.2], [0.22, 0.5, 0.2, 0.2]])[:, None]
    assert move_boxes(inside, shift, 100, 100)[0] == pytest.approx([0.2, 0.5, 0.2, 0.2])
    assert move_boxes(cut, shift, 100, 100)[0] == pytest.approx([0.05, 0.5, 0.1, 0.2])
    assert np.isnan(move_boxes(gone, shift, 100, 100)).all()


@given(st.integers(0, 10_000), st.floats(0, 180), st.floats(0.1, 1))
@settings(deadline=None)
def test_moved_boxes_lie_in_the_image_or_nowhere(seed: int, rotate: float, low: float) -> None:
    spec = AugmentSpec(hflip=0.5, rotate=rotate, crop_scale=(low, 1))
    boxes = np.random.default_rng(seed).uniform(0.2, 0.6, (20, 4))
    moved = move_boxes(boxes, draw_maps(spec, range(seed, seed + 20), 64, 64), 64, 64)
    known = moved[np.isfinite(moved).all(axis=1)]
    assert (np.isnan(moved).any(axis=1) == np.isnan(moved).all(axis=1)).all()
    assert (known[:, 2:] > 0).all()
    assert (known[:, :2] - known[:, 2:] / 2 >= -1e-9).all() and (
        known[:, :2] + known[:, 2:] / 2 <= 1 + 1e-9
    ).all()
