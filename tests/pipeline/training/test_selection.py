"""Which rows a recipe uses: its collections, one copy a picture, and the protocol's own test collection."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imaging.variants import choose_images
from pipeline.recipe import DataSpec
from pipeline.training.selection import select_for_any, select_used

PARTS = ("train", "val", "test")
ROWS = [
    ("r1", "reference", "train", "p", 0),
    ("a1", "kaggle_a", "train", "p", 1),
    ("b1", "kaggle_b", "train", "p", 2),
    ("b2", "kaggle_b", "train", "q", 0),
    ("a2", "kaggle_a", "val", "v", 0),
    ("a3", "kaggle_a", "test", "t", 1),
    ("b3", "kaggle_b", "test", "t", 0),
    ("b4", "kaggle_b", "left_out", "t", 2),
    ("b5", "kaggle_b", "test", None, None),
    ("b6", "kaggle_b", "test", None, None),
]


@pytest.fixture
def rows() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, columns=["image_id", "collection", "split", "picture_id", "copy_rank"])
    return frame.astype({"copy_rank": "Int64"}).assign(label="glioma")


def used(rows, *parts, protocol="patient", **data) -> list[str]:
    return select_used(rows, DataSpec(**data), parts, protocol=protocol)["image_id"].tolist()


def test_the_best_copy_among_the_collections_in_use(rows):
    assert used(rows, "train") == ["r1", "b2"]
    assert used(rows, "train", collections=("kaggle_a", "kaggle_b")) == ["a1", "b2"]
    assert used(rows, "train", collections=("kaggle_b",)) == ["b1", "b2"]
    assert used(rows, "test", collections=("kaggle_a",)) == ["a3"]
    assert used(rows, "train", copies="all") == ["r1", "a1", "b1", "b2"]


def test_a_copy_that_is_left_out_stands_for_nothing(rows):
    rows.loc[rows["image_id"] == "b3", "split"] = "left_out"
    assert used(rows, "test") == ["a3", "b5", "b6"]


def test_an_external_test_is_what_the_protocol_says(rows):
    assert used(rows, *PARTS, protocol="external:kaggle_b", collections=("kaggle_a",)) == [
        *("a1", "a2", "b3", "b5", "b6")
    ]


DATA = st.builds(
    DataSpec,
    collections=st.lists(st.sampled_from(["reference", "kaggle_a", "kaggle_b"]), unique=True).map(tuple),
    copies=st.sampled_from(["one", "all"]),
)


@settings(max_examples=50, deadline=None)
@given(recipes=st.lists(DATA, min_size=1, max_size=3), limit=st.none() | st.integers(1, 2))
def test_the_variants_cover_every_test_row_that_a_recipe_may_choose(recipes, limit):
    frame = pd.DataFrame(ROWS, columns=["image_id", "collection", "split", "picture_id", "copy_rank"])
    frame = frame.astype({"copy_rank": "Int64"}).assign(label="glioma")
    chosen = select_for_any(frame, recipes, ("test",), protocol="patient")
    degraded = set(choose_images(chosen, limit=limit).index)
    pictures = chosen["picture_id"].fillna(chosen["image_id"])
    kept = set(pictures[chosen["image_id"].isin(degraded)])
    assert len(kept) == min(limit or 99, pictures.nunique())
    for data in recipes:
        own = select_used(frame, data, ("test",), protocol="patient")
        assert set(own["image_id"]) <= set(chosen["image_id"])
        named = own["picture_id"].fillna(own["image_id"])
        assert set(own.loc[named.isin(kept), "image_id"]) <= degraded
