"""What the bytes of one file tell: the picture, small, with cheap statistics, and what it says of itself."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.collections.figshare import Entry, describe_slice
from pipeline.errors import DecodeError
from pipeline.imaging.decode import Decoded, decode_image, resize_grey
from pipeline.imaging.windows import Pixels

THUMBNAIL_SIZE = 128
DARK = 16
"""Grey levels below it count as black background; JPEG ripples stay below."""


@dataclass(frozen=True)
class Looks:
    """What the grey pixels of one image are like: a row of table `looks`, its image_id aside."""

    brightness: float
    contrast: float
    colour: float
    dark: float
    border: float
    jpeg: int | None


@dataclass(frozen=True)
class Findings:
    """What the bytes tell: all of the first six, or `reason` and `detail`; `entry` where it was asked for."""

    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    thumbnail: bytes | None = None
    looks: Looks | None = None
    entry: Entry | None = None
    reason: str | None = None
    detail: str | None = None


def inspect_bytes(data: bytes, *, describe: bool = False) -> Findings:
    """Decode and measure a picture once; a pure function of `data`, and no bytes make it raise.

    Args:
        data: the whole file.
        describe: whether it is a slice that describes itself, so that label, patient and box are read too.
    """
    entry = describe_slice(data) if describe else None
    try:
        decoded = decode_image(data)
    except DecodeError as error:
        return Findings(entry=entry, reason=error.reason, detail=error.detail)
    height, width = decoded.pixels.shape
    return Findings(
        width,
        height,
        decoded.mode,
        decoded.format,
        resize_grey(decoded.pixels, THUMBNAIL_SIZE).tobytes(),
        measure_looks(decoded),
        entry,
    )


def measure_looks(decoded: Decoded) -> Looks:
    """Brightness, contrast, darkness and border of a picture at its full size, rounded to 6 decimals."""
    pixels = decoded.pixels
    mean, deviation = cv2.meanStdDev(pixels)
    return Looks(
        brightness=round(float(mean[0, 0]), 6),
        contrast=round(float(deviation[0, 0]), 6),
        colour=decoded.colour,
        dark=_share_dark(pixels),
        border=_share_dark(np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])),
        jpeg=decoded.jpeg,
    )


def _share_dark(pixels: Pixels) -> float:
    return round(int(np.count_nonzero(pixels < DARK)) / pixels.size, 6)
