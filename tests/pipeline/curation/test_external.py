"""Testing on another collection: only what is independent, and a refusal that says what is missing."""

from dataclasses import replace

import pandas as pd
import pytest
from split_worlds import Shot, Tables, head_shots, pass_gate, single_shots, tabulate

from pipeline.curation.external import explain_external, split_external
from pipeline.curation.gate import enforce_gate, inspect_split
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.tables import to_arrow

REFERENCE = head_shots(4, 2, "ref")
OTHERS = [
    *REFERENCE,
    *single_shots(8, "base"),
    *(replace(shot, collection="copies", patient=None) for shot in REFERENCE),
]
OWN = single_shots(3, "new")


def external(tables: Tables, collection: str = "new", **options) -> pd.DataFrame:
    return split_external(collection, *tables.three, pictures=tables.pictures, **options)


def explain(tables: Tables, collection: str = "new"):
    return explain_external(collection, *tables.three, pictures=tables.pictures)


def test_trains_on_the_others_and_tests_on_what_is_independent():
    shared = [
        Shot("copy", "new", "glioma", REFERENCE[0].picture),
        Shot("head", "new", "glioma", "other slice", REFERENCE[0].patient),
        Shot("via", "new", "glioma", "other slice"),
    ]
    tables = tabulate([*OTHERS, *OWN, *shared])
    split = external(tables).set_index("image_id")
    to_arrow("splits", split.reset_index())
    pass_gate(split.reset_index(), tables, "external:new")
    assert set(split.loc[[shot.image_id for shot in OWN], "split"]) == {"test"}
    assert set(split.loc[[shot.image_id for shot in OTHERS], "split"]) == {"train", "val"}
    assert split.loc[[shot.image_id for shot in shared], "why"].tolist() == [
        "shows a picture of copies, ref",
        *["is of a patient of copies, ref"] * 2,
    ]
    assert set(split.loc[[shot.image_id for shot in shared], "split"]) == {"left_out"}
    training = split[split["collection"] != "new"]
    for label in LABELS:
        rows = training[training["label"] == label]
        assert abs((rows["split"] == "val").mean() - 0.15) < 0.06


def test_row_order_changes_nothing():
    tables = tabulate([*OTHERS, *OWN])
    pd.testing.assert_frame_equal(external(tables.shuffled(4)), external(tables))


def test_what_is_connected_through_others_is_left_out():
    one = Shot("one", "new", "glioma", "bridge", "new head")
    far = Shot("far", "new", "glioma", "far", "new head")
    tables = tabulate([*OTHERS, *OWN, one, far])
    # `one` shows a picture of the base collection, whose patient is not known there.
    pictures = tables.pictures.set_index("image_id")
    pictures.loc[one.image_id, "picture_id"] = pictures.at[OTHERS[len(REFERENCE)].image_id, "picture_id"]
    from pipeline.curation.groups import form_groups

    groups = form_groups(pictures.reset_index(), tables.patients)
    split = external(replace(tables, pictures=pictures.reset_index(), groups=groups)).set_index("image_id")
    assert split.loc[[one.image_id, far.image_id], "why"].tolist() == [
        "shows a picture of base",
        "is connected with images of base",
    ]


def test_bytes_that_lie_in_both_are_on_the_training_side():
    tables = tabulate([*OTHERS, *OWN])
    twin = OWN[0].image_id
    images = tables.images.set_index("image_id")
    both = [
        *images.at[twin, "members"],
        {"collection": "base", "path": "twin", "published_split": None, "label": "glioma"},
    ]
    images.at[twin, "members"] = both
    tables = replace(tables, images=images.reset_index())
    split = external(tables).set_index("image_id")
    assert split.at[twin, "split"] in ("train", "val")
    assert split.at[twin, "why"].startswith("its bytes are in base too")
    pass_gate(split.reset_index(), tables, "external:new")


def test_counts_say_where_every_image_went():
    shared = [Shot("copy", "new", "glioma", REFERENCE[0].picture)]
    found = explain(tabulate([*OTHERS, *OWN, *shared]))
    counts = {count.label: count for count in found.counts}
    assert found.refusal is None and found.split is not None
    glioma = counts["glioma"]
    assert (glioma.images, glioma.same_picture, glioma.independent, glioma.groups) == (4, 1, 3, 3)
    assert glioma.unknown == 3 and glioma.training == 4 + 8
    for count in found.counts:
        parts = (count.aside, count.same_picture, count.same_patient, count.connected, count.independent)
        assert sum(parts) == count.images


def test_refuses_where_nothing_is_independent():
    found = explain(tabulate(OTHERS), "copies")
    assert found.split is None
    with pytest.raises(
        GateError, match="split `external:copies`: nothing in copies is independent of base, ref"
    ):
        external(tabulate(OTHERS), "copies")


def test_refuses_a_class_that_is_not_independent_and_names_it():
    own = [shot for shot in OWN if shot.label != "meningioma"]
    shared = Shot("copy", "new", "meningioma", next(s.picture for s in REFERENCE if s.label == "meningioma"))
    with pytest.raises(
        GateError,
        match=r"no image of meningioma in new .* meningioma 1 \(1 show a picture of another collection\)",
    ):
        external(tabulate([*OTHERS, *own, shared]))


def test_refuses_where_the_others_cannot_train():
    others = [shot for shot in OTHERS if shot.label != "no_tumor"]
    with pytest.raises(GateError, match=r"not every class can be in each of train, val.*no_tumor has 0"):
        external(tabulate([*others, *OWN]))
    with pytest.raises(GateError, match="there is no other collection to train on"):
        external(tabulate(OWN))
    with pytest.raises(GateError, match="no image lies in elsewhere alone"):
        external(tabulate([*OTHERS, *OWN]), "elsewhere")


def test_contradicted_labels_train_nobody_and_test_nobody():
    copy = next(shot for shot in OTHERS if shot.collection == "copies")
    wrong = replace(copy, label="pituitary")
    world = [wrong if shot == copy else shot for shot in OTHERS]
    tables = tabulate([*world, *OWN], reference={copy.picture: copy.label})
    split = external(tables).set_index("image_id")
    assert split.at[copy.image_id, "split"] == "left_out"
    kept = external(tables, keep_contradicted=True)
    assert kept.set_index("image_id").at[copy.image_id, "label"] == copy.label
    pass_gate(kept, tables, "external:new")


def test_a_refused_split_shows_why_and_lets_no_training_behind_it():
    tables = tabulate(OTHERS)
    found = explain(tables, "copies")
    refused = found.refused
    to_arrow("splits", refused)
    assert set(refused["split"]) == {"left_out"} and set(refused["why"]) == {found.refusal}
    findings = inspect_split(refused, *tables.evidence, protocol="external:copies")
    with pytest.raises(GateError, match=r"classes_present: nothing is used: .*is independent of base, ref"):
        enforce_gate(findings, "external:copies")


@pytest.mark.parametrize(
    ("collection", "part", "said"),
    [("base", "test", "tested outside new"), ("new", "train", "trained on new")],
)
def test_the_gate_knows_which_side_is_which(collection, part, said):
    tables = tabulate([*OTHERS, *OWN])
    split = external(tables)
    row = split.index[split["collection"] == collection][0]
    split.loc[row, "split"] = part
    found = {one.check: one for one in inspect_split(split, *tables.evidence, protocol="external:new")}
    assert said in found["counts_add_up"].examples[0]
