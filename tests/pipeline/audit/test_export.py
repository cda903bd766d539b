"""The bundle: everything but pixels leaves, pixels only where the licence allows it, whole or not at all."""

import hashlib
import json
import re
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import mlcroissant as mlc
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.audit import export
from pipeline.audit.export import EVERYTHING, export_bundle
from pipeline.audit.licences import find_free_images, list_permitting, require_permission
from pipeline.errors import FalxError, LicenceError, SourceError
from pipeline.schemas import TABLES


def read(folder, name):
    return pq.read_table(folder / "tables" / f"{name}.parquet").to_pandas()


@pytest.fixture(scope="module")
def variants(evidence):
    """Degraded test images of every collection, in two parts."""
    rows = [
        {"image_id": one, "label": "glioma", "degradation": "noise", "severity": 1, "value": 0.1, "seed": 1,
         "image": {"bytes": b"png", "path": None}}
        for one in sorted(evidence.images["image_id"])
    ]  # fmt: skip
    return [pd.DataFrame(rows[:40]), pd.DataFrame(rows[40:])]


@pytest.fixture(scope="module")
def bundle(evidence, variants, tmp_path_factory):
    target = tmp_path_factory.mktemp("out") / "bundle"
    return export_bundle(evidence, target, variants=variants)


def test_all_rows_leave(evidence, bundle):
    for name in EVERYTHING:
        assert len(read(bundle.target, name)) == len(getattr(evidence, name))
    for protocol, split in evidence.splits.items():
        assert len(read(bundle.target, f"splits/{protocol}")) == len(split)


def test_pixels_leave_only_where_the_licence_allows_it(evidence, bundle):
    allowed = set(evidence.images.loc[evidence.images["collection"] == "reference", "image_id"])
    assert bundle.pixels == ("reference",)
    for name in ("thumbnails", "variants"):
        assert set(read(bundle.target, name)["image_id"]) == allowed
    assert (bundle.thumbnails, bundle.variants) == (len(allowed), len(allowed))
    assert bundle.withheld == len(evidence.images) - len(allowed)


def test_no_pixel_column_hides_elsewhere():
    """A new table with pixels must be thought of here."""
    kinds = {"binary", "image"}
    holding = {name for name, one in TABLES.items() if any(column.kind in kinds for column in one.columns)}
    assert not holding & set(EVERYTHING)
    assert set(export.PIXELS) <= holding


def test_same_bytes_under_an_unknown_licence_stay(kit):
    made = kit.Builder()
    made.add("reference", "1.jpg", "glioma", patient="p")
    made.add("web_a", "copy.jpg", "glioma", bytes_of="reference/1.jpg")
    free = made.add("reference", "2.jpg", "glioma", patient="p")
    assert find_free_images(made.build().files, ["reference"]) == {free}


def test_asking_for_forbidden_pixels_is_refused(evidence, tmp_path):
    match = (
        r"web_a states “none <stated>” \(redistribute: unknown\); "
        r"web_b states “no passing on” \(redistribute: no\)"
    )
    with pytest.raises(LicenceError, match=match):
        export_bundle(evidence, tmp_path / "bundle", pixels=["reference", "web_b", "web_a"])
    with pytest.raises(LicenceError, match="catalog does not know; known: reference, web_a, web_b"):
        require_permission(["elsewhere"], evidence.collections)
    assert list(tmp_path.iterdir()) == []


def test_page_in_the_bundle_shows_free_pictures_alone(evidence, facts, tmp_path, gallery):
    export_bundle(evidence, tmp_path / "bundle", facts=facts)
    page = (tmp_path / "bundle/audit.html").read_text("utf-8")
    assert "Do not pass this page on" not in page
    assert json.loads((tmp_path / "bundle/audit.json").read_text("utf-8"))["version"] == 1

    def shows(collection):
        """Of the pictures that no other collection shows, here to the pixel, whether any is on the page."""
        own = evidence.members[evidence.members["collection"] == collection]
        own = own.loc[own["patient_id"].isna() | (collection == "reference"), "image_id"]
        tiles = (re.search(r"base64,[^\"]+", gallery.tile(one, "x")).group() for one in own)
        return any(tile in page for tile in tiles)

    assert [shows(name) for name in ("reference", "web_a", "web_b")] == [True, False, False]


def test_unknown_counts_as_no(evidence):
    assert list_permitting(evidence.collections) == ["reference"]


