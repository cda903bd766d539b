"""Pictures: proven pairs joined, decisions obeyed, no chain that glues, and transforms that compose."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation.orientation import compose, flatten, invert, orient, unflatten
from pipeline.curation.pictures import find_pictures, list_review
from pipeline.errors import TableError
from pipeline.tables import find_table, from_arrow, to_arrow

NAMES = [f"{letter}{'0' * 31}" for letter in "abcdefgh"]
STILL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def name(letter):
    return f"{letter}{'0' * 31}"


def list_pairs(*rows):
    """Pairs (letters, score, verdict, evidence, transform), the rest as it must be."""
    table = [
        (name(pair[0]), name(pair[1]), False, 0, transform, score, None, evidence, verdict, "because")
        for pair, score, verdict, evidence, transform in (
            (*row, "copy", "aligned", STILL)[:5]
            if len(row) == 2
            else (*row, "aligned", STILL)[:5]
            if len(row) == 3
            else row
            for row in rows
        )
    ]
    return pd.DataFrame(table, columns=find_table("pairs").names)


def list_images(letters="abcdefgh", references=""):
    rows = [
        (name(letter), "reference" if letter in references else "kaggle", f"{letter}.jpg", "glioma")
        for letter in letters
    ]
    return pd.DataFrame(rows, columns=["image_id", "collection", "path", "label"])


def decide(*rows):
    table = [(action, name(pair[0]), name(pair[1]), "Ada", "looked") for action, pair in rows]
    return pd.DataFrame(table, columns=find_table("decisions").names)


def group(pairs, *, references="", decisions=None, letters="abcdefgh"):
    """The pictures as sets of letters, those alone left out."""
    pictures = find_pictures(
        pairs, list_images(letters, references), references=["reference"], decisions=decisions
    )
    found = pictures.groupby("picture_id")["image_id"].agg(lambda ids: "".join(sorted(one[0] for one in ids)))
    return sorted(members for members in found if len(members) > 1)


def test_copies_join_and_others_do_not():
    pairs = list_pairs(("ab", 0.95), ("bc", 0.9), ("cd", 0.87, "review"), ("ef", 0.5, "rejected"))
    assert group(pairs) == ["abc"]


def test_table_is_as_declared():
    pictures = find_pictures(list_pairs(("ab", 0.95)), list_images())
    assert list(pictures.columns) == find_table("pictures").names
    stored = from_arrow("pictures", to_arrow("pictures", pictures))
    assert list(stored["image_id"]) == NAMES
    alone = pictures[pictures["evidence"] == "self"]
    assert (alone["image_id"] == alone["representative"]).all() and (alone["score"] == 1).all()
    joined = pictures.set_index("image_id").loc[name("b")]
    assert joined["joined_to"] == joined["representative"] == name("a")


def test_ids_of_pictures_are_stable():
    pictures = find_pictures(list_pairs(), list_images("a"))
    assert pictures["picture_id"].tolist() == ["f96a40234597a8ae"]


def test_no_chain_glues_two_reference_slices():
    chain = list_pairs(("ab", 0.97), ("bc", 0.91), ("cd", 0.95))
    assert group(chain) == ["abcd"], "the chain must connect for this test to mean much"
    assert group(chain, references="ad") == ["ab", "cd"]


@pytest.mark.parametrize(("evidence", "together"), [("ncc", ["ab"]), ("lncc", ["ab"]), ("aligned", [])])
def test_reference_slices_join_by_plain_reencoding_alone(evidence, together):
    pairs = list_pairs(("ab", 0.99, "copy", evidence, STILL))
    assert group(pairs, references="ab") == together


def test_accepted_pair_of_reference_slices_joins():
    pairs = list_pairs(("ab", 0.97))
    assert group(pairs, references="ab", decisions=decide(("accept", "ba"))) == ["ab"]


@pytest.mark.parametrize("verdict", ["review", "rejected"])
def test_accept_adds_an_edge(verdict):
    pairs = list_pairs(("ab", 0.85, verdict))
    assert group(pairs) == []
    assert group(pairs, decisions=decide(("accept", "ba"))) == ["ab"]
    pictures = find_pictures(pairs, list_images(), decisions=decide(("accept", "ab"))).set_index("image_id")
    assert pictures.at[name("b"), "evidence"] == "decision" and pictures.at[name("b"), "score"] == 0.85


def test_accept_of_a_pair_never_compared_joins_with_the_identity():
    pictures = find_pictures(list_pairs(), list_images(), decisions=decide(("accept", "ab")))
    row = pictures.set_index("image_id").loc[name("b")]
    assert (row["representative"], row["evidence"], row["score"]) == (name("a"), "decision", 0.0)
    assert row["transform"] == STILL


def test_reject_removes_an_edge():
    assert group(list_pairs(("ab", 0.95)), decisions=decide(("reject", "ba"))) == []


def test_rejected_pair_is_cut_at_the_weakest_of_a_chain():
    chain = list_pairs(("ab", 0.97), ("bc", 0.90), ("cd", 0.95))
    assert group(chain, decisions=decide(("reject", "ad"))) == ["ab", "cd"]


def test_reject_wins_over_accept():
    both = decide(("reject", "ab"), ("accept", "ab"))
    assert group(list_pairs(("ab", 0.95)), decisions=both) == []


def test_transform_and_orientation_compose_along_the_pairs():
    one = compose(np.array([[0.9, 0.05, 0.02], [-0.04, 0.95, 0.03]]), orient(1))
    other = orient(2)
    pairs = list_pairs(
        ("ab", 0.95, "copy", "aligned", flatten(one)), ("bc", 0.99, "copy", "ncc", flatten(other))
    )
    rows = find_pictures(pairs, list_images()).set_index("image_id")
    np.testing.assert_allclose(unflatten(rows.at[name("c"), "transform"]), compose(other, one), atol=2e-6)
    assert (rows.at[name("b"), "mirrored"], rows.at[name("b"), "turned"]) == (True, 0)
    assert (rows.at[name("c"), "mirrored"], rows.at[name("c"), "turned"]) == (True, 90)


def test_a_pair_is_walked_both_ways():
    pairs = list_pairs(
        ("ac", 0.95, "copy", "aligned", flatten(orient(2))), ("bc", 0.99, "copy", "ncc", flatten(orient(1)))
    )
    rows = find_pictures(pairs, list_images()).set_index("image_id")
    expected = compose(invert(orient(1)), orient(2))
    np.testing.assert_allclose(unflatten(rows.at[name("b"), "transform"]), expected, atol=1e-6)


EDGES = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(88, 99)).filter(
        lambda edge: edge[0] < edge[1]
    ),
    max_size=16,
    unique_by=lambda edge: edge[:2],
)


@settings(max_examples=60, deadline=None)
@given(
    EDGES,
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda p: p[0] < p[1]), max_size=4, unique=True
    ),
)
def test_no_rejected_pair_and_no_two_reference_slices_meet(edges, rejected):
    pairs = list_pairs(*(("abcdefgh"[i] + "abcdefgh"[j], k / 100) for i, j, k in edges))
    decisions = decide(*(("reject", "abcdefgh"[i] + "abcdefgh"[j]) for i, j in rejected))
    for members in group(pairs, references="adg", decisions=decisions):
        assert len(set(members) & set("adg")) <= 1
        assert not any({"abcdefgh"[i], "abcdefgh"[j]} <= set(members) for i, j in rejected)


@settings(max_examples=20, deadline=None)
@given(EDGES, st.integers(0, 2**16))
def test_order_of_rows_changes_nothing(edges, seed):
    pairs = list_pairs(*(("abcdefgh"[i] + "abcdefgh"[j], k / 100) for i, j, k in edges))
    images = list_images(references="ae")
    shuffled = find_pictures(
        pairs.sample(frac=1, random_state=seed),
        images.sample(frac=1, random_state=seed),
        references=["reference"],
    )
    pd.testing.assert_frame_equal(shuffled, find_pictures(pairs, images, references=["reference"]))


def test_refuses_images_that_are_not_there():
    with pytest.raises(TableError, match=r"1 images that are not in `images`: .*materialise pairs again"):
        find_pictures(list_pairs(("ab", 0.95)), list_images("a"))
    with pytest.raises(TableError, match="correct the decision file"):
        find_pictures(list_pairs(), list_images("a"), decisions=decide(("accept", "ab")))


def test_review_lists_the_grey_band_with_what_was_decided():
    pairs = list_pairs(("ab", 0.95), ("bc", 0.83, "review"), ("cd", 0.86, "review"), ("ef", 0.4, "rejected"))
    review = list_review(pairs, list_images(), decide(("reject", "dc")))
    assert list(review.columns) == find_table("review").names
    from_arrow("review", to_arrow("review", review))
    assert review["score"].tolist() == [0.86, 0.83]
    assert review.loc[0, ["decision", "who", "reason"]].tolist() == ["reject", "Ada", "looked"]
    assert review.loc[1, ["first_file", "second_file"]].tolist() == ["kaggle/b.jpg", "kaggle/c.jpg"]
    assert review.loc[1, ["decision", "who", "reason"]].isna().all()


def test_nothing_to_review_is_an_empty_table():
    review = list_review(list_pairs(), list_images(), None)
    assert list(review.columns) == find_table("review").names and review.empty
    to_arrow("review", review)
