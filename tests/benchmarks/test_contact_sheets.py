"""The contact sheets that people judge by: aligned images, bands, and the count of what was judged."""

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.copies import make_copy
from benchmarks.precision import (
    COLUMNS,
    STRIP,
    align_image,
    draw_cell,
    draw_pairs,
    name_bands,
    print_tally,
    tile_cells,
)
from pipeline.imaging.decode import resize_grey

Pixels = NDArray[np.uint8]


def draw_head(seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.standard_normal((16, 16)), (256, 256), interpolation=cv2.INTER_CUBIC)
    head = np.zeros((256, 256))
    cv2.ellipse(head, (134, 120), (80, 95), 10, 0, 360, 110, -1)
    return np.clip((head > 0) * (head + 30 * texture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["rotation", "crop", "border", "mirror", "turn90", "three"])
def test_the_second_image_is_carried_back_onto_the_first(kind: str) -> None:
    head = draw_head()
    copy, transform = make_copy(head, kind, 1)
    back = align_image(copy, transform, 128)
    inside = align_image(np.full_like(copy, 255), transform, 128) == 255
    assert np.corrcoef(back[inside], resize_grey(head, 128)[inside])[0, 1] > 0.97


def test_the_difference_of_equal_images_is_grey_and_that_of_others_is_not() -> None:
    head, other = draw_head(), draw_head(seed=1)
    still = (1, 0, 0, 0, 1, 0)
    same = draw_cell(head, np.asarray(head // 2 + 40, np.uint8), still, "same", side=64)
    differs = draw_cell(head, other, still, "differs", side=64)
    assert same.shape == (64 + STRIP, 3 * 64)
    assert np.abs(same[STRIP:, 128:].astype(int) - 128).max() <= 8
    assert np.abs(differs[STRIP:, 128:].astype(int) - 128).max() > 60


def test_cells_fill_rows_and_the_rest_is_black() -> None:
    sheet = tile_cells([np.full((3, 5), 9, np.uint8)] * (COLUMNS + 1), COLUMNS)
    assert sheet.shape == (6, 5 * COLUMNS)
    assert (sheet[3:, 5:] == 0).all() and (sheet[:3] == 9).all()


def make_pairs(count: int) -> pd.DataFrame:
    scores = np.linspace(0.3, 1, count).round(6)
    return pd.DataFrame(
        {
            "first": [f"{number:032x}" for number in range(count)],
            "second": [f"{number + count:032x}" for number in range(count)],
            "score": scores,
            "evidence": "aligned",
            "verdict": np.where(scores >= 0.9, "copy", np.where(scores >= 0.8, "review", "rejected")),
        }
    )


def test_every_pair_has_a_band_that_holds_its_score() -> None:
    pairs = make_pairs(400)
    for verdict, score, band in zip(pairs["verdict"], pairs["score"], name_bands(pairs), strict=True):
        assert band.startswith(verdict)
        low, high = (float(edge) for edge in band.split()[-3::2])
        assert low <= score <= high


def test_the_draw_depends_on_content_alone() -> None:
    pairs = make_pairs(400)
    drawn = draw_pairs(pairs, 10)
    shuffled = draw_pairs(pairs.sample(frac=1, random_state=3), 10)
    pd.testing.assert_frame_equal(drawn, shuffled)
    assert drawn.groupby("band").size().max() == 10
    assert (drawn.groupby("band")["of"].first() == name_bands(pairs).value_counts().sort_index()).all()


def test_a_picture_with_many_copies_does_not_fill_the_sheets() -> None:
    ids = [f"{number:032x}" for number in range(40)]
    many = [(ids[a], ids[b]) for a in range(12) for b in range(a + 1, 12)]
    few = [(ids[a], ids[a + 1]) for a in range(12, 40, 2)]
    pairs = pd.DataFrame(many + few, columns=["first", "second"])
    pairs = pairs.assign(score=0.97, evidence="lncc", verdict="copy")
    drawn = draw_pairs(pairs, 15)
    assert len(drawn) == 15
    assert set(few) < set(zip(drawn["first"], drawn["second"], strict=True))


def test_the_tally_counts_what_was_judged(capsys: pytest.CaptureFixture[str]) -> None:
    judged = pd.DataFrame({"band": ["review"] * 4, "of": [9] * 4, "same": ["yes", "no", "no", None]})
    print_tally(judged.assign(picture=list("aabc")))
    assert "| review | 9 | 3 | 2 | 1 | 2 | 0 |" in capsys.readouterr().out
