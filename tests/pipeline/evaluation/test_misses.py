"""Missed tumours: each of them and nothing else, with its picture."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.evaluation.misses import COLUMNS, draw_misses, list_misses, render_misses

MISSES = [(0, 3, 0.6), (1, 3, 0.9), (2, 2, 0.7), (3, 3, 0.9), (3, 0, 0.5), (2, 3, 0.5)]


@pytest.fixture
def predictions(make) -> pd.DataFrame:
    scores = np.zeros((len(MISSES), 4))
    for row, (_, called, share) in enumerate(MISSES):
        scores[row] = (1 - share) / 3
        scores[row, called] = share
    return make([truth for truth, _, _ in MISSES], scores, "abcdef")


def draw_thumbnails(image_ids) -> pd.DataFrame:
    grey = [np.full((128, 128), 40 + int(name, 16), np.uint8).tobytes() for name in image_ids]
    return pd.DataFrame({"image_id": list(image_ids), "pixels": grey})


def test_tumours_called_no_tumor_are_listed_the_surest_first(predictions):
    found = list_misses(predictions)
    assert list(found.columns) == COLUMNS
    assert found["label"].tolist() == ["meningioma", "glioma", "pituitary"]
    assert found["p_no_tumor"].tolist() == pytest.approx([0.9, 0.6, 0.5])


def test_degraded_images_are_not_listed(predictions):
    degraded = pd.concat([predictions, predictions.assign(variant="gaussian_noise:3")])
    assert len(list_misses(degraded)) == 3


def test_the_order_of_the_rows_changes_nothing(predictions):
    assert list_misses(predictions.iloc[::-1]).equals(list_misses(predictions))


def test_a_sheet_shows_one_picture_a_miss(predictions):
    misses = list_misses(predictions)
    asked: list[str] = []

    def give(image_ids):
        asked.extend(image_ids)
        return draw_thumbnails(image_ids)[::-1]

    sheet = draw_misses(misses, give)
    assert asked == misses["image_id"].tolist()
    with Image.open(io.BytesIO(sheet)) as image:
        pixels = np.asarray(image)
    places = [4 + 60, 4 + 116 + 60, 4 + 232 + 60]
    assert [int(pixels[60, place]) for place in places] == [40 + int(name, 16) for name in asked]
    assert len(draw_misses(misses, draw_thumbnails, count=1)) < len(sheet)


def test_without_a_miss_there_is_no_sheet_and_the_table_says_so(predictions):
    none = list_misses(predictions[predictions["label"] == "no_tumor"])
    assert none.empty
    assert draw_misses(none, draw_thumbnails) is None
    assert render_misses(none) == "no tumour was called no_tumor"


def test_the_table_names_every_file_and_how_many_more_there_are(predictions):
    misses = list_misses(predictions)
    text = render_misses(misses)
    assert all(f"phantoms/{path}" in text for path in misses["path"])
    assert "0.900" in text
    assert "more" not in text
    assert "… and 2 more, all in `misses.csv`" in render_misses(misses, count=1)
