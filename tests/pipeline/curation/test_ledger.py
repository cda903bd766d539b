"""Assignments carried forward: newcomers join or are left out, the weaker side gives way, test stays test."""

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.curation.gate import enforce_gate, inspect_split
from pipeline.curation.groups import form_groups
from pipeline.curation.splits import split_patient
from pipeline.labels import LABELS


def by_image(split):
    return split.set_index("image_id")


def split_of(tables, **options):
    return split_patient(tables.images, tables.patients, tables.groups, **options)


def test_the_same_data_keep_every_assignment(tables, split):
    again = split_of(tables, previous=split)
    pd.testing.assert_series_equal(again["split"], split["split"])


def test_newcomer_joins_its_group(corpus, split):
    first = split
    home = by_image(first).at[corpus.files[0]["md5"], "split"]
    new = corpus.add("new", "glioma", picture="glioma-0-0")
    split = by_image(split_of(corpus.tables(), previous=first))
    assert tuple(split.loc[new, ["split", "why"]]) == (home, f"joins its group in {home}")


def test_newcomer_that_bridges_splits_is_left_out_and_nobody_else(corpus, tables, split):
    first = split
    heads = by_image(first).join(tables.patients.set_index("image_id")["patient_id"])
    one = heads[(heads["split"] == "train") & heads["patient_id"].notna()].index[0]
    other = heads[(heads["split"] == "test") & (heads["label"] == heads.at[one, "label"])]
    other = other[other["patient_id"].notna()].index[0]
    new = corpus.add("bridge", heads.at[one, "label"], picture="bridge")
    after = corpus.tables()
    patients = after.patients.set_index("image_id")
    patients.loc[new, "patient_id"] = patients.at[one, "patient_id"]
    pictures = after.pictures.set_index("image_id")
    bridged = pictures.at[other, "picture_id"]
    pictures.loc[new, "picture_id"] = bridged
    groups = form_groups(pictures.reset_index(), patients.reset_index())
    split = split_patient(
        after.images, patients.reset_index(), groups, previous=first, pictures=pictures.reset_index()
    )
    placed = by_image(split)
    assert placed.at[new, "split"] == "left_out" and placed.at[new, "why"].startswith("bridges splits")
    assert (placed.loc[first["image_id"], "split"].to_numpy() == by_image(first)["split"].to_numpy()).all()
    findings = inspect_split(
        split, after.images, pictures.reset_index(), patients.reset_index(), groups, protocol="patient"
    )
    assert enforce_gate(findings, "patient") == "passed"


def test_two_patients_proven_to_be_one_leave_the_weaker_side_out(tables, split):
    first = split
    placed = by_image(first).join(tables.patients.set_index("image_id")["patient_id"])
    gliomas = placed[(placed["label"] == "glioma") & placed["patient_id"].notna()]
    train, test = (gliomas[gliomas["split"] == part]["patient_id"].iloc[0] for part in ("train", "test"))
    patients = tables.patients.assign(patient_id=tables.patients["patient_id"].replace(train, test))
    groups = form_groups(tables.pictures, patients)
    for pictures in (tables.pictures, None):
        moved = by_image(split_patient(tables.images, patients, groups, previous=first, pictures=pictures))
        gone = placed.index[placed["patient_id"] == train]
        assert set(moved.loc[gone, "split"]) == {"left_out"}
        assert moved.at[gone[0], "why"] == "now shares a picture or patient with test: train gives way"
        assert set(moved.loc[placed.index[placed["patient_id"] == test], "split"]) == {"test"}
        rest = placed.index.difference(gone)
        assert (moved.loc[rest, "split"] == placed.loc[rest, "split"]).all()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.4, 0.7, 0.9]))
def test_nobody_ever_moves_from_test_to_train(kit, seed, share):
    corpus = kit.Corpus()
    kit.fill(corpus, LABELS, heads=5, slices=1, singles=10)
    whole = corpus.tables()
    kept = whole.images.groupby("label").sample(frac=share, random_state=seed)
    part = [frame[frame["image_id"].isin(kept["image_id"])] for frame in (whole.patients, whole.groups)]
    first = split_patient(kept, *part)
    second = split_of(whole, previous=first, pictures=whole.pictures)
    before, after = by_image(first)["split"], by_image(second)["split"]
    assert (after[before.index] == before).all()
    findings = inspect_split(second, *whole.evidence, protocol="patient")
    assert enforce_gate(findings, "patient") == "passed"
