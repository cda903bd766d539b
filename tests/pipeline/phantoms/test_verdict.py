"""The verdict: exact when curation is right, and it says what was missed or made up when it is not."""

import pandas as pd
import pytest

from pipeline.catalog import load_catalog
from pipeline.curation.inventory import list_images, list_quarantine, take_inventory
from pipeline.curation.patients import find_patients
from pipeline.curation.pictures import find_pictures
from pipeline.phantoms import generate
from pipeline.phantoms.verdict import judge

CATALOG = load_catalog()


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "root"
    key = generate(root, seed=3, scale=0.15)
    folders = {name: root / name for name in CATALOG.collections}
    found = take_inventory(CATALOG.collections, folders, workers=1)
    images = list_images(found.files, references=["cheng_figshare"])
    pictures = find_pictures(found.thumbnails, images, references=["cheng_figshare"])
    patients = find_patients(pictures, images, found.records, CATALOG.collections)
    return key, list_quarantine(found.files), images, pictures, patients


def test_curation_finds_all_that_was_planted_and_nothing_else(curated):
    for verdict in judge(*curated):
        assert verdict.exact, verdict.describe()
        assert verdict.planted > 0, verdict.describe()


def test_a_missed_copy_is_counted(curated):
    key, quarantine, images, pictures, patients = curated
    joined = pictures["joined_to"] != pictures["image_id"]
    alone = pictures.assign(picture_id=pictures["picture_id"].mask(joined, pictures["image_id"]))
    copies = judge(key, quarantine, images, alone, patients)[2]
    assert copies.found < copies.planted
    assert "found" in copies.describe()


def test_glued_pictures_are_counted_as_false(curated):
    key, quarantine, images, pictures, patients = curated
    glued = judge(key, quarantine, images, pictures.assign(picture_id="one"), patients)[2]
    assert glued.false > 0
    assert "false" in glued.describe()


def test_a_lost_file_is_counted(curated):
    key, quarantine, images, pictures, patients = curated
    lost = judge(key, quarantine.iloc[1:], images, pictures, patients)[0]
    assert lost.found == lost.planted - 1


def test_an_invented_patient_is_counted_as_false(curated):
    key, quarantine, images, pictures, patients = curated
    invented = judge(key, quarantine, images, pictures, patients.assign(patient_id="x"))[4]
    assert invented.false > 0


def test_empty_tables_find_nothing(curated):
    key, *tables = curated
    verdicts = judge(key, *(pd.DataFrame(table.iloc[:0]) for table in tables))
    assert all(verdict.found == 0 for verdict in verdicts[:2])
