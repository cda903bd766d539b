"""Curation: accounts are checked on the stored tables, and frozen assignments are never lost unnoticed."""

from pathlib import Path

import pytest

from assets.gate import accounts, inspect, pass_gate
from assets.splits import make_split, read_frozen
from pipeline.errors import GateError, TableError
from resources.lake import Lake

FROZEN = "splits/patient"


def test_every_file_is_accounted_for(curated):
    lake, _store = curated
    result = accounts(lake)
    assert result.passed
    assert {name: value.value for name, value in result.metadata.items()} == {
        "files": 65,
        "members": 64,
        "set aside": 1,
    }


def test_a_file_that_left_the_quarantine_is_missed(curated):
    lake, _store = curated
    lake.write("quarantine", lake.read("quarantine").iloc[:0], inputs="i", code="c")
    result = accounts(lake)
    assert not result.passed
    assert "1 in neither: sartajbhuvaji/Training/no_tumor/notes.txt" in result.description


def test_the_gate_lets_a_whole_split_through_and_stops_a_leak(curated):
    lake, _store = curated
    assert pass_gate(lake, "patient") == "passed"
    split, groups = lake.read(FROZEN), lake.read("groups")
    train, test = (split[split["split"] == part].iloc[0]["image_id"] for part in ("train", "test"))
    patients = lake.read("patients").set_index("image_id")
    patients.loc[[train, test], "patient_id"] = "somebody"
    lake.write("patients", patients.reset_index(), inputs="i", code="c")
    assert len(groups) == len(split)
    with pytest.raises(GateError, match="shared_patient"):
        pass_gate(lake, "patient")
    assert [finding.check for finding in inspect(lake, "patient") if not finding.passed] == ["shared_patient"]


def test_there_is_nothing_frozen_before_the_first_split(tmp_path):
    assert read_frozen(Lake(home=str(tmp_path)), FROZEN) is None


def test_frozen_assignments_survive_a_kill_between_table_and_manifest(curated):
    lake, _store = curated
    before = read_frozen(lake, FROZEN)
    lake.manifest_path(FROZEN).unlink()
    assert lake.manifest(FROZEN) is None
    assert read_frozen(lake, FROZEN).equals(before)


@pytest.mark.parametrize("manifest", [True, False])
def test_damaged_assignments_are_an_error_with_or_without_manifest(curated, manifest):
    lake, _store = curated
    lake.path(FROZEN).write_bytes(b"harmed")
    if not manifest:
        lake.manifest_path(FROZEN).unlink()
    with pytest.raises(TableError, match=r"cannot be carried forward: .*Restore .* from a backup"):
        read_frozen(lake, FROZEN)


def test_lost_assignments_are_an_error(curated):
    lake, _store = curated
    lake.path(FROZEN).unlink()
    with pytest.raises(TableError, match="cannot be carried forward"):
        read_frozen(lake, FROZEN)


def test_assignments_of_another_schema_are_an_error_and_not_drawn_anew(curated, monkeypatch):
    lake, _store = curated
    monkeypatch.setattr("resources.lake.SCHEMA_VERSION", 99)
    with pytest.raises(TableError, match="another schema version"):
        read_frozen(lake, FROZEN)


def test_patients_that_become_known_too_late_do_not_empty_the_split_for_good(curated):
    lake, store = curated
    before = {path: path.read_bytes() for path in sorted((Path(store.home) / "lake").rglob("ledger*"))}
    assert before
    patients = lake.read("patients").merge(lake.read("images")[["image_id", "label"]], on="image_id")
    place = patients.groupby("label").cumcount()
    names = patients["label"] + (place % 3).astype(str)  # of each label three, on all sides of the split
    patients = patients.assign(patient_id=names.where(place % 5 > 1)).drop(columns="label")
    lake.write("patients", patients, inputs="later", code="c")
    groups = lake.read("groups").merge(patients[["image_id", "patient_id"]], on="image_id")
    groups["group_id"] = groups["patient_id"].fillna(groups["group_id"])
    lake.write("groups", groups.drop(columns="patient_id"), inputs="later", code="c")
    with pytest.raises(GateError, match="images would be left out of `patient` for good") as caught:
        make_split("patient", lake, store)
    assert "the reference came after the first split" in str(caught.value)
    assert "Nothing was changed." in str(caught.value)
    assert str(lake.path("ledger").with_suffix(".*")) in str(caught.value)
    assert before == {path: path.read_bytes() for path in before}
    for name in ("ledger", "splits/patient", "folds"):
        for path in lake.path(name).parent.glob(f"{lake.path(name).stem}.*"):
            path.unlink()
    assert not make_split("patient", lake, store)["why"].str.startswith("bridges").any()
