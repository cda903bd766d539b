"""Patients: own record, copies inherit label and box, suffixes are one head, unknown stays unknown."""

import pandas as pd
import pytest

from pipeline.curation.patients import find_patients, merge_suffix
from pipeline.errors import TableError


def patients_of(tables):
    return tables.patients.set_index("image_id")


def test_slice_and_copy_have_one_patient_and_label(kit):
    corpus = kit.Corpus()
    own = corpus.add("1.jpg", "glioma", patient="MR040240B", picture="p")
    copy = corpus.add("copy.jpg", "meningioma", picture="p")
    other = corpus.add("other.jpg")
    found = patients_of(corpus.tables())
    assert list(found.loc[[own, copy, other], "source"]) == ["record", "copy", "unknown"]
    assert list(found.loc[[own, copy], "patient_id"]) == ["reference:MR040240"] * 2
    assert list(found.loc[[own, copy], "reference_label"]) == ["glioma"] * 2
    assert list(found.loc[[own, copy], "reference_id"]) == [own] * 2
    assert found.loc[other, ["patient_id", "reference_id", "reference_label", "box_x"]].isna().all()


@pytest.mark.parametrize("slice_turned", [False, True])
@pytest.mark.parametrize("copy_turned", [False, True])
def test_box_follows_the_mirror(kit, slice_turned, copy_turned):
    corpus = kit.Corpus()
    corpus.add("1.jpg", patient="100", picture="p", mirrored=slice_turned)
    copy = corpus.add("copy.jpg", picture="p", mirrored=copy_turned)
    box = patients_of(corpus.tables()).loc[copy, ["box_x", "box_y", "box_w", "box_h"]]
    x, y, width, height = kit.box
    assert list(box) == pytest.approx([1 - x if slice_turned != copy_turned else x, y, width, height])


def test_box_goes_from_the_slice_over_the_representative_to_the_copy(kit):
    corpus = kit.Corpus()
    own = corpus.add("1.jpg", patient="100", picture="p")
    copy = corpus.add("copy.jpg", picture="p")
    tables = corpus.tables()
    ways = {own: [0.0, 1.0, 0.0, -1.0, 0.0, 1.0], copy: [-1.25, 0.0, 1.125, 0.0, 1.25, -0.125]}
    pictures = tables.pictures.assign(transform=tables.pictures["image_id"].map(ways))
    found = find_patients(pictures, tables.images, tables.records, kit.collections).set_index("image_id")
    x, y, width, height = kit.box
    # The slice is the representative turned by 90°, so (x, y) there is (1 − y, x) in the representative.
    expected = (-1.25 * (1 - y) + 1.125, 1.25 * x - 0.125, 1.25 * height, 1.25 * width)
    assert list(found.loc[copy, ["box_x", "box_y", "box_w", "box_h"]]) == pytest.approx(expected)
    assert list(found.loc[own, ["box_x", "box_y", "box_w", "box_h"]]) == pytest.approx(kit.box)


def test_a_tumour_that_was_cropped_away_leaves_the_patient_and_no_box(kit):
    corpus = kit.Corpus()
    own = corpus.add("1.jpg", patient="100", picture="p")
    copy = corpus.add("copy.jpg", picture="p")
    tables = corpus.tables()
    ways = {own: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], copy: [2.0, 0.0, -1.0, 0.0, 2.0, -1.0]}
    pictures = tables.pictures.assign(transform=tables.pictures["image_id"].map(ways))
    found = find_patients(pictures, tables.images, tables.records, kit.collections).set_index("image_id")
    assert found.at[copy, "patient_id"] == "reference:100"
    assert found.loc[copy, ["box_x", "box_y", "box_w", "box_h"]].isna().all()


def test_a_transform_that_cannot_be_undone_is_refused(kit):
    corpus = kit.Corpus()
    corpus.add("1.jpg", patient="100", picture="p")
    corpus.add("copy.jpg", picture="p")
    tables = corpus.tables()
    pictures = tables.pictures.assign(transform=[[0.0] * 6] * len(tables.pictures))
    with pytest.raises(TableError, match="squeezes a picture to a line"):
        find_patients(pictures, tables.images, tables.records, kit.collections)


def test_records_that_describe_the_same_bytes_make_one_patient(kit):
    corpus = kit.Corpus()
    shared = kit.name_image("shared")
    twin = [corpus.add(f"{k}.jpg", patient=f"{k}", md5=shared) for k in (7, 8)]
    others = [corpus.add(f"more-{k}.jpg", patient=f"{k}") for k in (7, 8, 9)]
    tables = corpus.tables()
    found = patients_of(tables)
    assert list(found.loc[[twin[0], *others], "patient_id"]) == ["reference:7"] * 3 + ["reference:9"]
    assert tables.groups["group_id"].nunique() == 2


@pytest.mark.parametrize(
    ("patient", "suffix", "stem"),
    [("MR040240B", "[A-Z]$", "MR040240"), ("MR040240", "[A-Z]$", "MR040240"), ("100360", None, "100360"),
     ("B", "[A-Z]$", "B")],
)  # fmt: skip
def test_suffix_is_merged(patient, suffix, stem):
    assert merge_suffix(patient, suffix) == stem


def test_suffixed_ids_are_one_group(kit):
    corpus = kit.Corpus()
    ids = [corpus.add(f"{k}.jpg", patient=f"MR1{suffix}") for k, suffix in enumerate(["", "B", "C"])]
    tables = corpus.tables()
    assert patients_of(tables).loc[ids, "patient_id"].nunique() == 1
    assert tables.groups["group_id"].nunique() == 1


def test_copy_follows_the_slice_that_it_was_proven_against(kit):
    corpus = kit.Corpus()
    slices = [corpus.add(f"{k}.jpg", patient=f"{k}", picture="p") for k in range(2)]
    copy = corpus.add("copy.jpg", picture="p")
    tables = corpus.tables()
    pictures = tables.pictures.assign(joined_to=max(slices))
    found = find_patients(pictures, tables.images, tables.records, kit.collections).set_index("image_id")
    assert found.at[copy, "reference_id"] == max(slices)
    found = patients_of(tables)
    expected = min(slices) if found.at[copy, "reference_id"] not in slices else found.at[copy, "reference_id"]
    assert found.at[copy, "reference_id"] == expected


def test_slice_without_patient_or_box_still_gives_its_label(kit):
    corpus = kit.Corpus()
    own = corpus.add("1.jpg", patient="1")
    tables = corpus.tables()
    records = tables.records.assign(patient=None, box_x=float("nan"))
    row = (
        find_patients(tables.pictures, tables.images, records, kit.collections).set_index("image_id").loc[own]
    )
    assert (row["source"], row["reference_label"]) == ("record", "glioma")
    assert row[["patient_id", "box_x", "box_h"]].isna().all()


def test_row_order_changes_nothing(kit, tables):
    shuffled = (
        frame.sample(frac=1, random_state=3) for frame in (tables.pictures, tables.images, tables.records)
    )
    found = find_patients(*shuffled, kit.collections)
    pd.testing.assert_frame_equal(kit.cast("patients", found), tables.patients)


@pytest.mark.parametrize("column", ["path", "collection"])
def test_refuses_a_record_without_image(kit, tables, column):
    records = tables.records.copy()
    records.loc[0, column] = "elsewhere"
    with pytest.raises(TableError, match="belongs to no image of a known collection"):
        find_patients(tables.pictures, tables.images, records, kit.collections)
