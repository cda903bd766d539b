"""JPEG: Pillow's reader, and a faster one for plain whole files that gives the same pixels.

OpenCV decodes with the same library, libjpeg-turbo, in three quarters of Pillow's time. It says nothing of
data that end early, so that only files which provably hold their one scan to its end come to it.
"""

import re
from dataclasses import dataclass

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.imaging.windows import Pixels

FRAMES = (0xC0, 0xC1)
"""Baseline and extended sequential DCT with Huffman coding (ITU-T T.81, table B.1)."""

_SKIPPED = frozenset((0xC4, 0xDD, 0xFE))
"""Huffman tables, the interval of restarts, comments."""
_TABLES, _JFIF, _SCAN, _END = 0xDB, 0xE0, 0xDA, b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_TABLE_BYTES = 65  # of 8 bits: its number, and 64 entries


@dataclass(slots=True)
class Header:
    """What a plain JPEG says before its coded data.

    Attributes:
        width, height: pixels.
        components: 1 or 3.
        quantisation: sum of the table that the first component, luminance, is quantised by (ITU-T T.81,
            B.2.2, B.2.4.1); None where there is no such table.
        start: where the coded data of the one scan begin.
    """

    width: int
    height: int
    components: int
    quantisation: int | None
    start: int

    @property
    def mode(self) -> str:
        """Pillow's name of the colour mode."""
        return "L" if self.components == 1 else "RGB"


class JpegFile(JpegImageFile):
    """Pillow's JPEG, without the look for a resolution in the EXIF, which warns where that is broken."""

    def _read_dpi_from_exif(self) -> None:
        return


def sum_quantisation(image: JpegImageFile) -> int | None:
    """Sum of the table that the first component, luminance, is quantised by (ITU-T T.81, B.2.2, B.2.4.1)."""
    table = image.quantization.get(image.layer[0][3]) if image.layer else None
    return None if table is None else sum(table)


def read_header(data: bytes) -> Header | None:
    """The header of a baseline JPEG of 1 or 3 components, as Pillow would read it, in a tenth of its time.

    None where there is anything but one frame and tables of 8 bits, JFIF's segment and comments: what stands
    in EXIF, XMP or Adobe's segment may ask for a turn or other colours.
    """
    place, frame = 2, None
    tables: dict[int, int] = {}
    while place + 4 < len(data) and data[place] == 0xFF:
        code, length = data[place + 1], data[place + 2] << 8 | data[place + 3]
        body, place = data[place + 4 : place + 2 + length], place + 2 + length
        if code == _SCAN:
            return _make_header(frame, tables, body, place)
        if length < 2 or len(body) != length - 2:
            return None
        if code in FRAMES and frame is None:
            frame = body
        elif code == _TABLES and len(body) % _TABLE_BYTES == 0:
            for start in range(0, len(body), _TABLE_BYTES):
                tables[body[start]] = sum(body[start + 1 : start + _TABLE_BYTES])
        elif code not in _SKIPPED and not (code == _JFIF and body[:5] == b"JFIF\0" and length >= 16):
            return None
    return None


def _make_header(frame: bytes | None, tables: dict[int, int], scan: bytes, start: int) -> Header | None:
    """The header, if its parts fit together; a table whose number has high bits is one of 16 bits."""
    if frame is None or len(frame) < 9 or frame[0] != 8 or frame[5] not in (1, 3) or not scan:
        return None
    if len(frame) != 6 + 3 * frame[5] or scan[0] != frame[5] or any(number > 15 for number in tables):
        return None
    height, width = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    return Header(width, height, frame[5], tables.get(frame[8]), start)


def decode_plain(data: bytes, header: Header) -> Pixels | None:
    """Pixels of a whole baseline JPEG: uint8 [height, width], or [height, width, 3] blue, green, red.

    Args:
        data: the file's bytes.
        header: what `read_header` says of them; the size is not checked here.

    Returns:
        None where the one scan does not end in the marker of the image's end.
    """
    marker = _MARKER.search(data, header.start)
    if marker is None or marker[0] != _END:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    shape = (header.height, header.width, 3)[: 2 if header.components == 1 else 3]
    return np.asarray(pixels, np.uint8) if pixels is not None and pixels.shape == shape else None
