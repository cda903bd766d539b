"""The facts against counts made by hand, and independence of order."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from pydantic import ValidationError

from pipeline.audit.counts import audit_collections
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Facts, dump_facts, facts_schema
from pipeline.audit.gathering import gather_facts, list_contradictions, measure_tests
from pipeline.audit.neighbours import measure_comparison
from pipeline.audit.twins import TWINS
from pipeline.errors import TableError


def test_twins_by_hand(facts):
    whole = {one.whose: one for one in facts.tests if one.label is None}
    for one in whole.values():
        counts = {twin: getattr(one, twin) for twin in TWINS}
        assert counts == {"byte_identical": 1, "same_picture": 1, "turned": 1, "same_patient": 1, "none": 1}
        assert (one.collection, one.total, one.in_training) == ("web_a", 5, 4)
    by_label = {one.label: one for one in facts.tests if one.label and one.whose == "any"}
    assert {label: one.total for label, one in by_label.items()} == {
        "glioma": 1,
        "pituitary": 1,
        "no_tumor": 3,
    }
    assert by_label["pituitary"].none == 1
    assert by_label["glioma"].same_patient == 1


def test_facts_and_table_agree(evidence, facts):
    """The page counts each file once, the table counts each measure: both come to the same."""
    audit = audit_collections(
        evidence.files, evidence.quarantine, evidence.images, evidence.pictures, evidence.patients,
        evidence.groups, evidence.splits, conflicts=evidence.conflicts, foreign=evidence.foreign,
    )  # fmt: skip
    values = {
        (row["section"], row["subject"], row["measure"]): row["value"] for row in audit.to_dict("records")
    }
    for one in facts.tests:
        section, subject = ("class leaks", f"web_a/{one.label}") if one.label else ("leaks", "web_a")
        suffix = "_anywhere" if one.whose == "any" else ""
        found = {
            name: values[section, subject, name + suffix]
            for name in ("byte_identical", "same_picture", "same_picture_only_mirrored", "any_twin")
        }
        assert found["byte_identical"] == one.byte_identical
        assert found["same_picture"] == one.byte_identical + one.same_picture + one.turned
        assert found["same_picture_only_mirrored"] == one.turned
        assert found["any_twin"] == one.in_training
    for one in facts.flow:
        for measure in ("files", "members", "images", "pictures", "with_patient", "patients"):
            assert values["collections", one.collection, measure] == getattr(one, measure)
    assert values["conflicts", "all", "reference"] == values["conflicts", "web_b", "reference"] == 1
    assert values["foreign", "web_b", "ct"] == 1


def test_flow_adds_up(facts):
    for one in facts.flow:
        assert one.files == one.members + one.set_aside
        assert one.members >= one.images >= one.pictures
        assert one.pictures_unknown <= one.pictures
    whole = next(one for one in facts.flow if one.collection == "all")
    assert (whole.set_aside, whole.patients) == (2, 12)
    assert sum(facts.safety.values()) == whole.images


def test_unknown_patients_are_no_patients(facts):
    web = next(one for one in facts.flow if one.collection == "web_b")
    assert (web.patients, web.with_patient) == (1, 1)
    assert web.pictures_unknown == web.pictures - 1
    cells = [one for one in facts.cells if one.collection == "web_b" and one.label == "no_tumor"]
    assert cells
    assert not any(one.patients for one in cells)


def test_shared_pictures(facts):
    shared = {(one.first, one.second): one for one in facts.shared}
    assert shared["reference", "web_a"].pictures == 25
    assert shared["reference", "web_a"].turned == 12  # every second slice is mirrored in web_a
    assert shared["web_a", "web_b"].pictures == 1
    assert shared["reference", "web_b"].turned == 0


def test_contradictions_are_listed_by_file(evidence, facts, kit):
    (one,) = facts.conflicts
    assert (one.collection, one.path, one.label) == ("web_b", "contradicted.jpg", "pituitary")
    assert (one.reference_label, one.set_aside) == ("glioma", True)
    assert one.witness == kit.name_image("reference/glioma1-0.jpg")
    assert list_contradictions(replace(evidence, conflicts=evidence.conflicts.head(0))) == []


def test_contradiction_between_copies_names_a_witness(kit):
    made = kit.fill()
    made.add("web_b", "other.jpg", "glioma", picture="Training/web0.jpg")
    evidence = made.build()
    image_id = kit.name_image("web_b/other.jpg")
    row = (
        image_id,
        "web_b",
        "other.jpg",
        "copies",
        "glioma",
        ["glioma", "no_tumor"],
        None,
        None,
        "none",
        True,
    )
    evidence = replace(evidence, conflicts=kit.cast("conflicts", [row]))
    (one,) = list_contradictions(evidence)
    assert one.witness == kit.name_image("web_a/Training/web0.jpg")


def test_crossings(facts):
    found = {one.protocol: one for one in facts.crossings}
    assert (found["patient"].pictures, found["patient"].patients, found["patient"].affected) == (0, 0, 0)
    assert (found["published"].images, found["published"].affected) == (1, 4)
    assert found["stratified"].pictures > 0
    assert found["fold"].test > 0


def test_cells_hold_every_row(evidence, facts):
    for protocol, split in evidence.splits.items():
        cells = [one for one in facts.cells if one.protocol == protocol]
        assert sum(one.rows for one in cells) == split["label"].notna().sum()
        left = sum(one.rows for one in facts.left_out if one.protocol == protocol)
        assert left == (split["split"] == "left_out").sum()
    assert all(one.trained <= one.rows and one.pictures <= one.rows for one in facts.cells)


def test_order_changes_nothing(evidence, facts, kit):
    assert dump_facts(gather_facts(kit.shuffle(evidence, 1))) == dump_facts(facts)


def test_json_is_strict_and_comes_back(facts):
    data = json.loads(dump_facts(facts))
    assert Facts.model_validate(data) == facts
    assert data["comparison"]["scores"][0]["histogram"][0].keys() == {
        "low",
        "high",
        "copy",
        "review",
        "rejected",
    }
    with pytest.raises(ValidationError):
        Facts.model_validate(data | {"more": 1})


def test_schema_describes_the_json(facts):
    schema = facts_schema()
    assert set(schema["required"]) <= set(json.loads(dump_facts(facts)))
    assert schema["$defs"]["TestSet"]["properties"]["turned"]["description"]


def test_nothing_published_means_no_test_sets(evidence):
    images = evidence.images.assign(
        members=[[one | {"published_split": None} for one in own] for own in evidence.images["members"]]
    )
    assert measure_tests(replace(evidence, images=images)) == []


def test_scores_are_kept_apart_by_way(evidence, facts):
    """A correlation of thumbnails and an aligned one have different scales, so different thresholds."""
    aligned, ncc = facts.comparison.scores
    assert (aligned.evidence, ncc.evidence) == ("aligned", "ncc")
    for one in (aligned, ncc):
        own = evidence.pairs[evidence.pairs["evidence"] == one.evidence]
        bins = sum(cell.copy_ + cell.review + cell.rejected for cell in one.histogram)
        assert bins == len(own) == sum(one.by_verdict.values())
    assert aligned.lowest_copy is None
    assert ncc.lowest_copy == evidence.pairs.loc[evidence.pairs["verdict"] == "copy", "score"].min()
    strongest = [one.score for one in aligned.nearest_rejected]
    assert strongest == sorted(strongest, reverse=True)
    assert strongest[0] == aligned.highest_rejected


def test_bins_hold_their_lower_edge(evidence, kit):
    """A score of 0.90 is not below 0.90, whatever its binary digits are."""
    rows = evidence.pairs.head(3).assign(score=[0.9, 0.299999, 1.0], verdict=["copy", "rejected", "copy"])
    scores = measure_comparison(replace(evidence, pairs=rows.assign(evidence="ncc"))).scores[0]
    full = {
        (one.low, one.high): one.copy_ + one.rejected for one in scores.histogram if one.copy_ or one.rejected
    }
    assert full == {(-1.0, 0.31): 1, (0.9, 0.91): 1, (0.99, 1.0): 1}


def test_decided_pairs_are_in_no_histogram(evidence):
    pairs = evidence.pairs.assign(evidence="decision")
    found = measure_comparison(replace(evidence, pairs=pairs))
    assert (found.pairs, found.scores) == (len(pairs), [])


def test_review_shows_what_was_decided(facts):
    assert [one.decision for one in facts.comparison.review] == [None, "reject"]


def test_collection_that_is_not_locked(facts):
    found = {one.name: one for one in facts.collections}
    assert found["web_b"].digest == ""
    assert found["web_b"].files == 28
    assert found["web_a"].version.startswith("version 3")
    assert found["reference"].redistribute == "yes"


def test_tables_of_two_materialisations_are_refused(evidence):
    with pytest.raises(TableError, match=r"`images` and `groups` differ in 1 image_ids.*materialise both"):
        replace(evidence, groups=evidence.groups.iloc[1:])


def test_unknown_collection_is_refused(evidence):
    with pytest.raises(TableError, match=r"cannot describe web_b: not in the catalog.*datasets/web_b\.yaml"):
        replace(evidence, collections={name: evidence.collections[name] for name in ("reference", "web_a")})


def test_empty_tables_are_described(evidence, kit):
    empty = {
        name: kit.cast(name, pd.DataFrame(getattr(evidence, name).head(0)))
        for name in ("pairs", "review", "conflicts", "foreign", "folds", "quarantine")
    }
    facts = gather_facts(replace(evidence, **empty, splits={}))
    assert facts.comparison.scores == []
    assert facts.cells == facts.crossings == facts.conflicts == facts.aside == []


def test_evidence_lists_what_can_be_trained_on(evidence: Evidence):
    assert "contradicted.jpg" not in set(evidence.usable["path"])
    assert "ct.jpg" not in set(evidence.usable["path"])
    assert len(evidence.usable) == len(evidence.images) - 2
