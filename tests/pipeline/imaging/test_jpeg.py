"""The short cut for plain JPEG files gives Pillow's pixels, and leaves everything unusual to Pillow."""

import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.imaging import decode
from pipeline.imaging.decode import decode_image
from pipeline.imaging.jpeg import JpegFile, decode_plain, read_header, sum_quantisation

NOISE = np.random.default_rng(0).integers(0, 256, (45, 37, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(45) * 4, np.arange(37) * 2).astype(np.uint8)


def encode(pixels: np.ndarray, *, mode: str | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, "JPEG", **options)
    return stream.getvalue()


def shorten(data: bytes) -> np.ndarray | None:
    header = read_header(data)
    return None if header is None else decode_plain(data, header)


def find_outcome(data: bytes) -> object:
    try:
        decoded = decode_image(data)
    except DecodeError as error:
        return error.reason, error.detail
    return decoded.pixels.tolist(), decoded.mode, decoded.colour, decoded.jpeg


def compare(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_outcome(data)
    with monkeypatch.context() as patch:
        patch.setattr(decode, "decode_plain", lambda *_arguments: None)
        assert find_outcome(data) == found


PLAIN = {
    "grey": encode(SMOOTH),
    "grey as colour": encode(SMOOTH, mode="RGB"),
    "colour 4:2:0": encode(NOISE),
    "colour 4:4:4": encode(NOISE, subsampling=0, quality=95),
    "colour 4:2:2": encode(NOISE, subsampling=1, quality=40),
    "optimised": encode(NOISE, optimize=True),
    "restarts": encode(NOISE, restart_marker_blocks=2),
    "trailing bytes": encode(SMOOTH) + b"\0 and more",
    "a comment": encode(SMOOTH, comment=b"\xff\xda in a comment"),
}
EXIF = Image.Exif()
EXIF[0x0112] = 6
UNUSUAL = {
    "progressive": encode(NOISE, progressive=True),
    "ink": encode(NOISE, mode="CMYK"),
    "turned": encode(NOISE, exif=EXIF),
    "stored as RGB": encode(NOISE, keep_rgb=True),
    "without its end": encode(SMOOTH)[:-2],
    "half": encode(NOISE)[:900],
    "end mark in the middle": encode(NOISE)[:900] + b"\xff\xc4\0\2" + encode(NOISE)[900:],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_take_the_short_cut_and_show_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shorten(PLAIN[name])
    assert found is not None
    assert found.flags.writeable
    compare(PLAIN[name], monkeypatch)


@pytest.mark.parametrize("name", PLAIN)
def test_the_header_says_what_pillow_says(name: str) -> None:
    header = read_header(PLAIN[name])
    assert header is not None
    with JpegFile(io.BytesIO(PLAIN[name])) as image:
        assert (header.width, header.height, header.mode) == (*image.size, image.mode)
        assert header.quantisation == sum_quantisation(image)


def test_segments_that_may_change_the_picture_are_left_to_pillow() -> None:
    plain, start = PLAIN["colour 4:2:0"], 20  # right after JFIF's segment
    for code in (0xE1, 0xE2, 0xED, 0xEE, 0xC0):
        odd = plain[:start] + bytes((0xFF, code, 0, 12)) + b"Adobe\0\0\0\0\0" + plain[start:]
        assert read_header(odd) is None or code == 0xC0
    assert read_header(plain[:2] + plain[start:]) is not None  # without JFIF's segment
    assert read_header(plain[:16]) is None


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_are_left_to_pillow(name: str) -> None:
    assert shorten(UNUSUAL[name]) is None


def test_every_place_that_a_file_can_end_at_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (PLAIN["grey"], PLAIN["restarts"]):
        for size in range(len(data) - 1):
            outcome = find_outcome(data[:size])
            assert isinstance(outcome, tuple)
            assert outcome[0] in ("empty", "truncated", "corrupt", "not_an_image"), size


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PLAIN)), st.integers(0, 2**32))
def test_broken_files_give_the_same_by_either_way(name: str, seed: int) -> None:
    dice, data = random.Random(seed), bytearray(PLAIN[name])
    for _ in range(dice.choice((1, 2, 6))):
        start = dice.randrange(len(data))
        data[start : start + dice.choice((0, 1, 2, 20))] = dice.choice(
            (b"", b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\xff", bytes([dice.randrange(256)]))
        )
    with pytest.MonkeyPatch.context() as monkeypatch:
        compare(bytes(data), monkeypatch)


def test_of_the_real_kind_all_take_the_short_cut() -> None:
    """Files as the collections hold them: 224 to 512 pixels, baseline, grey or grey stored as colour."""
    for side in (224, 256, 512):
        pixels = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8)
        for mode in ("L", "RGB"):
            assert shorten(encode(pixels, mode=mode, quality=75)) is not None