def test_no_pixels_at_all(evidence, tmp_path, variants):
    found = export_bundle(evidence, tmp_path / "bundle", pixels=[], variants=variants)
    assert (found.thumbnails, found.variants, found.withheld) == (0, 0, len(evidence.images))
    assert not (tmp_path / "bundle/tables/thumbnails.parquet").exists()
    assert "None. The pixels of" in (tmp_path / "bundle/README.md").read_text("utf-8")


def test_readme_names_licences_and_tables(bundle):
    text = (bundle.target / "README.md").read_text("utf-8")
    for said in (
        "**web_b**: no passing on. Pixels may be passed on: no", "cite reference", "Not a medical device",
        "sha256sum -c SHA256SUMS", "| `tables/splits/patient.parquet` |",
    ):  # fmt: skip
        assert said in text
    assert str(bundle.target.parent) not in text


def test_checksums_hold(bundle):
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=bundle.target, check=True)
    listed = {line.split("  ", 1)[1] for line in (bundle.target / "SHA256SUMS").read_text().splitlines()}
    present = {
        path.relative_to(bundle.target).as_posix() for path in bundle.target.rglob("*") if path.is_file()
    }
    assert listed == present - {"SHA256SUMS"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's and pandas', of mlcroissant
def test_bundle_describes_itself(bundle, evidence):
    dataset = mlc.Dataset(jsonld=str(bundle.target / "croissant.json"))
    assert not dataset.metadata.issues.errors
    assert sum(1 for _ in dataset.records("groups")) == len(evidence.groups)


def test_originals_are_checked_and_copied(evidence, tmp_path):
    raw, files = tmp_path / "raw", evidence.files.copy()
    own = files["collection"] == "reference"
    (raw / "reference").mkdir(parents=True)
    for index, path in files.loc[own, "path"].items():
        (raw / "reference" / path).write_bytes(path.encode())
        files.loc[index, "md5"] = hashlib.md5(path.encode()).hexdigest()
    changed = replace(evidence, files=files)
    folders = {"reference": raw / "reference", "web_a": raw / "nowhere"}
    found = export_bundle(changed, tmp_path / "one", folders=folders)
    copied = sorted(path.name for path in (tmp_path / "one/originals").rglob("*") if path.is_file())
    assert found.originals == len(copied) == own.sum()
    assert copied == sorted(files.loc[own, "path"])
    first = raw / "reference" / files.loc[own, "path"].iloc[0]
    first.write_bytes(b"other")
    with pytest.raises(SourceError, match="has changed since it was scanned"):
        export_bundle(changed, tmp_path / "two", folders=folders)
    first.unlink()
    with pytest.raises(SourceError, match="cannot be exported: No such file"):
        export_bundle(changed, tmp_path / "two", folders=folders)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "raw"]


def test_zip_holds_the_same_twice(evidence, tmp_path, bundle, kit, variants):
    first = export_bundle(evidence, tmp_path / "bundle.zip", variants=variants).target.read_bytes()
    second = export_bundle(
        kit.shuffle(evidence, 5), tmp_path / "bundle.zip", variants=variants
    ).target.read_bytes()
    assert first == second
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        names = {name.removeprefix("bundle/") for name in archive.namelist()}
        assert archive.read("bundle/SHA256SUMS") == (bundle.target / "SHA256SUMS").read_bytes()
    assert names == {
        path.relative_to(bundle.target).as_posix() for path in bundle.target.rglob("*") if path.is_file()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]


def test_existing_folder_is_left_alone(evidence, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(FalxError, match="exists already"):
        export_bundle(evidence, tmp_path / "bundle")
    assert list((tmp_path / "bundle").iterdir()) == []


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_failure_leaves_nothing(evidence, tmp_path, name, monkeypatch):
    def fail(folder: Path) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(export, "_list_checksums", fail)
    with pytest.raises(OSError, match="disk full"):
        export_bundle(evidence, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_permitting_means_no_pixels(evidence, tmp_path):
    barred = {name: one for name, one in evidence.collections.items() if name != "reference"}
    reference = evidence.collections["reference"]
    barred["reference"] = reference.model_copy(
        update={"licence": reference.licence.model_copy(update={"redistribute": "unknown"})}
    )
    found = export_bundle(replace(evidence, collections=barred), tmp_path / "bundle")
    assert (found.pixels, found.thumbnails) == ((), 0)
    pixels = np.frombuffer(evidence.thumbnails["pixels"].iloc[0], np.uint8).tobytes()
    assert not any(pixels in path.read_bytes() for path in (tmp_path / "bundle").rglob("*") if path.is_file())
