"""What happens to a picture on its way into a collection: turned, scaled, brightened, encoded, damaged."""

import io
from dataclasses import dataclass, field
from typing import Literal

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.phantoms.distortions import UNDISTORTED, Distortion, Transform, distort, map_picture, move_mask
from pipeline.phantoms.scanner import SIZE, Box, Exposure, find_box

Mode = Literal["L", "RGB", "RGBA", "P", "I;16"]
Format = Literal["JPEG", "PNG", "MAT"]

# Copies stay above 128 px, below which nobody has shown that copies can be told from neighbours.
SIZES = ((256, 256), (201, 233), (192, 192), (225, 225), (236, 214), (173, 201), (150, 168), (256, 232))

MAT_HEADER = b"MATLAB 7.3 MAT-file, Platform: PHANTOM, Created by pipeline.phantoms HDF5 schema 1.00 ."
MAT_VERSION = b"\x00" * 8 + b"\x00\x02IM"


@dataclass(frozen=True)
class Treatment:
    """All that was done to a picture; equal treatments of one picture give equal bytes.

    Args:
        size: (width, height) in pixels; None keeps the rendered size.
        distortion: what happened to it between mirroring and scaling.
        gain, lift: brightness × gain + lift, before clipping to 0 … 255.
        cut: share of the bytes that is kept; below 1 the file ends early.
        mask: whether the file shows the tumour's mask and not the picture.
        tags: label and patient id for the MATLAB format, which carries its own record.
    """

    mirror: bool = False
    distortion: Distortion = UNDISTORTED
    size: tuple[int, int] | None = None
    gain: float = 1.0
    lift: float = 0.0
    mode: Mode = "L"
    format: Format = "JPEG"
    quality: int = 92
    cut: float = 1.0
    mask: bool = False
    tags: tuple[int, str] | None = field(default=None)


def encode_file(exposure: Exposure, treatment: Treatment) -> bytes:
    """The bytes of a file that shows `exposure` after `treatment`; a function of both alone."""
    if treatment.format == "MAT":
        return _encode_matlab(exposure, treatment)
    source = exposure.mask.astype(np.uint8) * np.uint8(255) if treatment.mask else exposure.pixels
    data = _encode_picture(_alter(source, treatment), treatment)
    return data[: int(len(data) * treatment.cut)]


def trace_treatment(treatment: Treatment) -> Transform:
    """Where a point of the rendered picture lies in the treated file; see `map_picture`."""
    return map_picture(treatment.distortion, mirror=treatment.mirror, size=SIZE)


def trace_box(exposure: Exposure, treatment: Treatment) -> Box | None:
    """The tumour's box in the pixels of the treated file, around the mask as it was moved."""
    mask = exposure.mask[:, ::-1] if treatment.mirror else exposure.mask
    return find_box(move_mask(mask, treatment.distortion))


def _alter(pixels: NDArray[np.uint8], treatment: Treatment) -> NDArray[np.uint8]:
    if treatment.mirror:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    pixels = distort(pixels, treatment.distortion)
    if treatment.size is not None:
        shrinks = treatment.size[0] < pixels.shape[1] and treatment.size[1] < pixels.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, treatment.size, interpolation=how), np.uint8)
    if (treatment.gain, treatment.lift) != (1.0, 0.0):
        pixels = np.clip(pixels * treatment.gain + treatment.lift + 0.5, 0, 255).astype(np.uint8)
    return pixels


def _encode_picture(pixels: NDArray[np.uint8], treatment: Treatment) -> bytes:
    stream = io.BytesIO()
    image = _set_mode(pixels, treatment.mode)
    if treatment.format == "JPEG":
        image.save(stream, "JPEG", quality=treatment.quality)
    else:
        image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _set_mode(pixels: NDArray[np.uint8], mode: Mode) -> Image.Image:
    grey = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels.astype(np.uint16) * np.uint16(257))
    if mode == "RGBA":
        opaque = (cv2.GaussianBlur(pixels, (0, 0), 4) > 3).astype(np.uint8) * np.uint8(255)
        return Image.merge("RGBA", (grey, grey, grey, Image.fromarray(opaque)))
    if mode == "P":
        # 64 steps of grey in an order of its own, so that an index is never a brightness.
        order = np.random.default_rng(64).permutation(64)
        image = Image.fromarray(np.argsort(order).astype(np.uint8)[pixels // 4], "P")
        image.putpalette([int(value) * 4 + 2 for value in order for _ in range(3)])
        return image
    return grey if mode == "L" else grey.convert(mode)


def _encode_matlab(exposure: Exposure, treatment: Treatment) -> bytes:
    """A MATLAB v7.3 file as figshare 1512427 has them: HDF5 behind a header of 512 bytes, axes reversed."""
    label, pid = treatment.tags or (0, "")
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        record = file.create_group("cjdata")
        record.attrs["MATLAB_class"] = np.bytes_("struct")
        # A scanner's own scale, 12 bits or so: only the order of brightness is that of the picture.
        image = exposure.pixels.astype(np.int16) * np.int16(11) + np.int16(30)
        _put(record, "image", image.T, "int16")
        _put(record, "label", np.array([[label]], np.float64), "double")
        _put(record, "PID", np.array([[ord(letter)] for letter in pid], np.uint16), "char")
        _put(record, "tumorBorder", _trace_border(exposure.mask)[None, :], "double")
        _put(record, "tumorMask", exposure.mask.T.astype(np.uint8), "logical")
    data = bytearray(stream.getvalue())
    data[:128] = MAT_HEADER.ljust(128 - len(MAT_VERSION)) + MAT_VERSION
    return bytes(data)


def _put(record: h5py.Group, name: str, values: NDArray[np.generic], kind: str) -> None:
    dataset = record.create_dataset(name, data=values, track_times=False)
    dataset.attrs["MATLAB_class"] = np.bytes_(kind)


def _trace_border(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points on the outline of the largest part, [x1, y1, x2, y2, …], pixels from 1."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return np.zeros(0)
    outline = max(outlines, key=cv2.contourArea)[:, 0, :]
    return np.asarray(outline[:: max(1, len(outline) // 40)].reshape(-1) + 1.0, np.float64)
