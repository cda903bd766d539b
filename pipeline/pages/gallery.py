"""Thumbnails inside the page: single tiles, and pairs laid over each other so that the eye can judge."""

import base64
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.pages.markup import Html, escape, tag
from pipeline.tables import map_cells

TILE = 96
GAP = 2
QUALITY = 62  # WebP; a head stays a head, and a tile takes about 2 kB
STORED = 128
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Pixels = NDArray[np.uint8]
Transform = Sequence[float]


class Gallery:
    """Draws from table `thumbnails`; an image that has none becomes an empty tile with words.

    Args:
        thumbnails: table `thumbnails`.
        pictures: table `pictures`: how each image lies against its representative.
    """

    def __init__(self, thumbnails: pd.DataFrame, pictures: pd.DataFrame) -> None:
        self._bytes: Mapping[str, bytes] = map_cells(thumbnails, "image_id", "pixels")
        self._transforms: Mapping[str, Transform] = map_cells(pictures, "image_id", "transform")

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._bytes

    def tile(self, image_id: str | None, caption: object) -> Html:
        """One image with its caption."""
        pixels = self._open(image_id)
        shown = _embed([_shrink(pixels)]) if pixels is not None else _missing("no picture here")
        return tag("figure", shown, tag("figcaption", caption), class_="one")

    def pair(self, first: str, second: str, transform: Transform | None, caption: object) -> Html:
        """Two images side by side; with a transform also the second laid over the first, and what differs.

        Args:
            first, second: image_ids.
            transform: a point of `first` lies there in `second`, as in table `pairs`; None: not comparable.
            caption: below.
        """
        one, other = self._open(first), self._open(second)
        if one is None or other is None:
            return tag("figure", _missing("no picture here"), tag("figcaption", caption), class_="strip")
        tiles = [_shrink(one), _shrink(other)]
        if transform is not None:
            laid = lay_over(other, transform)
            tiles += [_shrink(laid), _shrink(differ(one, laid))]
        kind = "two" if transform is None else "strip"
        return tag("figure", _embed(tiles), tag("figcaption", caption), class_=kind)

    def boxed(self, images: Sequence[tuple[str, Sequence[float]]], caption: object) -> Html:
        """Images side by side, each with a white box: centre x, y, width, height, fractions of the image."""
        tiles = []
        for image_id, (x, y, wide, tall) in images:
            pixels = self._open(image_id)
            if pixels is None:
                return tag("figure", _missing("no picture here"), tag("figcaption", caption), class_="two")
            corners = np.array([[x - wide / 2, y - tall / 2], [x + wide / 2, y + tall / 2]]) * TILE
            (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
            tile = _shrink(pixels)
            cv2.rectangle(tile, (left, top), (right, bottom), 255, 1)
            tiles.append(tile)
        return tag("figure", _embed(tiles), tag("figcaption", caption), class_="two")

    def between(self, first: str, second: str) -> Transform | None:
        """The transform from `first` to `second`, both images of one picture, through the representative."""
        if first not in self._transforms or second not in self._transforms:
            return None
        start, end = (_matrix(self._transforms[one]) for one in (first, second))
        if abs(np.linalg.det(start)) < 1e-9:
            return None
        return [float(value) for value in (end @ np.linalg.inv(start))[:2].ravel()]

    def _open(self, image_id: str | None) -> Pixels | None:
        data = self._bytes.get(image_id) if image_id is not None else None
        return None if data is None else np.frombuffer(data, np.uint8).reshape(STORED, STORED)


def draw_tiles(thumbnails: pd.DataFrame) -> dict[str, Html]:
    """Image id -> its small picture, for each row of table `thumbnails`."""
    rows = map_cells(thumbnails, "image_id", "pixels")
    return {
        image_id: _embed([_shrink(np.frombuffer(data, np.uint8).reshape(STORED, STORED))])
        for image_id, data in rows.items()
    }


def sheet(figures: Iterable[Html]) -> Html:
    """Figures side by side, as many as fit."""
    return tag("div", *figures, class_="sheet")


def lay_over(second: Pixels, transform: Transform) -> Pixels:
    """`second` as it would lie if it were taken like `first`: uint8 [128, 128], black outside.

    Args:
        second: uint8 [128, 128].
        transform: six numbers as in table `pairs`, in fractions of width and height, y down.
    """
    a, b, c, d, e, f = (float(value) for value in transform)
    # Pixel k covers (k … k+1)/128: its centre is (k + ½)/128, which moves the constant terms.
    shift_x = STORED * c + (a + b - 1) / 2
    shift_y = STORED * f + (d + e - 1) / 2
    matrix = np.array([[a, b, shift_x], [d, e, shift_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(second, matrix, (STORED, STORED), flags=flags), np.uint8)


def differ(first: Pixels, second: Pixels) -> Pixels:
    """What differs after brightness and contrast are brought together: black where the two agree.

    The least-squares line from `second` to `first` takes out gain and offset.
    """
    x, y = second.astype(np.float64).ravel(), first.astype(np.float64).ravel()
    spread = float(((x - x.mean()) ** 2).sum())
    gain = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    fitted = gain * (second - x.mean()) + y.mean()
    different: Pixels = np.clip(np.abs(first - fitted) * 2, 0, 255).astype(np.uint8)
    return different


def _matrix(transform: Transform) -> NDArray[np.float64]:
    return np.array([*transform, 0.0, 0.0, 1.0], np.float64).reshape(3, 3)


def _shrink(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)


def _embed(tiles: Sequence[Pixels]) -> Html:
    gap = np.full((TILE, GAP), 255, np.uint8)
    strip = np.hstack([part for tile in tiles for part in (gap, tile)][1:])
    done, data = cv2.imencode(".webp", strip, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    if not done:
        raise ValueError("OpenCV could not encode a tile as WebP")
    text = base64.b64encode(data.tobytes()).decode()
    height, width = strip.shape
    return Html(f'<img src="data:image/webp;base64,{text}" width="{width}" height="{height}" alt="">')


def _missing(words: str) -> Html:
    return tag("div", escape(words), class_="gone")
