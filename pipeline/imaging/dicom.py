"""DICOM files: the first frame as grey numbers or colours, refused before any large allocation."""

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.errors import DecodeError
from pipeline.imaging.windows import Pixels, window_grey

MAGIC = b"DICM"
MAGIC_START = 128
"""Where the magic stands: behind a preamble that says nothing (DICOM PS3.10, 7.1)."""

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
DECODERS = {**dict.fromkeys(NATIVE, ""), RLE: "pydicom", JPEG: "pillow"}
"""Transfer syntax (DICOM PS3.5, annex A) to the one plugin that reads it, whatever else is installed."""

MAX_RLE_BYTES = 8_000_000
"""Run lengths unpack to at most 64 times their size, so that this bounds what they can claim."""

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_QUIET = threading.Lock()


def read_dicom(data: bytes, most: int) -> tuple[Pixels, str]:
    """The first frame of a DICOM file and its mode, `<photometric interpretation>;<bits stored>`.

    Grey frames come as uint8 [height, width]: numbers after slope and intercept, through the file's first
    window where it gives one, else from their minimum to their maximum; MONOCHROME1 is inverted, so that more
    is brighter. Colour frames come as uint8 [height, width, 3]. Lookup tables other than palettes are not
    applied.

    Args:
        data: the file's bytes, from its preamble on.
        most: pixels at most.

    Raises:
        DecodeError: `not_an_image` without pixel data, `too_large`, `truncated`, `corrupt` for what is no
            plain frame or of a transfer syntax not in `DECODERS`.
    """
    with _without_warnings():
        import pydicom

        stored = pydicom.dcmread(io.BytesIO(data))
        if not any(name in stored for name in _PIXELS):
            if "Rows" in stored:  # pydicom says nothing of an early end
                raise DecodeError("truncated", "DICOM: it states its rows, and ends before its pixel data")
            raise DecodeError("not_an_image", "DICOM: no pixel data in it")
        syntax = str(stored.file_meta.get("TransferSyntaxUID", "none"))
        if syntax not in DECODERS:
            raise DecodeError(
                "corrupt",
                f"DICOM: transfer syntax {syntax} is not read; convert it to explicit little endian",
            )
        _check_frame(stored, syntax, most)
        return _read_frame(stored, DECODERS[syntax])


@contextmanager
def _without_warnings() -> Iterator[None]:
    # pydicom remarks on every odd value; the filters are the process's own, so one thread at a time.
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_frame(stored: Any, syntax: str, most: int) -> None:
    rows, columns = int(stored.Rows), int(stored.Columns)
    if rows * columns > most:
        raise DecodeError("too_large", f"DICOM: {columns} × {rows} pixels; at most {most} in all")
    if rows < 1 or columns < 1:
        raise DecodeError("corrupt", f"DICOM: {columns} × {rows} pixels")
    if syntax in NATIVE:
        return
    from pydicom.encaps import get_frame

    frame = get_frame(stored.PixelData, 0, number_of_frames=int(stored.get("NumberOfFrames", 1) or 1))
    if syntax == RLE and len(frame) > MAX_RLE_BYTES:
        raise DecodeError("too_large", f"DICOM: {len(frame)} bytes of run lengths; at most {MAX_RLE_BYTES}")
    if syntax == JPEG:
        with JpegImageFile(io.BytesIO(frame)) as image:
            size = image.size
        if size != (columns, rows):
            raise DecodeError("corrupt", f"DICOM: a JPEG of {size}, where {(columns, rows)} is stated")


def _read_frame(stored: Any, plugin: str) -> tuple[Pixels, str]:
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    values = pixel_array(stored, index=0, decoding_plugin=plugin)
    kind = str(stored.PhotometricInterpretation)
    mode = f"{kind};{int(stored.get('BitsStored', values.dtype.itemsize * 8))}"
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, stored)
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype.kind == "u":
        return np.asarray(values >> 8 * (values.dtype.itemsize - 1), np.uint8), mode
    if values.ndim != 2 or not kind.startswith("MONOCHROME"):
        raise DecodeError(
            "corrupt", f"DICOM: a frame of shape {values.shape} in {kind}, neither grey nor RGB"
        )
    pixels = _apply_window(values, stored)
    return (255 - pixels if kind == "MONOCHROME1" else pixels), mode


def _apply_window(values: NDArray[Any], stored: Any) -> Pixels:
    """PS3.3: slope and intercept (C.11.1.1.2), then the window functions of C.11.2.1.2.1 and C.11.2.1.3."""
    slope, intercept = _first(stored, "RescaleSlope", 1), _first(stored, "RescaleIntercept", 0)
    centre, width = _first(stored, "WindowCenter", math.nan), _first(stored, "WindowWidth", math.nan)
    if math.isnan(centre) or math.isnan(width):
        return window_grey(values if (slope, intercept) == (1, 0) else values * slope + intercept)
    numbers = values * slope + intercept
    kind = str(stored.get("VOILUTFunction", "") or "LINEAR")
    if kind == "LINEAR" and width > 1:
        share = (numbers - (centre - 0.5)) / (width - 1) + 0.5
    elif kind == "LINEAR" and width == 1:
        share = (numbers > centre - 0.5).astype(np.float64)
    elif kind == "LINEAR_EXACT" and width > 0:
        share = (numbers - centre) / width + 0.5
    elif kind == "SIGMOID" and width > 0:
        share = 1 / (1 + np.exp(np.clip(-4 * (numbers - centre) / width, -700, 700)))
    else:
        raise DecodeError("corrupt", f"DICOM: a window of width {width} under the function {kind}")
    return np.asarray(np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * 255), np.uint8)


def _first(stored: Any, name: str, missing: float) -> float:
    value = stored.get(name)
    if value is None or value == "":
        return missing
    number = float(value if isinstance(value, str | float | int) else value[0])
    if not math.isfinite(number):
        raise DecodeError("corrupt", f"DICOM: {name} is {number}")
    return number
