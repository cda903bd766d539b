"""Spectra: whole numbers of one norm, that crops and quarter turns act on as on the pixels."""

import numpy as np
import pytest
from painted_heads import crop, pad, paint_head, rotate, shrink

from pipeline.curation.orientation import ORIENTATIONS, turn, turn_spectra
from pipeline.curation.spectra import (
    NORM,
    ORDER,
    crop_matrix,
    find_rotation,
    measure_frames,
    measure_spectra,
    round_spectra,
)
from pipeline.curation.thumbnails import Stack

HEADS = [paint_head(seed) for seed in range(4)]


def stack(*pictures):
    return Stack([np.stack([shrink(pixels) for pixels in pictures])])


def similarity(one, other):
    return float((one.astype(float) * other).sum() / NORM**2)


def test_whole_numbers_of_one_norm_without_a_mean():
    frames = measure_frames(stack(*HEADS), 10).astype(float)
    assert frames.shape == (4, 2, 10, 10) and (frames[..., 0, 0] == 0).all()
    np.testing.assert_allclose((frames**2).sum(axis=(1, 2, 3)), NORM**2, rtol=0.01)


def test_partial_sums_are_exact_in_float32():
    frames = measure_frames(stack(*HEADS), 10).reshape(4, -1)
    exact = frames.astype(np.int64) @ frames.astype(np.int64).T
    assert (frames.astype(np.float32) @ frames.astype(np.float32).T == exact).all()
    assert (frames[:, ::-1].astype(np.float32) @ frames[:, ::-1].astype(np.float32).T == exact).all()


def test_blank_picture_has_no_spectrum():
    assert not measure_frames(Stack([np.full((1, 128, 128), 7, np.uint8)]), 8).any()


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_turned_picture_has_the_turned_spectrum(orientation):
    small = shrink(HEADS[0]).astype(np.float32)
    turned = np.ascontiguousarray(turn(small, orientation)).astype(np.uint8)
    frames = measure_frames(Stack([np.stack([small.astype(np.uint8), turned])]), 8).astype(np.float32)
    assert similarity(turn_spectra(frames[0], orientation), frames[1]) > 0.999


@pytest.mark.parametrize("workers", [1, 3])
def test_each_picture_is_measured_alone(workers, monkeypatch):
    monkeypatch.setattr("pipeline.curation.spectra.BLOCK", 2)
    together, alone = measure_spectra(stack(*HEADS), workers=workers), measure_spectra(stack(HEADS[2]))
    for name in ("full", "box", "windows"):
        assert (getattr(together, name)[:, 2] == getattr(alone, name)[:, 0]).all()
    assert (together.touches[2] == alone.touches[0]).all()


def test_box_takes_border_and_scale_away():
    spectra = measure_spectra(stack(HEADS[0], pad(HEADS[0], 0.1, 0.0, 0.15, 0.05)))
    boxes = round_spectra(spectra.box[0, ..., :ORDER, :ORDER].astype(np.float32))
    assert similarity(*spectra.full[0].astype(float)) < 0.8
    assert similarity(*boxes) > 0.97


def test_rotation_by_ten_degrees_is_undone():
    spectra = measure_spectra(stack(HEADS[1], rotate(HEADS[1], 10)))
    turned = spectra.full[:, 0].astype(float)
    found = [similarity(one, spectra.full[0, 1]) for one in turned]
    assert int(np.argmax(found)) == 2 and found[2] > 0.95


def test_crop_of_a_box_is_a_matrix_on_its_spectrum():
    spectra = measure_spectra(stack(HEADS[2]))
    left, top, right, bottom = spectra.windows[0, 0]
    inner = 0.12 * (right - left), 0.12 * (bottom - top)
    cut = crop(HEADS[2], left + inner[0], top + inner[1], 1 - right, 1 - bottom)
    matrix = crop_matrix(0.12, 1.0)
    part = round_spectra(matrix @ spectra.box[0].astype(np.float32) @ matrix.T)[0]
    assert similarity(part, measure_frames(stack(cut), ORDER)[0]) > 0.95


def test_touching_sides():
    assert not measure_spectra(stack(HEADS[0])).touches.any()
    cut = measure_spectra(stack(crop(HEADS[0], 0.3, 0, 0, 0.3)))
    assert cut.touches[0].tolist() == [True, False, False, True]


def test_rotation_goes_counter_clockwise_about_the_centre():
    matrix = find_rotation(2)
    np.testing.assert_allclose(matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2], [0.5, 0.5])
    moved = matrix[:, :2] @ [1.0, 0.5] + matrix[:, 2]
    assert moved[1] < 0.5, "the right edge's middle goes up"
    np.testing.assert_array_equal(find_rotation(0), np.eye(2, 3))
