"""Encodings and damage: each treatment does what it says, and the MATLAB file is one."""

import io
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.phantoms.distortions import Distortion
from pipeline.phantoms.quirks import SIZES, Mode, Treatment, encode_file, trace_box, trace_treatment
from pipeline.phantoms.scanner import SIZE, Exposure, find_box


@pytest.fixture(scope="module")
def exposure() -> Exposure:
    across, down = np.meshgrid(np.linspace(0, 1, SIZE), np.linspace(0, 1, SIZE))
    pixels = (40 + 150 * across * down).astype(np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[60:100, 20:80] = True
    return Exposure(pixels, mask, find_box(mask))


def open_picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_modes_show_the_same_picture(exposure: Exposure, mode: Mode) -> None:
    image = open_picture(encode_file(exposure, Treatment(mode=mode, format="PNG")))
    assert image.mode == mode
    shown = (
        np.asarray(image, np.float64) / 257 if mode == "I;16" else np.asarray(image.convert("L"), np.float64)
    )
    assert np.abs(shown - exposure.pixels).max() <= 2


def test_mirroring_turns_pixels_and_box(exposure: Exposure) -> None:
    treatment = Treatment(mirror=True, format="PNG")
    shown = np.asarray(open_picture(encode_file(exposure, treatment)))
    assert np.array_equal(shown, exposure.pixels[:, ::-1])
    assert trace_box(exposure, treatment) == pytest.approx(find_box(exposure.mask[:, ::-1]))
    assert trace_treatment(treatment) == (-1, 0, 1, 0, 1, 0)
    nothing = replace(exposure, mask=np.zeros_like(exposure.mask), box=None)
    assert trace_box(nothing, treatment) is None


def test_distortion_comes_after_the_mirror_and_before_the_size(exposure: Exposure) -> None:
    distortion = Distortion(turn=90, crop=(10, 0, 0, 20))
    treatment = Treatment(mirror=True, distortion=distortion, size=(214, 204), format="PNG")
    shown = np.asarray(open_picture(encode_file(exposure, treatment)))
    wanted = np.rot90(exposure.pixels[:, ::-1])[:-20, 10:]
    assert np.array_equal(shown, wanted)
    moved = np.rot90(exposure.mask[:, ::-1])[:-20, 10:]
    assert trace_box(exposure, treatment) == pytest.approx(find_box(moved))


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_kept_and_not_too_small(exposure: Exposure, size: tuple[int, int]) -> None:
    assert open_picture(encode_file(exposure, Treatment(size=size))).size == size
    assert min(size) >= 128


def test_brightness_is_gain_and_lift(exposure: Exposure) -> None:
    shown = np.asarray(open_picture(encode_file(exposure, Treatment(gain=0.5, lift=10, format="PNG"))))
    assert np.array_equal(shown, (exposure.pixels * 0.5 + 10.5).astype(np.uint8))


def test_a_cut_file_is_the_start_of_the_whole(exposure: Exposure) -> None:
    whole, cut = encode_file(exposure, Treatment()), encode_file(exposure, Treatment(cut=0.5))
    assert whole.startswith(cut)
    assert len(cut) == len(whole) // 2
    with pytest.raises(OSError, match="truncated"):
        open_picture(cut)


def test_masks_are_black_and_white(exposure: Exposure) -> None:
    shown = np.asarray(open_picture(encode_file(exposure, Treatment(mask=True, format="PNG"))))
    assert np.array_equal(shown, exposure.mask * 255)


def test_matlab_file_holds_what_figshare_has(exposure: Exposure) -> None:
    data = encode_file(exposure, Treatment(format="MAT", tags=(2, "MR029209B")))
    assert data.startswith(b"MATLAB 7.3 MAT-file")
    assert encode_file(exposure, Treatment(format="MAT", tags=(2, "MR029209B"))) == data
    with h5py.File(io.BytesIO(data)) as file:
        record = file["cjdata"]
        assert record["image"].dtype == np.int16
        assert record["label"][0, 0] == 2
        assert "".join(chr(code) for code in record["PID"][:, 0]) == "MR029209B"
        image = record["image"][()].T.astype(float)
        assert np.corrcoef(image.ravel(), exposure.pixels.ravel())[0, 1] > 0.9999
        assert np.array_equal(record["tumorMask"][()].T, exposure.mask)
        border = record["tumorBorder"][0]
        assert (border[0::2].min(), border[0::2].max()) == (21, 80)
        assert (border[1::2].min(), border[1::2].max()) == (61, 100)


def test_find_box_of_nothing_is_none() -> None:
    assert find_box(np.zeros((4, 4), bool)) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9), st.integers(1, 9))
def test_boxes_cover_their_masks(top: int, left: int, height: int, width: int) -> None:
    mask = np.zeros((40, 50), bool)
    mask[top : top + height, left : left + width] = True
    x, y, w, h = find_box(mask) or (0, 0, 0, 0)
    assert (x - w / 2) * 50 == pytest.approx(left)
    assert (y - h / 2) * 40 == pytest.approx(top)
    assert (w * 50, h * 40) == pytest.approx((width, height))
