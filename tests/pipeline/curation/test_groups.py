"""Groups: what pictures and patients connect, named by content."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curation.groups import form_groups
from pipeline.digests import digest_bytes
from pipeline.errors import TableError


def frames(rows):
    """(image, picture, patient) -> the two tables."""
    frame = pd.DataFrame(rows, columns=["image_id", "picture_id", "patient_id"])
    return frame[["image_id", "picture_id"]], frame[["image_id", "patient_id"]]


def test_pictures_and_patients_connect():
    rows = [("a", "p", None), ("b", "p", "one"), ("c", "q", "one"), ("d", "r", None), ("e", "r", None),
            ("f", "s", None)]  # fmt: skip
    groups = form_groups(*frames(rows)).set_index("image_id")
    assert groups.loc[["a", "b", "c"], "group_id"].nunique() == 1
    assert groups["group_id"].nunique() == 3
    assert list(groups["safety"]) == ["patient"] * 3 + ["picture"] * 2 + ["image"]
    assert groups.at["a", "group_id"] == digest_bytes(b"group:a")[:16]


def test_unknown_patients_are_not_one_patient():
    rows = [("a", "p", None), ("b", "q", float("nan"))]
    assert form_groups(*frames(rows))["group_id"].nunique() == 2


LINKS = st.lists(
    st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 6))), min_size=1, max_size=25
)


@given(links=LINKS, order=st.randoms(use_true_random=False))
def test_groups_are_the_smallest_safe_units(links, order):
    rows = [(f"i{k:02}", f"p{p}", None if head is None else f"h{head}") for k, (p, head) in enumerate(links)]
    groups = form_groups(*frames(rows)).set_index("image_id")["group_id"]
    for one in rows:
        for other in rows:
            linked = one[1] == other[1] or (one[2] is not None and one[2] == other[2])
            assert not linked or groups[one[0]] == groups[other[0]]
    reached = {group: min(ids) for group, ids in groups.groupby(groups).groups.items()}
    assert {digest_bytes(f"group:{one}".encode())[:16] for one in reached.values()} == set(reached)
    shuffled = rows[:]
    order.shuffle(shuffled)
    pd.testing.assert_frame_equal(form_groups(*frames(shuffled)), form_groups(*frames(rows)))


def test_refuses_tables_of_different_images():
    pictures, patients = frames([("a", "p", None), ("b", "q", None)])
    with pytest.raises(TableError, match="hold different images"):
        form_groups(pictures, patients.iloc[1:])
