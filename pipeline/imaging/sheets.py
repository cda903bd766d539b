"""Contact sheets: grey tiles with captions, as PNG bytes that are the same on every call."""

import base64
import io
import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import FalxError

# Dagster shows a data URI only while the event stays small; 100 kB of PNG is 133 kB of base64.
METADATA_BYTES = 100_000

_FONT_PIXELS = 10
_LINE_PIXELS = 13
_GAP = 4
_PAPER = 24
_INK = 220
_SHRINK = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3)
_SMALLEST_TILE = 24
# Pillow's built-in font has ASCII and few signs more; these would show as boxes.
_SPELLINGS = str.maketrans({"→": "->", "←": "<-", "×": "x", "–": "-", "≥": ">=", "≤": "<=", "•": "·"})
_SIGNS = "…·°±"

Grey: TypeAlias = NDArray[np.uint8]


def draw_sheet(
    images: Sequence[Grey],
    captions: Sequence[str],
    *,
    columns: int,
    tile: int = 96,
    levels: int = 256,
) -> bytes:
    """Draw a contact sheet.

    Args:
        images: grey uint8 [height, width] each, any size; the aspect is kept, the rest of a tile is black.
        captions: one a picture; a line break starts a new line; what is wider than the tile ends in `…`;
            accents are dropped and signs that the font lacks are spelled in ASCII.
        columns: tiles a row.
        tile: side of a tile, pixels.
        levels: grey levels kept, 2 to 256; fewer make a smaller file.

    Returns:
        An 8-bit grey PNG; the same input gives the same bytes.

    Raises:
        ValueError: no pictures, another number of captions, columns < 1, or an image that is not grey uint8.
    """
    _check_sheet(images, captions, columns)
    font = ImageFont.load_default(_FONT_PIXELS)
    lines = [[_fit_line(line, font, tile) for line in _spell(caption).split("\n")] for caption in captions]
    step_x = tile + _GAP
    step_y = tile + _GAP + _LINE_PIXELS * max(len(caption) for caption in lines)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new("L", (columns * step_x + _GAP, rows * step_y + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(images, lines, strict=True)):
        left, top = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        sheet.paste(Image.fromarray(_fit_tile(image, tile)), (left, top))
        for number, line in enumerate(caption):
            pen.text((left, top + tile + number * _LINE_PIXELS), line, fill=_INK, font=font)
    return _encode_png(sheet, levels)


def fit_sheet(
    images: Sequence[Grey],
    captions: Sequence[str],
    *,
    columns: int,
    tile: int = 96,
    limit: int = METADATA_BYTES,
) -> bytes:
    """Draw a contact sheet of at most `limit` bytes: fewer grey levels first, then smaller tiles.

    Raises:
        FalxError: no allowed tile size fits; show fewer pictures.
        ValueError: as for `draw_sheet`.
    """
    for share in _SHRINK:
        side = max(_SMALLEST_TILE, round(tile * share))
        for levels in (256, 32, 16):
            png = draw_sheet(images, captions, columns=columns, tile=side, levels=levels)
            if len(png) <= limit:
                return png
    raise FalxError(
        f"a contact sheet of {len(images)} pictures takes {len(png):,} bytes even at {side} pixels a tile "
        f"and 16 grey levels; {limit:,} are allowed. Show fewer pictures."
    )


def data_uri(png: bytes) -> str:
    """PNG bytes as a `data:` address, for markdown metadata.

    Raises:
        FalxError: more than `METADATA_BYTES`; draw it with `fit_sheet`.
    """
    if len(png) > METADATA_BYTES:
        raise FalxError(
            f"a picture of {len(png):,} bytes is too large for metadata; {METADATA_BYTES:,} are allowed. "
            "Draw it with fit_sheet, or with fewer pixels."
        )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _check_sheet(images: Sequence[Grey], captions: Sequence[str], columns: int) -> None:
    if not images or columns < 1:
        raise ValueError(f"a sheet needs pictures and columns; got {len(images)} and {columns}")
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures but {len(captions)} captions; one each is needed")
    for index, image in enumerate(images):
        if image.ndim != 2 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(
                f"picture {index} is {image.dtype} {image.shape}; uint8 [height, width] is needed"
            )


def _fit_tile(image: Grey, tile: int) -> Grey:
    height, width = image.shape
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas: Grey = np.zeros((tile, tile), np.uint8)
    top, left = (tile - size[1]) // 2, (tile - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


def _spell(caption: str) -> str:
    letters = unicodedata.normalize("NFKD", caption.translate(_SPELLINGS).replace("…", "\x00"))
    plain = (sign for sign in letters.replace("\x00", "…") if not unicodedata.combining(sign))
    return "".join(sign if sign.isascii() or sign in _SIGNS else "?" for sign in plain)


def _fit_line(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = len(line)
    while kept and font.getlength(line[:kept] + "…") > width:
        kept -= 1
    return line[:kept] + "…"


def _encode_png(sheet: Image.Image, levels: int) -> bytes:
    if levels < 256:
        step = 255 / (levels - 1)
        sheet = sheet.point([round(round(value / step) * step) for value in range(256)])
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
