"""From what a request holds to the pixels that a model takes, or to the reason why it gets none.

Each refusal starts with one word. What cannot be decoded keeps the words of `pipeline.schemas`
(`QUARANTINE_REASONS`); what can, and is no single brain MR slice all the same, has one of `REFUSALS`.
"""

import base64
import binascii
import io
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.curation.foreign import judge_pixels
from pipeline.curation.thumbnails import SIDE
from pipeline.errors import DecodeError, ServingError
from pipeline.imaging.decode import Decoded, decode_image, resize_grey

MAX_IMAGE_BYTES = 32 << 20
MIN_SIDE = 64
"""Pixels. The smallest slice of three real collections has 167."""
MAX_RATIO = 2.5
"""Of the longer side to the shorter: input is squeezed to a square. The longest slice there has 1.61."""
MODALITIES = ("MR",)

REFUSALS = {
    "wrong_size": f"a side below {MIN_SIDE} pixels, or one side more than {MAX_RATIO} times the other",
    "wrong_mode": "black and white without grey between",
    "several_frames": "an animation, a stack or a volume: one slice at a time is answered",
    "wrong_modality": "a DICOM file that says it is no MR",
    "foreign": "blank, noise, a screenshot, a photograph or a CT, by the rules of curation",
    "far": "farther from the training images than nearly all of val",
}

_STACKS = ("GIF", "TIFF", "WEBP", "PNG")

Pixels = NDArray[np.uint8]


def open_slice(image: Any, size: int) -> Pixels:
    """The model's input from one cell of a request: a pure function of its bytes.

    Args:
        image: an encoded file, as bytes or as base64 text (a `data:` prefix is allowed).
        size: side of the model's input.

    Returns:
        uint8 [size, size], grey.

    Raises:
        DecodeError: there is no image in it that can be decoded.
        ServingError: it is no single brain MR slice; starts with one of `REFUSALS`.
    """
    data = read_bytes(image)
    decoded = decode_image(data)
    check_slice(decoded, data)
    return resize_grey(decoded.pixels, size)


def check_slice(decoded: Decoded, data: bytes) -> None:
    """Refuse what no model was trained on, from its form, its header and cheap statistics of its pixels.

    Raises:
        ServingError: starts with one of `REFUSALS`, then says what was found and what is allowed.
    """
    short, long = sorted(decoded.pixels.shape)
    if short < MIN_SIDE or long > MAX_RATIO * short:
        height, width = decoded.pixels.shape
        raise ServingError(
            f"wrong_size: {width} × {height} pixels; sides of {MIN_SIDE} and more are read, the longer at "
            f"most {MAX_RATIO} times the shorter"
        )
    if decoded.mode == "1":
        raise ServingError("wrong_mode: black and white alone; give grey levels, 8 bits or more")
    _check_header(decoded, data)
    verdict = judge_pixels(resize_grey(decoded.pixels, SIDE), decoded.colour)
    if verdict:
        raise ServingError(f"foreign: looks like {verdict[0]} and not like a brain MR slice: {verdict[1]}")


def read_bytes(image: Any) -> bytes:
    """The bytes of a file in one cell of a request.

    Raises:
        DecodeError: there are none, too many, or the text is not base64.
    """
    if image is None or (isinstance(image, float) and math.isnan(image)) or image is pd.NA:
        raise DecodeError("empty", "no image was given")
    if not isinstance(image, str | bytes):
        raise DecodeError("not_an_image", f"found {type(image).__name__}; give base64 text or bytes")
    if len(image) > MAX_IMAGE_BYTES * 4 // 3 + 4096:
        raise DecodeError("too_large", f"more than {MAX_IMAGE_BYTES >> 20} MB, encoded")
    data = image if isinstance(image, bytes) else _decode_text(image)
    if not data:
        raise DecodeError("empty", "the image has no bytes")
    if len(data) > MAX_IMAGE_BYTES:
        raise DecodeError("too_large", f"{len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} are read")
    return data


def _decode_text(text: str) -> bytes:
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("not_an_image", f"not base64 text: {error}") from error


def _check_header(decoded: Decoded, data: bytes) -> None:
    frames, modality = 1, "MR"
    if decoded.format == "DICOM":
        frames, modality = _read_header(data)
    elif decoded.format in _STACKS:
        with Image.open(io.BytesIO(data)) as image:
            frames = 2 if getattr(image, "is_animated", False) else 1
    if modality not in MODALITIES:
        raise ServingError(f"wrong_modality: {modality}, by its header; answered is {', '.join(MODALITIES)}")
    if frames > 1:
        raise ServingError(f"several_frames: a {decoded.format} of more than one; send each slice by itself")


def _read_header(data: bytes) -> tuple[int, str]:
    """Frames and modality of a DICOM file that has been decoded; one that names no modality counts as MR."""
    import pydicom

    names = ["NumberOfFrames", "Modality"]
    stored = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=names)
    return int(stored.get("NumberOfFrames") or 1), str(stored.get("Modality") or "MR")
