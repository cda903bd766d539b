"""Conflicts: the reference decides, otherwise nothing does; both labels and the rule are told."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curation.conflicts import list_conflicts
from pipeline.errors import TableError
from pipeline.labels import LABELS
from pipeline.schemas import TABLES


def conflicts_of(kit, corpus, **options):
    tables = corpus.tables()
    found = list_conflicts(tables.images, tables.pictures, tables.patients, **options)
    return kit.cast("conflicts", found).set_index("image_id")


def test_agreement_is_no_conflict(kit, tables):
    found = list_conflicts(tables.images, tables.pictures, tables.patients)
    assert len(found) == 0
    assert list(kit.cast("conflicts", found).columns) == TABLES["conflicts"].names


def test_a_copy_that_contradicts_the_reference_is_told_with_both_labels(kit):
    corpus = kit.Corpus()
    corpus.add("1.jpg", "glioma", patient="1", picture="p")
    wrong = corpus.add("wrong.jpg", "pituitary", picture="p")
    corpus.add("right.jpg", "glioma", picture="p")
    found = conflicts_of(kit, corpus)
    assert list(found.index) == [wrong]
    row = found.loc[wrong]
    assert (row["kind"], row["label"], row["reference_label"], row["resolved"]) == (
        "reference", "pituitary", "glioma", "glioma",
    )  # fmt: skip
    assert row["labels"] == ["glioma", "pituitary"]
    assert row["rule"] == "label contradicts reference: pituitary here, glioma there; set aside"
    assert row["set_aside"]


def test_a_switch_keeps_it_under_the_label_of_the_reference(kit):
    corpus = kit.Corpus()
    corpus.add("1.jpg", "glioma", patient="1", picture="p")
    wrong = corpus.add("wrong.jpg", "pituitary", picture="p")
    row = conflicts_of(kit, corpus, keep_contradicted=True).loc[wrong]
    assert (row["resolved"], row["set_aside"]) == ("glioma", False)
    assert "kept under that label" in row["rule"]


def test_files_of_the_slice_itself_that_differ_are_settled_by_the_reference(kit):
    corpus = kit.Corpus()
    own = corpus.add("1.jpg", "glioma", patient="1")
    corpus.add("a.jpg", "meningioma", md5=own)
    row = conflicts_of(kit, corpus).loc[own]
    assert (row["kind"], row["resolved"], row["set_aside"]) == ("bytes", "glioma", False)
    assert "its files carry different labels: glioma, meningioma; the reference says glioma" in row["rule"]


@pytest.mark.parametrize("keep", [False, True])
def test_files_of_a_copy_that_differ_go_by_the_reference_only_if_kept(kit, keep):
    corpus = kit.Corpus()
    corpus.add("1.jpg", "glioma", patient="1", picture="p")
    copy = corpus.add("a.jpg", "glioma", picture="p")
    corpus.add("b.jpg", "meningioma", md5=copy)
    row = conflicts_of(kit, corpus, keep_contradicted=keep).loc[copy]
    assert (row["kind"], row["resolved"], row["set_aside"]) == ("bytes", "glioma", not keep)
    assert row["label"] is None or row["label"] != row["label"]


@pytest.mark.parametrize("keep", [False, True])
def test_without_a_reference_nothing_decides_and_no_vote_is_held(kit, keep):
    corpus = kit.Corpus()
    ids = [corpus.add(f"{k}.jpg", "glioma", picture="p") for k in range(9)]
    ids.append(corpus.add("odd.jpg", "no_tumor", picture="p"))
    found = conflicts_of(kit, corpus, keep_contradicted=keep)
    assert sorted(found.index) == sorted(ids)
    assert set(found["kind"]) == {"copies"}
    assert found["resolved"].isna().all()
    assert found["set_aside"].all()
    assert set(found["rule"]) == {
        "copies of this picture carry different labels and no reference decides: glioma, no_tumor"
    }


def test_files_that_differ_put_the_whole_picture_in_doubt(kit):
    corpus = kit.Corpus()
    mixed = corpus.add("a.jpg", "glioma", picture="p")
    corpus.add("b.jpg", "meningioma", md5=mixed)
    copy = corpus.add("c.jpg", "glioma", picture="p")
    found = conflicts_of(kit, corpus)
    assert list(found.loc[[mixed, copy], "kind"]) == ["bytes", "copies"]
    assert found["set_aside"].all()
    assert found["resolved"].isna().all()


def test_slices_of_one_picture_that_differ_decide_nothing(kit):
    corpus = kit.Corpus()
    ids = [corpus.add(f"{k}.jpg", label, patient="1", picture="p") for k, label in enumerate(LABELS[:2])]
    ids.append(corpus.add("copy.jpg", "glioma", picture="p"))
    found = conflicts_of(kit, corpus, keep_contradicted=True)
    assert sorted(found.index) == sorted(ids)
    assert set(found["kind"]) == {"reference"}
    assert found["resolved"].isna().all()
    assert found["set_aside"].all()


plans = st.lists(
    st.tuples(st.lists(st.sampled_from(LABELS), min_size=1, max_size=2), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(plans)
def test_what_is_not_listed_agrees_with_all_its_picture(plan):
    ids = [f"{number:032x}" for number in range(len(plan))]
    images = pd.DataFrame({"image_id": ids, "collection": "a", "path": ids})
    images["labels"] = [sorted(set(labels)) for labels, _, _ in plan]
    images["label"] = [labels[0] if len(set(labels)) == 1 or own else None for labels, _, own in plan]
    pictures = pd.DataFrame({"image_id": ids, "picture_id": [str(picture) for _, picture, _ in plan]})
    slices = {picture: labels[0] for labels, picture, own in reversed(plan) if own}
    patients = pd.DataFrame({"image_id": ids, "source": ["record" if own else "copy" for _, _, own in plan]})
    patients["reference_label"] = [labels[0] if own else slices.get(picture) for labels, picture, own in plan]
    tables = (images, pictures, patients)
    found = list_conflicts(*tables).set_index("image_id")
    known = images.merge(pictures, on="image_id").merge(patients, on="image_id")
    for _, group in known.groupby("picture_id"):
        quiet = group[~group["image_id"].isin(found.index)]
        deciding = set(group["reference_label"].dropna())
        seen = {label for labels in quiet["labels"] for label in labels}
        assert len(seen) <= 1
        assert not (deciding and seen) or seen == deciding
        if len({label for labels in group["labels"] for label in labels}) > 1:
            assert group["image_id"].isin(found.index).any()
    assert found.loc[~found["set_aside"], "resolved"].notna().all()
    again = list_conflicts(*(frame.iloc[::-1] for frame in tables)).set_index("image_id")
    pd.testing.assert_frame_equal(again, found)


def test_tables_of_different_images_are_refused(tables):
    with pytest.raises(TableError, match=r"images and patients differ in 1 image_ids: .*materialise both"):
        list_conflicts(tables.images, tables.pictures, tables.patients.iloc[1:])
