"""The copy that stands for a picture: the stated rule, step by step, and one a picture whatever is used."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_worlds import UPRIGHT, Shot, Tables, tabulate

from pipeline.curation.copies import keep_one_copy, rank_copies
from pipeline.errors import TableError

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def tables() -> Tables:
    """Four copies of one picture, alike in everything."""
    return tabulate([Shot(name, "shelf", "glioma", "one") for name in NAMES])


def rank(tables: Tables, **options) -> list[int]:
    """Ranks of the copies in the order of their image_ids."""
    ranks = rank_copies(tables.images, tables.pictures, tables.patients, **options)
    return ranks.tolist()


def change(frame: pd.DataFrame, index: int, **cells: object) -> None:
    for column, value in cells.items():
        frame.at[index, column] = value


def find_place(tables: Tables, index: int, **options) -> int:
    return rank(tables, **options)[index]


def test_alike_copies_go_by_a_draw_that_content_decides(tables):
    assert sorted(rank(tables)) == [0, 1, 2, 3]
    drawn = {
        rank(tabulate([Shot(f"{name}{other}", "shelf", "glioma", "one") for name in NAMES])).index(0)
        for other in range(40)
    }
    assert drawn == {0, 1, 2, 3}, "no collection is preferred"


@pytest.mark.parametrize(
    "cells",
    [
        {"mirrored": True, "transform": [-1.0, 0.0, 1.0, 0.0, 1.0, 0.0]},
        {"turned": 180, "transform": [-1.0, 0.0, 1.0, 0.0, -1.0, 1.0]},
        {"transform": [0.985, -0.17, 0.1, 0.17, 0.985, -0.08]},
        {"transform": [1.2, 0.0, -0.1, 0.0, 1.2, -0.1]},
    ],
    ids=["mirrored", "turned", "rotated", "cropped"],
)
@pytest.mark.parametrize("index", [1, 2, 3])
def test_upright_and_whole_before_changed(tables, cells, index):
    change(tables.pictures, index, **cells)
    change(tables.images, index, width=512, height=512)
    assert find_place(tables, index) == 3


def test_a_small_shift_is_no_change(tables):
    before = rank(tables)
    change(tables.pictures, 2, transform=[1.01, 0.0, 0.02, 0.0, 1.01, -0.02])
    assert rank(tables) == before


def test_upright_is_what_the_reference_shows(tables):
    for index in (0, 1, 2):
        change(tables.pictures, index, transform=UPRIGHT)
    change(tables.pictures, 3, mirrored=True, transform=[-1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    assert find_place(tables, 3) == 3
    change(tables.patients, 3, source="record")
    assert find_place(tables, 3) == 0


def test_a_copy_of_half_the_resolution_gives_way(tables):
    for index in (0, 1, 3):
        change(tables.images, index, width=512, height=512)
    change(tables.images, 2, width=224, height=224)
    assert find_place(tables, 2) == 3
    change(tables.images, 2, width=300, height=300)
    before = rank(tables)
    change(tables.images, 2, width=512, height=512)
    assert rank(tables) == before


def test_a_copy_that_is_compressed_far_more_gives_way(tables):
    looks = pd.DataFrame({"image_id": tables.images["image_id"], "jpeg": pd.array([900, 300, None, 200])})
    assert {find_place(tables, index, looks=looks) for index in (0, 1)} == {2, 3}


def test_row_order_changes_nothing(tables):
    change(tables.images, 2, width=128)
    shuffled = tables.shuffled(3)
    assert rank(shuffled) == rank(tables)


def test_an_image_that_a_table_lacks_is_refused(tables):
    with pytest.raises(
        TableError, match=r"images \(4 rows\) and pictures \(3 rows\).*materialise both again"
    ):
        rank_copies(tables.images, tables.pictures.iloc[1:], tables.patients)
    twice = pd.concat([tables.patients, tables.patients.iloc[[0]]])
    with pytest.raises(TableError, match=r"patients \(5 rows\)"):
        rank_copies(tables.images, tables.pictures, twice)


ROWS = st.lists(
    st.tuples(st.sampled_from(["p", "q", None]), st.integers(0, 40), st.sampled_from(["train", "test"])),
    max_size=12,
    unique_by=lambda row: row[1],
)


@settings(deadline=None)
@given(rows=ROWS)
def test_one_row_a_picture_and_split_and_all_without_a_picture(rows):
    frame = pd.DataFrame(rows, columns=["picture_id", "copy_rank", "split"])
    frame["image_id"] = [str(index) for index in range(len(frame))]
    frame["copy_rank"] = frame["copy_rank"].where(frame["picture_id"].notna()).astype("Int64")
    kept = keep_one_copy(frame)
    assert kept.index.is_monotonic_increasing
    nameless = frame["picture_id"].isna()
    assert set(frame.index[nameless]) <= set(kept.index)
    best = frame[~nameless].astype({"copy_rank": int}).groupby(["split", "picture_id"])["copy_rank"].min()
    found = kept[kept["picture_id"].notna()].set_index(["split", "picture_id"])["copy_rank"]
    assert found.astype(int).to_dict() == best.to_dict()


def test_the_upright_identity_is_the_one_that_the_tables_carry():
    from pipeline.curation.copies import IDENTITY

    assert list(IDENTITY) == UPRIGHT
