"""Any file's bytes to one grey picture, or to the reason why not. No bytes crash it, none decode half."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import DecodeError
from pipeline.imaging.matlab import HDF5_STARTS, MAGIC, open_matlab, read_matlab

MAX_PIXELS = 64_000_000
"""Larger pictures are refused from their header, before any pixel is decoded."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "MAT")

Pixels = NDArray[np.uint8]

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


class _JpegFile(JpegImageFile):
    """Pillow's JPEG, without the look for a resolution in the EXIF, which warns where that is broken."""

    def _read_dpi_from_exif(self) -> None:
        return


# Pillow's plugins are called by name: Image.open would pick others by itself, and warn of large pictures.
_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
}
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
_EXIF_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112: how to turn the stored rows into what is seen."""


@dataclass(frozen=True)
class Decoded:
    """One picture.

    Attributes:
        pixels: uint8 [height, width] grey, writable, as seen (orientation applied).
        mode: colour mode as stored: Pillow's name, or the number type of a MATLAB array.
        format: one of `FORMATS`, found in the bytes.
    """

    pixels: Pixels
    mode: str
    format: str


def decode_image(data: bytes, name: str = "") -> Decoded:
    """Decode a picture of any supported format to 8-bit grey; a pure function of `data`.

    Colour becomes grey by ITU-R 601 (Pillow's `L`); transparency is laid over black; pictures of more than
    8 bits are windowed from their minimum to their maximum; of animations and stacks the first frame counts.

    Args:
        data: the file's bytes; the format is found in them, whatever the file is called.
        name: how messages call the file.

    Raises:
        DecodeError: with a reason of `pipeline.tables.QUARANTINE_REASONS`: empty, not_an_image, too_large,
            truncated or corrupt.
    """
    if not data:
        raise DecodeError("empty", "0 bytes")
    kind = sniff_format(data)
    if kind is None:
        raise DecodeError(
            "not_an_image", f"starts with {data[:8]!r}; read are {', '.join(FORMATS[:-1])} and MATLAB v7.3"
        )
    try:
        pixels, mode = _decode_matlab(data) if kind == "MAT" else _decode_pillow(data, kind)
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError("too_large", f"{kind}: {error}") from error
    except Exception as error:  # decoders raise whatever the bytes drive them into
        reason = "truncated" if _ends_early(data, kind, error) else "corrupt"
        raise DecodeError(reason, f"{kind}: {error or type(error).__name__}".replace("\n", " ")) from error
    return Decoded(pixels, mode, kind)


def sniff_format(data: bytes) -> str | None:
    """The format that the first bytes claim, one of `FORMATS`, or None."""
    if any(data.startswith(MAGIC, start) for start in HDF5_STARTS):
        return "MAT"
    starts = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"GIF87a": "GIF",
        b"GIF89a": "GIF",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"II+\0": "TIFF",
        b"MM\0+": "TIFF",
    }
    for start, kind in starts.items():
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # `BM` alone also starts ordinary text.
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    return None


def resize_grey(pixels: Pixels, size: int) -> Pixels:
    """Resize uint8 [height, width] to uint8 [size, size]; the aspect is not kept.

    A side that shrinks is averaged over areas, so nothing aliases; one that grows is interpolated linearly.
    The reference projects squeeze to a square too, so that figures stay comparable.
    """
    height, width = pixels.shape
    across, down = _choose_filter(width, size), _choose_filter(height, size)
    if across == down:
        return np.asarray(cv2.resize(pixels, (size, size), interpolation=across), np.uint8)
    half = cv2.resize(pixels, (size, height), interpolation=across)
    return np.asarray(cv2.resize(half, (size, size), interpolation=down), np.uint8)


def window_grey(values: NDArray[Any]) -> Pixels:
    """Spread numbers linearly from their minimum (0) to their maximum (255), rounded half to even.

    What is not finite becomes 0; a picture of one value becomes 0 throughout.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and values.size:
        low = int(values.min())
        steps = _window_numbers(np.arange(low, int(values.max()) + 1, dtype=np.float64))
        return np.asarray(steps[values.astype(np.int32) - low], np.uint8)  # a table: ten times as fast
    return _window_numbers(values.astype(np.float64))


def _window_numbers(numbers: NDArray[np.float64]) -> Pixels:
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(numbers.shape, np.uint8)
    low, high = numbers[finite].min(), numbers[finite].max()
    if low == high:
        return np.zeros(numbers.shape, np.uint8)
    scale = max(abs(low), abs(high))  # keeps high - low finite for the largest numbers
    numbers = np.where(finite, numbers, low) / scale
    share = (numbers - low / scale) / (high / scale - low / scale)
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)


def _decode_matlab(data: bytes) -> tuple[Pixels, str]:
    with open_matlab(data) as group:
        stored = read_matlab(group, "image", MAX_PIXELS)
    if stored.ndim != 2 or not stored.size:
        raise DecodeError("corrupt", f"MAT: cjdata/image has shape {stored.shape}; two sides are needed")
    return window_grey(np.ascontiguousarray(stored.T)), str(stored.dtype)


def _decode_pillow(data: bytes, kind: str) -> tuple[Pixels, str]:
    if kind == "WEBP":  # its plugin makes room for the whole canvas when it opens
        _check_size(*_find_webp_size(data))
    with _PLUGINS[kind](io.BytesIO(data)) as image:
        _check_size(*image.size)
        mode = image.mode
        image.load()
        return _make_grey(_turn_upright(image, kind)), mode


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError("too_large", f"{width} × {height} pixels; at most {MAX_PIXELS} in all")
    if width < 1 or height < 1:
        raise DecodeError("corrupt", f"{width} × {height} pixels")


def _find_webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from a WebP's first chunk (RFC 9649, 2.5 to 2.7); 1, 1 where it has another."""
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return (
            int.from_bytes(body[6:8], "little") & 0x3FFF or 1,
            int.from_bytes(body[8:10], "little") & 0x3FFF or 1,
        )
    return 1, 1


def _turn_upright(image: Image.Image, kind: str) -> Image.Image:
    if kind == "TIFF":  # its plugin has turned it while loading
        return image
    try:
        transpose = _TRANSPOSES.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing about the pixels
        return image
    return image if transpose is None else image.transpose(transpose)


def _make_grey(image: Image.Image) -> Pixels:
    if image.mode.startswith(("I", "F")):
        return window_grey(np.asarray(image))
    if image.mode == "LAB":
        return np.array(image.getchannel(0))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if image.mode in ("La", "RGBa"):
            image = image.convert(image.mode.replace("a", "A"))
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("1", "L", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _ends_early(data: bytes, kind: str, error: Exception) -> bool:
    """Whether a file that failed to decode lacks its end, by the decoder's words or the format's marks."""
    if "image file is truncated" in str(error):
        return True
    if kind in _END_MARKS:
        return _END_MARKS[kind] not in data[-64:]
    if kind == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if kind == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    if kind == "TIFF" and len(data) <= int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big"):
        return True  # libtiff writes the directory last
    return "truncated" in str(error).lower()


def _choose_filter(side: int, size: int) -> int:
    return int(cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
