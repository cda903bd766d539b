"""Any file's bytes to one grey picture, or to the reason why not. No bytes crash it, none decode half."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import DecodeError
from pipeline.imaging import dicom, matlab
from pipeline.imaging.jpeg import JpegFile, decode_plain, read_header, sum_quantisation
from pipeline.imaging.windows import Pixels, window_grey

MAX_PIXELS = 1 << 24
"""4096 × 4096. Larger pictures are refused from their header, before any pixel is decoded."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "DICOM", "MAT")

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


# Pillow's plugins are called by name: Image.open would pick others by itself, and warn of large pictures.
_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
}
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
_EARLY_ENDS = ("image file is truncated", "bytes of pixel data is less than expected")
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
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
        mode: colour mode as stored: Pillow's name, the number type of a MATLAB array, or DICOM's photometric
            interpretation and bits.
        format: one of `FORMATS`, found in the bytes.
        colour: mean over pixels of the largest minus the smallest of red, green and blue, 0 to 255; 0 for
            what is stored grey.
        jpeg: sum of the 64 entries of the luminance quantisation table; None for other formats.
    """

    pixels: Pixels
    mode: str
    format: str
    colour: float = 0.0
    jpeg: int | None = None


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
        return _OTHERS[kind](data) if kind in _OTHERS else _decode_pillow(data, kind)
    except (DecodeError, ImportError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError("too_large", f"{kind}: {error}") from error
    except Exception as error:  # decoders raise whatever the bytes drive them into
        reason = "truncated" if _ends_early(data, kind, error) else "corrupt"
        raise DecodeError(reason, f"{kind}: {error or type(error).__name__}".replace("\n", " ")) from error


def sniff_format(data: bytes) -> str | None:
    """The format that the first bytes claim, one of `FORMATS`, or None."""
    if data.startswith(dicom.MAGIC, dicom.MAGIC_START):  # whose preamble may start as a TIFF
        return "DICOM"
    for start, kind in _STARTS.items():
        if data.startswith(start):
            return kind
    if any(data.startswith(matlab.MAGIC, start) for start in matlab.HDF5_STARTS):
        return "MAT"
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
    if height == width in (4 * size, 8 * size):  # a quarter of the time, a level apart at most
        return resize_grey(resize_grey(pixels, height // 2), size)
    across, down = _choose_filter(width, size), _choose_filter(height, size)
    if across == down:
        return np.asarray(cv2.resize(pixels, (size, size), interpolation=across), np.uint8)
    half = cv2.resize(pixels, (size, height), interpolation=across)
    return np.asarray(cv2.resize(half, (size, size), interpolation=down), np.uint8)


def _decode_matlab(data: bytes) -> Decoded:
    with matlab.open_matlab(data) as group:
        stored = matlab.read_matlab(group, "image", MAX_PIXELS)
    if stored.ndim != 2 or not stored.size:
        raise DecodeError("corrupt", f"MAT: cjdata/image has shape {stored.shape}; two sides are needed")
    return Decoded(window_grey(np.ascontiguousarray(stored.T)), str(stored.dtype), "MAT")


def _decode_dicom(data: bytes) -> Decoded:
    values, mode = dicom.read_dicom(data, MAX_PIXELS)
    pixels, colour = _make_grey(Image.fromarray(values))
    return Decoded(pixels, mode, "DICOM", colour)


def _decode_pillow(data: bytes, kind: str) -> Decoded:
    if kind == "WEBP":  # its plugin makes room for the whole canvas when it opens
        _check_size(*_find_webp_size(data))
    with _PLUGINS[kind](io.BytesIO(data)) as image:
        _check_size(*image.size)
        mode, jpeg = image.mode, sum_quantisation(image) if isinstance(image, JpegFile) else None
        image.load()
        pixels, colour = _make_grey(_turn_upright(image, kind))
        return Decoded(pixels, mode, kind, colour, jpeg)


def _decode_jpeg(data: bytes) -> Decoded:
    header = read_header(data)
    if header is not None:
        _check_size(header.width, header.height)
        plain = decode_plain(data, header)
        if plain is not None:
            pixels, colour = (plain, 0.0) if plain.ndim == 2 else _reduce_colours(cv2.split(plain)[::-1])
            return Decoded(pixels, header.mode, "JPEG", colour, header.quantisation)
    return _decode_pillow(data, "JPEG")


_OTHERS = {"MAT": _decode_matlab, "DICOM": _decode_dicom, "JPEG": _decode_jpeg}


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


def _make_grey(image: Image.Image) -> tuple[Pixels, float]:
    """Grey pixels, and the mean spread of the colours as seen, which is 0 for what is stored grey."""
    if image.mode.startswith(("I", "F")):
        return window_grey(np.asarray(image)), 0.0
    if image.mode == "LAB":
        return np.array(image.getchannel(0)), _reduce_colours(_split_colours(image))[1]
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if image.mode in ("La", "RGBa"):
            image = image.convert(image.mode.replace("a", "A"))
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode == "L":
        return _view_pixels(image).copy(), 0.0
    if image.mode == "1":
        return np.array(image.convert("L")), 0.0
    return _reduce_colours(_split_colours(image))


def _split_colours(image: Image.Image) -> Sequence[Any]:
    return cv2.split(_view_pixels(image if image.mode == "RGB" else image.convert("RGB")))


def _reduce_colours(planes: Sequence[Any]) -> tuple[Pixels, float]:
    """Grey by ITU-R 601 of red, green, blue (what follows is ignored), and their mean spread, 6 decimals.

    Without any spread the red is the grey, exactly: the weights add up to 1.
    """
    red, green, blue = planes[:3]
    if not cv2.norm(red, green, cv2.NORM_INF) and not cv2.norm(green, blue, cv2.NORM_INF):
        return np.asarray(red, np.uint8), 0.0
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    grey = Image.fromarray(cv2.merge((red, green, blue))).convert("L")
    return np.array(grey), round(float(cv2.mean(spread)[0]), 6)


def _view_pixels(image: Image.Image) -> Pixels:
    """The pixels of an L or RGB image: read-only uint8 [height, width] or [height, width, 3 or 4]."""
    try:
        buffer = pa.array(image).buffers()[-1]  # where Pillow keeps them: a tenth of the time of a copy
    except ValueError:  # it keeps a large image in pieces
        return np.asarray(image)
    shape = (image.height, image.width, 4)[: 2 if image.mode == "L" else 3]
    return np.frombuffer(buffer, np.uint8).reshape(shape)


def _ends_early(data: bytes, kind: str, error: Exception) -> bool:
    """Whether a file that failed to decode lacks its end, by the decoder's words or the format's marks."""
    if any(words in str(error) for words in _EARLY_ENDS):
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
