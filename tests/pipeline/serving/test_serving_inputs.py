"""What a request may hold: one grey brain MR slice; everything else has its reason, each in one word."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from shades import draw_head, draw_shade, encode, write_dicom

from pipeline.errors import DecodeError, ServingError
from pipeline.imaging.decode import resize_grey
from pipeline.labels import LABELS
from pipeline.phantoms.foreign import FOREIGN, draw_foreign
from pipeline.serving.inputs import MAX_RATIO, MIN_SIDE, REFUSALS, open_slice, read_bytes

DOCS = Path(__file__).parents[3] / "docs" / "serving.md"


def animate(kind: str) -> bytes:
    frames = [Image.fromarray(draw_head(label)) for label in LABELS]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def draw_plain(height: int, width: int) -> bytes:
    return cv2.imencode(".png", cv2.resize(draw_head("pituitary"), (width, height)))[1].tobytes()


def draw_two_levels() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(draw_head("pituitary")).convert("1").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_a_slice_is_resized_whatever_its_format(kind: str):
    found = open_slice(draw_shade("pituitary", kind), 32)
    assert found.shape == (32, 32)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - resize_grey(draw_head("pituitary"), 32)).max() <= 8


def test_a_dicom_slice_is_read_like_any_other():
    found = open_slice(encode(write_dicom(draw_head("pituitary"))), 32)
    assert np.abs(found.astype(int) - resize_grey(draw_head("pituitary"), 32)).max() <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (draw_plain(MIN_SIDE - 1, 100), f"wrong_size: 100 × {MIN_SIDE - 1} pixels; sides of {MIN_SIDE}"),
        (draw_plain(100, round(100 * MAX_RATIO) + 1), r"wrong_size: 251 × 100 pixels; .* 2\.5 times"),
        (draw_two_levels(), "wrong_mode: black and white alone; give grey levels"),
        (animate("GIF"), "several_frames: a GIF of more than one; send each slice by itself"),
        (animate("TIFF"), "several_frames: a TIFF"),
        (animate("WEBP"), "several_frames: a WEBP"),
        (animate("PNG"), "several_frames: a PNG"),
        (write_dicom(draw_head("pituitary"), frames=2), "several_frames: a DICOM"),
        (
            write_dicom(draw_head("pituitary"), modality="CT"),
            "wrong_modality: CT, by its header; answered is MR",
        ),
    ],
    ids=["small", "long", "bilevel", "gif", "tiff", "webp", "png", "volume", "ct by header"],
)
def test_what_is_no_single_slice_is_refused_with_its_word(data: bytes, message: str):
    with pytest.raises(ServingError, match=message) as refused:
        open_slice(data, 32)
    assert str(refused.value).partition(":")[0] in REFUSALS


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_images_are_refused(kind: str):
    with pytest.raises(
        ServingError, match=rf"foreign: looks like {kind} and not like a brain MR slice: .*\d"
    ):
        open_slice(draw_foreign(kind, np.random.default_rng(5)), 64)


def test_a_dicom_without_modality_counts_as_mr():
    assert open_slice(write_dicom(draw_head("glioma"), modality=""), 16).shape == (16, 16)


def test_a_size_at_the_limit_is_read():
    assert open_slice(draw_plain(MIN_SIDE, MIN_SIDE), 16).shape == (16, 16)
    assert open_slice(draw_plain(100, round(100 * MAX_RATIO)), 16).shape == (16, 16)


def test_what_cannot_be_decoded_keeps_the_decoders_word():
    with pytest.raises(DecodeError, match="not_an_image"):
        open_slice(b"hello there", 16)
    with pytest.raises(DecodeError, match="empty: no image was given"):
        read_bytes(None)


@pytest.mark.parametrize("word", REFUSALS)
def test_the_docs_have_a_row_for_every_refusal(word: str):
    assert f"| `{word}` |" in DOCS.read_text(encoding="utf-8")
