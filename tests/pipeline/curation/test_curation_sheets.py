"""Contact sheets of curation: right pictures, blind choice, small enough for Dagster."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.curation.sheets import draw_copies, draw_labels
from pipeline.labels import LABELS

IDS = [f"{number:032x}" for number in range(12)]
IMAGES = pd.DataFrame(
    {"image_id": IDS, "collection": "masoudnickparvar", "label": [LABELS[number % 4] for number in range(12)]}
)
THUMBNAILS = pd.DataFrame(
    {"image_id": IDS, "pixels": [bytes(np.full(4096, 20 * number, np.uint8)) for number in range(12)]}
)


def pictures(joined: dict[int, int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": IDS,
            "joined_to": [IDS[joined.get(number, number)] for number in range(12)],
            "score": [1.0 - number / 100 for number in range(12)],
            "evidence": "ncc",
            "mirrored": False,
            "flipped": False,
        }
    )


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def test_labels_are_drawn_in_their_order():
    sheet = read(draw_labels(IMAGES, THUMBNAILS, each=1))
    levels = [level for level in (0, 20, 40, 60) if (sheet == level).sum() > 2000]
    assert levels == [0, 20, 40, 60]
    columns = [int(np.argwhere(sheet == level)[:, 0].mean()) for level in levels]
    assert columns == sorted(columns)


def test_row_order_changes_nothing():
    shuffled = IMAGES.sample(frac=1, random_state=3)
    assert draw_labels(shuffled, THUMBNAILS) == draw_labels(IMAGES, THUMBNAILS)


def test_the_weakest_joins_are_shown():
    sheet = read(draw_copies(IMAGES, pictures({11: 3, 2: 1}), THUMBNAILS, count=1))
    assert (sheet == 220).sum() > 2000
    assert (sheet == 60).sum() > 2000
    assert (sheet == 40).sum() < 2000


def test_nothing_joined_is_no_sheet():
    assert draw_copies(IMAGES, pictures({}), THUMBNAILS) is None


def test_no_label_is_an_error():
    with pytest.raises(ValueError, match="picture"):
        draw_labels(IMAGES.assign(label=None), THUMBNAILS)
