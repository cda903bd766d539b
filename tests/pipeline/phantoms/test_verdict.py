"""The verdict: exact when curation is right, and it says what was missed or made up when it is not."""

import numpy as np
import pandas as pd
import pytest

from pipeline.catalog import load_catalog
from pipeline.curation.chain import curate
from pipeline.phantoms import generate
from pipeline.phantoms.distortions import join_transforms
from pipeline.phantoms.hardening import HARD_STEPS
from pipeline.phantoms.verdict import Verdict, judge

CATALOG = load_catalog()
CORNERS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], float).T
CORNER_ERROR = 0.02


def curate_phantoms(root, seed, scale, workers=1):
    key = generate(root, seed=seed, scale=scale, workers=workers)
    folders = {name: root / name for name in CATALOG.collections}
    tables = curate(CATALOG.collections, folders, workers=workers)
    return key, tables.quarantine, tables.images, tables.pictures, tables.patients, tables.foreign


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    return curate_phantoms(tmp_path_factory.mktemp("phantoms") / "root", seed=3, scale=0.15)


@pytest.fixture(scope="module")
def curated_in_full(tmp_path_factory):
    return curate_phantoms(tmp_path_factory.mktemp("phantoms") / "full", seed=0, scale=1.0, workers=2)


def pick(verdicts: list[Verdict], kind: str) -> Verdict:
    found = [verdict for verdict in verdicts if kind in verdict.kind]
    assert len(found) == 1, kind
    return found[0]


def check_exact(curated):
    for verdict in judge(*curated):
        assert verdict.exact, verdict.describe()
        assert verdict.planted > 0, verdict.describe()


def check_transforms(curated):
    """Where the representative's corners lie in each copy, found and planted, in fractions of the side."""
    key, _, _, pictures, *_ = curated
    files = {file.md5: file for file in key.images()}
    errors = {}
    for row in pictures.to_dict("records"):
        if row["image_id"] != row["representative"]:
            first, own = files[row["representative"]], files[row["image_id"]]
            truth = join_transforms(first.transform, own.transform)
            ways = [np.reshape(way, (2, 3)) @ CORNERS for way in (truth, row["transform"])]
            errors[own.md5] = float(np.abs(ways[0] - ways[1]).max())
    wrong = {files[md5].path: error for md5, error in errors.items() if error > CORNER_ERROR}
    assert len(errors) > 100
    assert wrong == {}


def check_boxes(curated):
    """The tumour's box of every image with a known patient lies over the one that was planted."""
    key, _, _, _, patients, _ = curated
    files = {file.md5: file for file in key.images()}
    known = patients[patients["box_x"].notna()]
    overlaps = {}
    for row in known.to_dict("records"):
        box = tuple(row[f"box_{side}"] for side in "xywh")
        overlaps[row["image_id"]] = overlap(box, files[row["image_id"]].box)
    assert sum(bool(set(files[md5].how) & set(HARD_STEPS)) for md5 in overlaps) >= 5
    worst = min(overlaps, key=overlaps.__getitem__)
    assert overlaps[worst] > 0.6, files[worst].path
    assert np.median(list(overlaps.values())) > 0.95


def overlap(one, other):
    """Intersection over union of two boxes (centre x, centre y, width, height)."""
    sides = [
        max(0, min(a + wa / 2, b + wb / 2) - max(a - wa / 2, b - wb / 2))
        for a, wa, b, wb in ((one[0], one[2], other[0], other[2]), (one[1], one[3], other[1], other[3]))
    ]
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def test_curation_finds_all_that_was_planted_and_nothing_else(curated):
    check_exact(curated)


def test_copies_lie_as_they_were_planted(curated):
    check_transforms(curated)
    check_boxes(curated)


@pytest.mark.slow
def test_curation_finds_all_that_was_planted_at_full_scale(curated_in_full):
    check_exact(curated_in_full)
    check_transforms(curated_in_full)
    check_boxes(curated_in_full)


def test_a_missed_copy_is_counted(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    joined = pictures["joined_to"] != pictures["image_id"]
    alone = pictures.assign(picture_id=pictures["picture_id"].mask(joined, pictures["image_id"]))
    verdicts = judge(key, quarantine, images, alone, patients, foreign)
    copies = pick(verdicts, "copies of another picture")
    assert copies.found < copies.planted
    assert "found" in copies.describe()
    for step in HARD_STEPS:
        assert pick(verdicts, f"{step} copies").found < pick(verdicts, f"{step} copies").planted


def test_glued_pictures_are_counted_as_false(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    verdicts = judge(key, quarantine, images, pictures.assign(picture_id="one"), patients, foreign)
    for kind in ("copies of another picture", "rotated copies"):
        assert pick(verdicts, kind).false > 0
        assert "false" in pick(verdicts, kind).describe()


def test_a_wrong_orientation_is_counted(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    upright = judge(key, quarantine, images, pictures.assign(mirrored=False, turned=0), patients, foreign)
    assert pick(upright, "mirrored or turned").found == 0
    turned = judge(key, quarantine, images, pictures.assign(turned=90), patients, foreign)
    assert pick(turned, "mirrored or turned").false > 0


def test_a_lost_file_is_counted(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    mask = quarantine.index[quarantine["reason"] == "mask"][0]
    lost = judge(key, quarantine.drop(index=mask), images, pictures, patients, foreign)
    lost = pick(lost, "files to set aside")
    assert lost.found == lost.planted - 1


def test_a_foreign_image_that_stays_is_counted_and_so_is_a_slice_called_foreign(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    stays = judge(key, quarantine, images, pictures, patients, foreign.iloc[1:])
    assert pick(stays, "no MR slice").found == pick(stays, "no MR slice").planted - 1
    slice_ = foreign.iloc[[0]].assign(image_id="0" * 32)
    called = judge(key, quarantine, images, pictures, patients, pd.concat([foreign, slice_]))
    assert pick(called, "no MR slice").false == 1


def test_an_invented_patient_is_counted_as_false(curated):
    key, quarantine, images, pictures, patients, foreign = curated
    invented = judge(key, quarantine, images, pictures, patients.assign(patient_id="x"), foreign)
    assert pick(invented, "patient the reference knows").false > 0


def test_empty_tables_find_nothing(curated):
    key, *tables = curated
    verdicts = judge(key, *(pd.DataFrame(table.iloc[:0]) for table in tables))
    for kind in ("files to set aside", "no MR slice", "byte-identical", "rotated copies"):
        assert pick(verdicts, kind).found == 0
