"""The audit: counts by its stated definitions, on a corpus small enough to count by hand."""

import pandas as pd
import pytest

from pipeline.curation.audit import audit_collections, render_audit
from pipeline.curation.gate import inspect_split
from pipeline.curation.splits import split_published, split_stratified


@pytest.fixture
def leaky(kit):
    """Six test files of kaggle_a, each a case of its own."""
    corpus = kit.Corpus()
    corpus.add("1", patient="MR1", picture="slice1")
    corpus.add("2", patient="MR1B", picture="slice2")
    corpus.add("t1", picture="slice1")
    corpus.add("t2", picture="web", md5=kit.name_image("bytes"))
    corpus.add("t3", picture="mirror", mirrored=True)
    corpus.add("b1", collection="kaggle_b", picture="elsewhere")
    corpus.add("e1", split="test", picture="web", md5=kit.name_image("bytes"))  # byte-identical
    corpus.add("e2", split="test", picture="web")  # same picture
    corpus.add("e3", split="test", picture="mirror")  # same picture, only mirrored
    corpus.add("e4", split="test", picture="slice2")  # same patient, another picture
    corpus.add("e5", split="test", picture="elsewhere")  # only in the other collection's training
    corpus.add("e6", split="test")  # independent
    return corpus.tables()


def audit_of(tables, splits=None, quarantine=()):
    aside = pd.DataFrame(quarantine, columns=["collection", "path", "reason", "detail"])
    return audit_collections(
        tables.files, aside, tables.images, tables.pictures, tables.patients, tables.groups, splits or {}
    )


def value_of(audit, section, subject):
    rows = audit[(audit["section"] == section) & (audit["subject"] == subject)]
    return dict(zip(rows["measure"], rows["value"], strict=True))


def test_leaks_by_hand(leaky):
    leaks = value_of(audit_of(leaky), "leaks", "kaggle_a")
    assert leaks == {
        "test_files": 6,
        "byte_identical": 1, "same_picture": 3, "same_picture_only_mirrored": 1, "same_patient": 1,
        "any_twin": 4,
        "byte_identical_anywhere": 1, "same_picture_anywhere": 4, "same_picture_only_mirrored_anywhere": 1,
        "same_patient_anywhere": 1, "any_twin_anywhere": 5,
    }  # fmt: skip


def test_flipped_twin_counts_as_turned(leaky):
    member = leaky.files.set_index("path")["md5"]
    pictures = leaky.pictures.assign(flipped=leaky.pictures["image_id"] == member["e2"], mirrored=False)
    audit = audit_collections(
        leaky.files, pd.DataFrame(columns=["collection", "path", "reason", "detail"]), leaky.images, pictures,
        leaky.patients, leaky.groups, {},
    )  # fmt: skip
    assert value_of(audit, "leaks", "kaggle_a")["same_picture_only_mirrored"] == 1


def test_collections_by_hand(leaky):
    audit = audit_of(leaky, quarantine=[("kaggle_a", "broken.jpg", "truncated", "ends early")])
    assert value_of(audit, "collections", "kaggle_a") == {
        "files": 9, "quarantined": 1, "members": 9, "images": 8, "pictures": 6, "with_patient": 2,
        "patients": 1, "groups": 5,
    }  # fmt: skip
    assert value_of(audit, "collections", "reference") == {
        "files": 2, "quarantined": 0, "members": 2, "images": 2, "pictures": 2, "with_patient": 2,
        "patients": 1, "groups": 1,
    }  # fmt: skip
    whole = value_of(audit, "collections", "all")
    assert (whole["files"], whole["images"], whole["pictures"], whole["groups"]) == (12, 11, 6, 5)
    assert value_of(audit, "quarantine", "kaggle_a") == {"truncated": 1}


def test_gate_and_audit_agree(kit, corpus):
    tables = corpus.tables()
    published = split_published(tables.files, tables.images, kit.collections)
    counts = {
        one.check: one.count for one in inspect_split(published, *tables.evidence, protocol="published")
    }
    audit = audit_of(tables)
    for check, measure in (("shared_md5", "byte_identical"), ("shared_patient", "same_patient")):
        values = (value_of(audit, "leaks", name)[f"{measure}_anywhere"] for name in ("kaggle_a", "kaggle_b"))
        assert sum(values) == counts[check]


def test_split_balance(kit, tables, split):
    splits = {
        "patient": split,
        "stratified": split_stratified(tables.images),
    }
    audit = kit.cast("audit", audit_of(tables, splits))
    for name, frame in splits.items():
        values = value_of(audit, "splits", name)
        images = {key: value for key, value in values.items() if key.endswith(" images")}
        assert sum(images.values()) == len(frame)
        assert (
            values["train glioma images"]
            == ((frame["label"] == "glioma") & (frame["split"] == "train")).sum()
        )
    rows = audit[(audit["subject"] == "patient") & audit["measure"].str.endswith("glioma groups")]
    assert rows["value"].sum() == rows["total"].iloc[0]


def test_row_order_changes_nothing(leaky):
    shuffled = type(leaky)(*(getattr(leaky, name).sample(frac=1, random_state=1) for name in vars(leaky)))
    pd.testing.assert_frame_equal(audit_of(shuffled), audit_of(leaky))


def test_rendered_report_answers_first(leaky, tables, split):
    text = render_audit(audit_of(leaky, quarantine=[("kaggle_a", "x", "truncated", "ends early")]))
    assert text.splitlines()[0] == (
        "- Of 6 published test images of `kaggle_a`, 66.7 % have a twin in its own training folder: "
        "byte-identical 1, same picture 3 (only mirrored 1), same patient 1."
    )
    assert "| kaggle_a | 1 |" in text
    assert "| all | 12 | 1 |" in text
    balanced = render_audit(audit_of(tables, {"patient": split}))
    assert "## Split `patient`: images (groups)" in balanced
    assert "| label | train | val | test | left_out |" in balanced


def test_report_without_published_tests(kit):
    corpus = kit.Corpus()
    corpus.add("1", patient="1")
    assert render_audit(audit_of(corpus.tables())).startswith("No collection here publishes a test folder.")
