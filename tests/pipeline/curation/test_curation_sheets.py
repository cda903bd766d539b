"""Contact sheets of curation: right pictures, boxes in place, blind choice, small enough for Dagster."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.curation.boxes import compose, invert
from pipeline.curation.sheets import (
    describe_way,
    draw_boxes,
    draw_conflicts,
    draw_copies,
    draw_foreign,
    draw_labels,
    find_way,
)
from pipeline.errors import TableError
from pipeline.imaging.sheets import METADATA_BYTES
from pipeline.labels import LABELS

IDS = [f"{number:032x}" for number in range(12)]
IMAGES = pd.DataFrame(
    {"image_id": IDS, "collection": "masoudnickparvar", "label": [LABELS[number % 4] for number in range(12)]}
)
THUMBNAILS = pd.DataFrame(
    {"image_id": IDS, "pixels": [bytes(np.full(128 * 128, 20 * number, np.uint8)) for number in range(12)]}
)
IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
MIRROR = [-1.0, 0.0, 1.0, 0.0, 1.0, 0.0]


def rotation(degrees, scale=1.0):
    """Counter-clockwise about the centre, y pointing down."""
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return [cosine, sine, 0.5 - (cosine + sine) / 2, -sine, cosine, 0.5 - (cosine - sine) / 2]


def pictures(joined: dict[int, int], ways: dict[int, list[float]] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": IDS,
            "picture_id": [f"p{joined.get(number, number)}" for number in range(12)],
            "joined_to": [IDS[joined.get(number, number)] for number in range(12)],
            "score": [1.0 - number / 100 for number in range(12)],
            "evidence": "ncc",
            "mirrored": False,
            "turned": 0,
            "transform": [(ways or {}).get(number, IDENTITY) for number in range(12)],
        }
    )


def patients(copies: dict[int, int], boxes: dict[int, tuple[float, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": IDS, "patient_id": "ref:7", "reference_label": "glioma"})
    frame["source"] = ["copy" if number in copies else "record" for number in range(12)]
    frame["reference_id"] = [IDS[copies.get(number, number)] for number in range(12)]
    nothing = (math.nan,) * 4
    for at, side in enumerate("xywh"):
        frame[f"box_{side}"] = [boxes.get(number, nothing)[at] for number in range(12)]
    return frame


def read(png: bytes) -> np.ndarray:
    assert len(png) <= METADATA_BYTES
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def holds(sheet: np.ndarray, level: int) -> bool:
    return (sheet == level).sum() > 2000


def test_labels_are_drawn_in_their_order():
    sheet = read(draw_labels(IMAGES, THUMBNAILS, each=1))
    assert all(holds(sheet, level) for level in (0, 20, 40, 60))
    columns = [int(np.argwhere(sheet == level)[:, 0].mean()) for level in (0, 20, 40, 60)]
    assert columns == sorted(columns)


def test_row_order_changes_nothing():
    shuffled = IMAGES.sample(frac=1, random_state=3)
    assert draw_labels(shuffled, THUMBNAILS) == draw_labels(IMAGES, THUMBNAILS)
    table, owners = (
        pictures({1: 0, 2: 0}),
        patients({1: 0, 2: 0}, dict.fromkeys(range(3), (0.5, 0.5, 0.2, 0.2))),
    )
    assert draw_boxes(owners.iloc[::-1], table.iloc[::-1], THUMBNAILS) == draw_boxes(
        owners, table, THUMBNAILS
    )


def test_the_weakest_joins_are_shown():
    sheet = read(draw_copies(IMAGES, pictures({11: 3, 2: 1}), THUMBNAILS, count=1))
    assert holds(sheet, 220)
    assert holds(sheet, 60)
    assert not holds(sheet, 40)


def test_a_box_is_drawn_where_it_lies_on_copy_and_slice():
    owners = patients({5: 4}, {4: (0.25, 0.5, 0.25, 0.5), 5: (0.75, 0.5, 0.25, 0.5)})
    sheet = read(draw_boxes(owners, pictures({5: 4}, {5: MIRROR}), THUMBNAILS, count=1))
    tile = (sheet.shape[1] - 8) / 128
    for level, left, right in ((100, 80, 112), (80, 16, 48)):
        top = int(np.argwhere(sheet == level)[:, 0].min())
        lines = np.argwhere(sheet[top : top + round(128 * tile)] > 240)
        lines = lines[(lines[:, 0] > 10) & (lines[:, 0] < 110 * tile)]
        assert (lines[:, 1].min() - 4) / tile == pytest.approx(left, abs=2)
        assert (lines[:, 1].max() - 4) / tile == pytest.approx(right, abs=2)
        assert lines[:, 0].min() / tile == pytest.approx(32, abs=2)
        assert lines[:, 0].max() / tile == pytest.approx(96, abs=2)


def test_the_oddest_copies_are_shown_first_and_the_rest_blind():
    ways = {9: MIRROR, 8: rotation(3), 7: rotation(90)}
    copies = dict.fromkeys((1, 2, 3, 7, 8, 9), 0)
    owners = patients(copies, dict.fromkeys(range(12), (0.5, 0.5, 0.1, 0.1)))
    sheet = read(draw_boxes(owners, pictures(copies, ways), THUMBNAILS, count=4))
    upper = sheet[: sheet.shape[0] // 2]
    assert {level for level in range(0, 240, 20) if holds(upper, level)} == {140, 180, 20, 40}


def conflicts(*rows: tuple[int, str, str | None, list[str], str | None, str | None]) -> pd.DataFrame:
    columns = ["number", "kind", "label", "labels", "reference_label", "resolved"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(image_id=[IDS[number] for number in frame["number"]], path="a/b.jpg")


def test_a_conflict_stands_above_what_contradicts_it():
    table = conflicts(
        (5, "reference", "pituitary", ["glioma", "pituitary"], "glioma", "glioma"),
        (7, "copies", "glioma", ["glioma", "no_tumor"], None, None),
        (8, "copies", "no_tumor", ["glioma", "no_tumor"], None, None),
        (10, "bytes", None, ["glioma", "no_tumor"], None, None),
    )
    owners = patients({5: 3}, {}).assign(
        reference_id=[IDS[3] if number == 5 else None for number in range(12)]
    )
    sheet = read(draw_conflicts(table, pictures({5: 3, 8: 7}), owners, THUMBNAILS))
    half = sheet.shape[0] // 2
    assert [holds(sheet[:half], level) for level in (100, 140, 200)] == [True] * 3
    assert [holds(sheet[half:], level) for level in (60, 160, 200)] == [True] * 3
    assert not holds(sheet[:half], 160)  # one image a picture


def test_foreign_images_are_shown_in_turn_of_their_kinds():
    table = pd.DataFrame(
        {"image_id": IDS[1:8], "kind": ["ct"] * 6 + ["noise"], "path": "a/b.jpg", "kept": False}
    )
    sheet = read(draw_foreign(table, THUMBNAILS, count=2))
    assert [holds(sheet, level) for level in (20, 140, 40)] == [True, True, False]


def test_nothing_found_is_no_sheet():
    assert draw_copies(IMAGES, pictures({}), THUMBNAILS) is None
    assert draw_boxes(patients({}, {}), pictures({}), THUMBNAILS) is None
    assert draw_boxes(patients({1: 0}, {}), pictures({1: 0}), THUMBNAILS) is None
    assert draw_conflicts(conflicts(), pictures({}), patients({}, {}), THUMBNAILS) is None
    nothing = pd.DataFrame({"image_id": [], "kind": [], "path": [], "kept": []})
    assert draw_foreign(nothing, THUMBNAILS) is None


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (IDENTITY, "upright"),
        (MIRROR, "mirrored"),
        (rotation(90), "turned 90°"),
        (rotation(-90), "turned 270°"),
        (rotation(7), "+7°"),
        (rotation(-12, 1.25), "-12°, × 1.25"),
        (compose(rotation(180), MIRROR), "mirrored, turned 180°"),
        (compose(rotation(95), MIRROR), "mirrored, turned 90°, +5°"),
        (compose(rotation(-100), MIRROR), "mirrored, turned 270°, -10°"),
    ],
)
def test_a_way_is_told_in_words_whatever_the_representative(way, words):
    assert describe_way(find_way(IDENTITY, way)) == words
    between = compose(rotation(33, 0.8), MIRROR)
    assert describe_way(find_way(between, compose(way, between))) == words
    assert describe_way(find_way(invert(tuple(way)), IDENTITY)) == words


def test_no_label_is_an_error():
    with pytest.raises(ValueError, match="picture"):
        draw_labels(IMAGES.assign(label=None), THUMBNAILS)


def test_thumbnails_of_another_size_are_refused():
    with pytest.raises(TableError, match="128 × 128 bytes"):
        draw_labels(IMAGES, THUMBNAILS.assign(pixels=b"short"))
