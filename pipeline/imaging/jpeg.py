"""JPEG: Pillow's reader, and a faster one for plain whole files that gives the same pixels.

OpenCV decodes with the same library, libjpeg-turbo, in three quarters of Pillow's time. It says nothing of
data that end early, so that only files which provably hold their one scan to its end come to it.
"""

import re

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.imaging.windows import Pixels

FRAMES = (0xC0, 0xC1)
"""Baseline and extended sequential DCT with Huffman coding (ITU-T T.81, table B.1)."""

_SEGMENTS = frozenset((*FRAMES, 0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
_SCAN, _END = 0xDA, b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_UNUSUAL = ("exif", "xmp", "adobe")


class JpegFile(JpegImageFile):
    """Pillow's JPEG, without the look for a resolution in the EXIF, which warns where that is broken."""

    def _read_dpi_from_exif(self) -> None:
        return


def sum_quantisation(image: JpegImageFile) -> int | None:
    """Sum of the table that the first component, luminance, is quantised by (ITU-T T.81, B.2.2, B.2.4.1)."""
    table = image.quantization.get(image.layer[0][3]) if image.layer else None
    return None if table is None else sum(table)


def decode_plain(data: bytes, image: JpegImageFile) -> Pixels | None:
    """Pixels of a whole baseline JPEG: uint8 [height, width], or [height, width, 3] blue, green, red.

    Args:
        data: the file's bytes.
        image: the same file, opened and not loaded; its size is not checked here.

    Returns:
        None for anything else than one scan of 1 or 3 components that ends in the marker of the image's end,
        and for files with EXIF, XMP or Adobe's segment, which may ask for a turn or other colours.
    """
    if image.mode not in ("L", "RGB") or any(name in image.info for name in _UNUSUAL):
        return None
    start = _find_scan(data, len(image.layer))
    marker = None if start is None else _MARKER.search(data, start)
    if marker is None or marker[0] != _END:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    shape = (image.height, image.width, 3)[: 2 if image.mode == "L" else 3]
    return np.asarray(pixels, np.uint8) if pixels is not None and pixels.shape == shape else None


def _find_scan(data: bytes, components: int) -> int | None:
    """Where the coded data of the one scan begin; None if anything unusual comes before."""
    place = 2
    while place + 4 < len(data) and data[place] == 0xFF:
        code, length = data[place + 1], data[place + 2] << 8 | data[place + 3]
        if code == _SCAN:
            return place + 2 + length if data[place + 4] == components else None
        if code not in _SEGMENTS or length < 2:
            return None
        place += 2 + length
    return None
