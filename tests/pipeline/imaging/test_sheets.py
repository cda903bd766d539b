"""Contact sheets: layout, captions, sizes, sameness."""

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import FalxError
from pipeline.imaging.sheets import METADATA_BYTES, data_uri, draw_sheet, fit_sheet


def open_png(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


def noise(count: int, size: int = 96) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8))


def test_tiles_stand_in_rows_in_the_order_given() -> None:
    greys = [np.full((50, 50), level, np.uint8) for level in (40, 120, 200)]
    sheet = open_png(draw_sheet(greys, ["a", "b", "c"], columns=2, tile=40))
    assert sheet.shape == (4 + 2 * (40 + 4 + 13), 4 + 2 * (40 + 4))
    assert [sheet[24, 24], sheet[24, 68], sheet[81, 24]] == [40, 120, 200]
    assert (sheet[62:101, 49:] == 24).all()


def test_a_caption_stands_under_its_tile_and_takes_its_lines() -> None:
    black = np.zeros((40, 40), np.uint8)
    blank = open_png(draw_sheet([black], [""], columns=1, tile=40))
    one = open_png(draw_sheet([black], ["gli"], columns=1, tile=40))
    two = open_png(draw_sheet([black], ["gli\nabc"], columns=1, tile=40))
    assert (one[:44] == blank[:44]).all()
    assert (one[44:] != blank[44:]).sum() > 10
    assert two.shape[0] == one.shape[0] + 13


def test_a_long_caption_stays_within_its_tile() -> None:
    greys = [np.zeros((40, 40), np.uint8)] * 2
    sheet = open_png(draw_sheet(greys, ["a caption far wider than forty pixels", ""], columns=2, tile=40))
    assert (sheet[44:, 46:] == 24).all()


def test_aspect_is_kept_on_black() -> None:
    wide = np.full((20, 80), 200, np.uint8)
    tile = open_png(draw_sheet([wide], [""], columns=1, tile=80))[4:84, 4:84]
    assert (tile[30:50] == 200).all()
    assert (tile[:30] == 0).all()
    assert (tile[50:] == 0).all()


def test_a_sheet_has_no_more_columns_than_pictures() -> None:
    assert open_png(draw_sheet(noise(2, 10), ["", ""], columns=9, tile=24)).shape[1] == 4 + 2 * 28


def test_same_input_gives_the_same_bytes() -> None:
    first = draw_sheet(noise(3), ["ä → ·", "b", "c"], columns=3)
    assert first == draw_sheet(noise(3), ["ä → ·", "b", "c"], columns=3)
    assert first != draw_sheet(noise(3), ["ä → ·", "b", "d"], columns=3)


@pytest.mark.parametrize(("written", "shown"), [("é → ×2", "e -> x2"), ("≥ 3 – 4", ">= 3 - 4"), ("脳", "?")])
def test_signs_that_the_font_lacks_are_spelled(written: str, shown: str) -> None:
    black = [np.zeros((96, 96), np.uint8)]
    assert draw_sheet(black, [written], columns=1) == draw_sheet(black, [shown], columns=1)


@pytest.mark.parametrize("count", [4, 24])
def test_fitted_sheets_stay_under_the_limit(count: int) -> None:
    png = fit_sheet(noise(count), ["x"] * count, columns=6)
    assert len(png) <= METADATA_BYTES
    assert open_png(png).ndim == 2


def test_a_sheet_that_fits_is_left_as_it_is() -> None:
    assert fit_sheet(noise(2), ["a", "b"], columns=2) == draw_sheet(noise(2), ["a", "b"], columns=2)


def test_a_sheet_that_cannot_fit_is_refused() -> None:
    with pytest.raises(FalxError, match="Show fewer pictures"):
        fit_sheet(noise(30), ["x"] * 30, columns=6, limit=2_000)


def test_data_uri_carries_the_bytes() -> None:
    png = draw_sheet(noise(1), ["a"], columns=1)
    head, body = data_uri(png).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == png


def test_data_uri_refuses_what_is_too_large() -> None:
    with pytest.raises(FalxError, match="fit_sheet"):
        data_uri(bytes(METADATA_BYTES + 1))


@pytest.mark.parametrize(
    ("images", "captions", "columns", "message"),
    [
        ([], [], 3, "needs pictures"),
        (noise(1), ["a"], 0, "needs pictures and columns"),
        (noise(2), ["a"], 3, "2 pictures but 1 captions"),
        ([np.zeros((4, 4), np.float32)], ["a"], 1, "picture 0 is float32"),
        ([np.zeros((4, 4, 3), np.uint8)], ["a"], 1, r"picture 0 is uint8 \(4, 4, 3\)"),
        ([np.zeros((0, 4), np.uint8)], ["a"], 1, "picture 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(images: list, captions: list, columns: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_sheet(images, captions, columns=columns)
