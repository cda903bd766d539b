"""The exam: val images alone, none of which the champion has seen, and old ones told from newcomers."""

import pandas as pd
import pytest
from exam_sheets import groups_of, split_of

from pipeline.errors import ReleaseError
from pipeline.release.exam import remember, set_exam

SPLIT = split_of(
    ("a0", "train", "glioma"),
    ("b0", "val", "glioma"),
    ("c0", "val", "meningioma"),
    ("d0", "test", "pituitary"),
    ("e0", "left_out", "pituitary"),
)
GROUPS = groups_of(a0="g1", b0="g2", c0="g3", d0="g4", e0="g5")


def parts(exam) -> dict[str, str]:
    return dict(zip(exam.rows["image_id"], exam.rows["part"], strict=True))


def test_without_a_champion_every_val_image_is_settled_and_no_other_is_asked():
    exam = set_exam(SPLIT, GROUPS)
    assert parts(exam) == {"b0": "settled", "c0": "settled"}
    assert exam.seen == 0


def test_what_came_after_the_champion_is_a_newcomer():
    exam = set_exam(SPLIT, GROUPS, remember(SPLIT[SPLIT["image_id"] != "c0"]))
    assert parts(exam) == {"b0": "settled", "c0": "newcomer"}


def test_a_val_image_whose_group_the_champion_was_trained_on_is_left_out():
    joined = groups_of(a0="g1", b0="g1", c0="g3", d0="g4", e0="g5")
    exam = set_exam(SPLIT, joined, remember(SPLIT))
    assert parts(exam) == {"c0": "settled"}
    assert exam.seen == 1


def test_a_new_copy_of_a_judged_picture_takes_no_place():
    before = split_of(("b1", "val", "glioma"))
    now = split_of(("b1", "val", "glioma"), ("b0", "val", "glioma"))
    exam = set_exam(now, groups_of(b0="g2", b1="g2"), remember(before))
    assert parts(exam) == {"b1": "settled"}
    assert len(set_exam(now, groups_of(b0="g2", b1="g2")).rows) == 1, "a picture counts once"


def test_an_exam_without_images_says_what_to_do():
    with pytest.raises(ReleaseError, match=r"of 2 val images .* none is new to the champion.*make rollback"):
        set_exam(SPLIT, groups_of(a0="g", b0="g", c0="g", d0="h", e0="i"), remember(SPLIT))


def test_what_a_model_has_seen_is_train_and_val_and_never_test():
    assert remember(SPLIT).to_numpy().tolist() == [["a0", "train"], ["b0", "val"], ["c0", "val"]]


def test_the_order_of_the_rows_changes_nothing():
    shuffled = SPLIT.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(set_exam(SPLIT, GROUPS).rows, set_exam(shuffled, GROUPS).rows)
