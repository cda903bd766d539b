"""What the bytes of one file tell: small picture and statistics, the same whatever the format."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.curation.inspection import DARK, THUMBNAIL_SIZE, Findings, Looks, inspect_bytes
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.schemas import QUARANTINE_REASONS, TABLES


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def look(pixels: np.ndarray, kind: str = "PNG", **options: object) -> Looks:
    looks = inspect_bytes(encode(pixels, kind, **options)).looks
    assert looks is not None
    return looks


def test_a_picture_gives_all_but_a_reason() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 150), np.uint8)
    found = inspect_bytes(encode(pixels))
    assert (found.width, found.height, found.mode, found.format) == (150, 200, "L", "PNG")
    assert found.thumbnail == resize_grey(pixels, THUMBNAIL_SIZE).tobytes()
    assert (found.entry, found.reason, found.detail) == (None, None, None)


def test_looks_are_those_of_the_pixels() -> None:
    pixels = np.full((10, 8), 100, np.uint8)
    pixels[0], pixels[5, 3:5] = DARK - 1, 200
    looks = look(pixels)
    assert looks.brightness == pytest.approx(pixels.mean(), abs=1e-6)
    assert looks.contrast == pytest.approx(pixels.std(), abs=1e-6)
    assert looks.dark == 8 / 80
    assert looks.border == round(8 / 32, 6)
    assert (looks.colour, looks.jpeg) == (0.0, None)


def test_the_level_of_darkness_itself_is_not_dark() -> None:
    assert look(np.full((4, 4), DARK, np.uint8)).dark == 0
    assert look(np.full((4, 4), DARK - 1, np.uint8)).dark == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3000, 3)])
def test_pictures_of_any_shape_have_looks(shape: tuple[int, int]) -> None:
    looks = look(np.zeros(shape, np.uint8))
    assert looks == Looks(0.0, 0.0, 0.0, 1.0, 1.0, None)


def test_colour_and_the_jpeg_table_are_passed_on() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = 250
    data = encode(pixels, "JPEG", quality=90)
    found, decoded = inspect_bytes(data), decode_image(data)
    assert found.looks is not None
    assert (found.looks.colour, found.looks.jpeg) == (decoded.colour, decoded.jpeg)
    assert found.looks.colour > 200
    assert found.looks.jpeg


def test_looks_are_the_columns_of_their_table() -> None:
    names = list(vars(look(np.zeros((2, 2), np.uint8))))
    assert ["image_id", *names] == TABLES["looks"].names


def test_what_cannot_be_decoded_gives_the_reason_alone() -> None:
    found = inspect_bytes(b"a text")
    assert found.reason == "not_an_image"
    assert found == Findings(reason=found.reason, detail=found.detail)


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    found = inspect_bytes(data)
    assert (found.reason in QUARANTINE_REASONS) == (found.thumbnail is None)
