"""One more image: it is told what the table `pairs` would say, whichever of two images was changed."""

import numpy as np
import pandas as pd
import pytest
from painted_heads import (
    adjust,
    blur,
    crop,
    equalise,
    name_image,
    pad,
    paint_head,
    reencode,
    rotate,
    shrink,
    tabulate_thumbnails,
)

from pipeline.curation.lookup import PictureIndex, tell_orientation
from pipeline.curation.pairs import compare_images
from pipeline.errors import TableError

HEADS = {f"head{seed}": paint_head(seed) for seed in range(12)}
CHANGES = {
    "the same": lambda p: p,
    "re-encoded": reencode,
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "quarter turn": lambda p: np.ascontiguousarray(np.rot90(p)),
    "rotated": lambda p: rotate(p, 13),
    "cropped": lambda p: crop(p, 0.14, 0.02, 0.1, 0.12),
    "padded": lambda p: pad(p, 0.02, 0.14, 0.1, 0.05),
    "white frame": lambda p: 255 - pad(255 - p, 0.1, 0.05, 0.06, 0.12),
    "cropped, dark, blurred": lambda p: reencode(blur(adjust(crop(p, 0.1, 0.05, 0.1, 0.1), 0.6), 1.5)),
    "CLAHE": equalise,
}


@pytest.fixture(scope="module")
def index():
    return PictureIndex(tabulate_thumbnails(HEADS))


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_is_found_first(index, change):
    first, *others = index.find(shrink(CHANGES[change](HEADS["head5"])))
    assert (first.image_id, first.verdict) == (name_image("head5"), "copy")
    assert [one for one in others if one.verdict == "copy"] == []


@pytest.mark.parametrize("change", ["cropped", "padded", "rotated"])
def test_a_whole_picture_finds_its_changed_copy(change):
    known = HEADS | {"head5": CHANGES[change](HEADS["head5"])}
    first = PictureIndex(tabulate_thumbnails(known)).find(shrink(HEADS["head5"]))[0]
    assert (first.image_id, first.verdict) == (name_image("head5"), "copy")


def test_a_mirror_image_says_so(index):
    first = index.find(shrink(CHANGES["mirrored"](HEADS["head3"])))[0]
    assert (first.mirrored, first.turned) == (True, 0)
    assert tell_orientation(first.mirrored, first.turned) == "mirrored"
    assert tell_orientation(True, 90) == "mirrored and turned by 90°"
    assert tell_orientation(False, 0) == ""


@pytest.mark.parametrize("change", ["mirrored", "rotated", "cropped"])
def test_it_says_what_the_table_pairs_says(index, change):
    changed = CHANGES[change](HEADS["head5"])
    pairs = compare_images(tabulate_thumbnails(HEADS | {"new": changed}))
    ends = pairs[["first", "second"]].eq(name_image("new")).any(axis=1)
    (row,) = pairs[ends & (pairs["verdict"] == "copy")].to_dict("records")
    first = index.find(shrink(changed))[0]
    assert (first.score, first.evidence) == (pytest.approx(row["score"], abs=0.03), row["evidence"])


def test_a_stranger_is_no_copy(index):
    assert [one.verdict for one in index.find(shrink(paint_head(99))) if one.verdict != "rejected"] == []


def test_a_neighbouring_slice_is_no_copy(index):
    found = index.find(shrink(paint_head(5, slice_seed=77)))
    assert found[0].image_id == name_image("head5")
    assert found[0].verdict == "rejected"


def test_the_order_of_rows_changes_nothing(index):
    other = PictureIndex(tabulate_thumbnails(HEADS).iloc[::-1], workers=2)
    asked = shrink(rotate(HEADS["head2"], 7))
    assert other.find(asked) == index.find(asked)


def test_what_shows_nothing_is_like_nothing(index):
    assert index.find(np.zeros((128, 128), np.uint8)) == []
    blank = tabulate_thumbnails({"blank": np.full((128, 128), 7, np.uint8)})
    assert len(PictureIndex(pd.concat([tabulate_thumbnails(HEADS), blank]))) == len(HEADS)


def test_without_known_images_it_says_what_to_do():
    with pytest.raises(TableError, match="no image that shows anything; run `make curate` first"):
        PictureIndex(tabulate_thumbnails({"blank": np.zeros((128, 128), np.uint8)}))
