"""The table `audit`: counts by its stated definitions, on a corpus small enough to count by hand."""

import pandas as pd
import pytest

from pipeline.audit.counts import audit_collections
from pipeline.audit.markdown import render_audit
from pipeline.curation.gate import inspect_split


@pytest.fixture
def leaky(kit):
    """Six test files of web_a, each a case of its own."""
    made = kit.Builder()
    made.add("reference", "1", "glioma", picture="slice1", patient="MR1")
    made.add("reference", "2", "glioma", picture="slice2", patient="MR1")
    made.add("web_a", "t1", "glioma", picture="slice1", split="train")
    made.add("web_a", "t2", "glioma", picture="web", split="train")
    made.add("web_a", "t3", "glioma", picture="mirror", mirrored=True, split="train")
    made.add("web_b", "b1", "glioma", picture="elsewhere", split="train")
    made.add("web_a", "e1", "glioma", split="test", picture="web", bytes_of="web_a/t2")  # byte-identical
    made.add("web_a", "e2", "glioma", split="test", picture="web")  # same picture
    made.add("web_a", "e3", "glioma", split="test", picture="mirror")  # same picture, only mirrored
    made.add("web_a", "e4", "glioma", split="test", picture="slice2")  # same patient, another picture
    made.add("web_a", "e5", "meningioma", split="test", picture="elsewhere")  # only in web_b's training
    made.add("web_a", "e6", "meningioma", split="test")  # independent
    made.add("web_a", "broken", "glioma", reason="truncated")
    return made.build()


def audit_of(evidence, splits=None):
    return audit_collections(
        evidence.files, evidence.quarantine, evidence.images, evidence.pictures, evidence.patients,
        evidence.groups, splits or {},
    )  # fmt: skip


def value_of(audit, section, subject):
    rows = audit[(audit["section"] == section) & (audit["subject"] == subject)]
    return dict(zip(rows["measure"], rows["value"], strict=True))


def test_leaks_by_hand(leaky):
    assert value_of(audit_of(leaky), "leaks", "web_a") == {
        "test_files": 6,
        "byte_identical": 1, "same_picture": 3, "same_picture_only_mirrored": 1, "same_patient": 1,
        "any_twin": 4,
        "byte_identical_anywhere": 1, "same_picture_anywhere": 4, "same_picture_only_mirrored_anywhere": 1,
        "same_patient_anywhere": 1, "any_twin_anywhere": 5,
    }  # fmt: skip


def test_class_leaks_by_hand(leaky):
    audit = audit_of(leaky)
    glioma, meningioma = (value_of(audit, "class leaks", f"web_a/{one}") for one in ("glioma", "meningioma"))
    assert (glioma["test_files"], glioma["any_twin"], glioma["any_twin_anywhere"]) == (4, 4, 4)
    assert (meningioma["test_files"], meningioma["any_twin"], meningioma["any_twin_anywhere"]) == (2, 0, 1)
    whole = value_of(audit, "leaks", "web_a")
    assert {name: glioma[name] + meningioma[name] for name in whole} == whole


@pytest.mark.parametrize(("mirrored", "turned"), [(True, 0), (False, 90), (True, 180), (False, 270)])
def test_every_other_orientation_counts_as_turned(leaky, kit, mirrored, turned):
    own = leaky.pictures["image_id"] == kit.name_image("web_a/e2")
    pictures = leaky.pictures.assign(
        mirrored=leaky.pictures["mirrored"].where(~own, mirrored),
        turned=leaky.pictures["turned"].where(~own, turned),
    )
    audit = audit_collections(
        leaky.files, leaky.quarantine, leaky.images, pictures, leaky.patients, leaky.groups, {}
    )
    assert value_of(audit, "leaks", "web_a")["same_picture_only_mirrored"] == 2


def test_collections_by_hand(leaky):
    audit = audit_of(leaky)
    assert value_of(audit, "collections", "web_a") == {
        "files": 10, "quarantined": 1, "members": 9, "images": 8, "pictures": 6, "with_patient": 2,
        "patients": 1, "groups": 5,
    }  # fmt: skip
    assert value_of(audit, "collections", "reference") == {
        "files": 2, "quarantined": 0, "members": 2, "images": 2, "pictures": 2, "with_patient": 2,
        "patients": 1, "groups": 1,
    }  # fmt: skip
    whole = value_of(audit, "collections", "all")
    assert (whole["files"], whole["images"], whole["pictures"], whole["groups"]) == (13, 11, 6, 5)
    assert value_of(audit, "quarantine", "web_a") == {"truncated": 1}


def test_gate_and_audit_agree(evidence):
    tables = (evidence.images, evidence.pictures, evidence.patients, evidence.groups)
    found = inspect_split(evidence.splits["published"], *tables, protocol="published")
    counts = {one.check: one.count for one in found}
    leaks = value_of(audit_of(evidence), "leaks", "web_a")
    assert counts["shared_md5"] == leaks["byte_identical_anywhere"]
    assert counts["shared_patient"] == leaks["same_patient_anywhere"]


def test_split_balance(evidence, kit):
    audit = kit.cast("audit", audit_of(evidence, evidence.splits))
    for name in ("patient", "stratified"):
        values = value_of(audit, "splits", name)
        split = evidence.splits[name]
        assert sum(value for key, value in values.items() if key.endswith(" images")) == len(split)
        expected = (split["label"] == "glioma") & (split["split"] == "train")
        assert values["train glioma images"] == expected.sum() > 0
    rows = audit[(audit["subject"] == "patient") & audit["measure"].str.endswith("meningioma groups")]
    assert rows["value"].sum() == rows["total"].iloc[0]


def test_row_order_changes_nothing(evidence, kit):
    shuffled = kit.shuffle(evidence, 1)
    pd.testing.assert_frame_equal(audit_of(shuffled, shuffled.splits), audit_of(evidence, evidence.splits))


def test_rendered_report_answers_first(leaky, evidence):
    text = render_audit(audit_of(leaky))
    assert text.splitlines()[0] == (
        "- Of 6 published test images of `web_a`, 66.7 % have a twin in its own training folder: "
        "byte-identical 1, same picture 3 (only mirrored 1), same patient 1."
    )
    assert "| web_a | 1 |" in text
    assert "| web_a/meningioma | 2 |" in text
    assert "| all | 13 | 1 |" in text
    balanced = render_audit(audit_of(evidence, evidence.splits))
    assert "## Split `patient`: images (groups)" in balanced
    assert "| label | train | val | test | left_out |" in balanced


def test_rendered_conflicts_and_foreign_images(evidence):
    audit = audit_collections(
        evidence.files, evidence.quarantine, evidence.images, evidence.pictures, evidence.patients,
        evidence.groups, {}, conflicts=evidence.conflicts, foreign=evidence.foreign,
    )  # fmt: skip
    text = render_audit(audit)
    assert "## Contradicted labels (images)" in text
    assert "## Not a brain MR slice (images)" in text
    totals = audit.set_index(["section", "subject"])["total"]
    assert totals["foreign", "all"] == len(evidence.images)


def test_report_without_published_tests(kit):
    made = kit.Builder()
    made.add("reference", "1", "glioma", patient="1")
    assert render_audit(audit_of(made.build())).startswith("No collection here publishes a test folder.")
