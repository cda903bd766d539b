"""The gate, by negative controls: each planted fault is found, and stops training under `patient`."""

import pytest

from pipeline.curation.gate import Finding, decide_verdict, enforce_gate, inspect_split
from pipeline.curation.splits import split_patient, split_published, split_stratified
from pipeline.errors import GateError

CHECKS = [
    "shared_md5", "shared_picture", "shared_patient", "counts_add_up", "labels_mapped", "classes_present",
    "one_copy",
]  # fmt: skip


def inspect(split, tables, protocol="patient"):
    return {finding.check: finding for finding in inspect_split(split, *tables.evidence, protocol=protocol)}


def failed(findings):
    return {check for check, finding in findings.items() if not finding.passed}


def move(split, chosen, part):
    moved = split.copy()
    moved.loc[moved["image_id"].isin([chosen] if isinstance(chosen, str) else chosen), "split"] = part
    return moved


def pick(split, tables, part, *, known=True):
    joined = split.merge(tables.patients, on="image_id")
    rows = joined[(joined["split"] == part) & (joined["patient_id"].notna() == known)]
    return rows["image_id"].iloc[0]


def test_whole_split_passes(split, tables):
    findings = inspect(split, tables)
    assert list(findings) == CHECKS
    assert failed(findings) == set()
    assert enforce_gate(list(findings.values()), "patient") == "passed"


@pytest.mark.parametrize("mirrored", [False, True])
def test_leaked_picture(split, corpus, tables, mirrored):
    single = pick(split, tables, "train", known=False)
    row = split[split["image_id"] == single].iloc[0]
    image_id = corpus.add("leak", row["label"], picture=single, mirrored=mirrored)
    after = corpus.tables()
    leaked = split.copy()
    picture = after.pictures.set_index("image_id").at[image_id, "picture_id"]
    leaked["picture_id"] = list(
        after.pictures.set_index("image_id")["picture_id"].reindex(leaked["image_id"])
    )
    leaked.loc[len(leaked)] = [image_id, "kaggle_a", "leak", row["label"], "test", "planted", picture, 1]
    findings = inspect(leaked, after)
    assert failed(findings) == {"shared_picture"}
    assert findings["shared_picture"].count == 1
    assert "kaggle_a/leak (test)" in findings["shared_picture"].examples[0]
    with pytest.raises(GateError, match=r"shared_picture: 1 of .* in test share their picture"):
        enforce_gate(list(findings.values()), "patient")


@pytest.mark.parametrize("home", ["train", "val"])
def test_leaked_patient(split, tables, home):
    chosen = pick(split, tables, home)
    patient = tables.patients.set_index("image_id").at[chosen, "patient_id"]
    picture = tables.pictures.set_index("image_id")["picture_id"]
    same = [one for one in tables.images["image_id"] if picture[one] == picture[chosen]]
    findings = inspect(move(split, same, "test"), tables)
    assert failed(findings) == {"shared_patient"}
    assert findings["shared_patient"].count == len(same)
    assert patient in findings["shared_patient"].examples[0]
    with pytest.raises(GateError, match="shared_patient"):
        enforce_gate(list(findings.values()), "patient")


def test_leak_between_train_and_val(split, tables):
    findings = inspect(move(split, pick(split, tables, "train"), "val"), tables)
    assert {"shared_picture", "shared_patient"} == failed(findings)
    assert findings["shared_picture"].count == 1
    assert "0 of" in findings["shared_picture"].detail and "1 of" in findings["shared_picture"].detail


def test_same_image_twice(split, tables):
    row = split[split["split"] == "train"].iloc[0]
    doubled = split.copy()
    twin = row.to_dict() | {"path": "again", "split": "test", "why": "planted"}
    doubled.loc[len(doubled)] = [twin[column] for column in doubled.columns]
    findings = inspect(doubled, tables)
    assert {"shared_md5", "shared_picture", "counts_add_up", "one_copy"} <= failed(findings)
    assert findings["one_copy"].count == 2 and "as another has" in findings["one_copy"].examples[0]
    assert "unknown: " in findings["counts_add_up"].examples[0]


def test_lost_row(split, tables):
    findings = inspect(split.iloc[1:], tables)
    assert failed(findings) == {"counts_add_up"}
    assert findings["counts_add_up"].count == 1 and findings["counts_add_up"].examples[0].startswith(
        "missing: "
    )
    with pytest.raises(GateError, match="counts_add_up"):
        enforce_gate(list(findings.values()), "patient")


@pytest.mark.parametrize("table", [1, 2, 3])
def test_changed_count_in_the_evidence(split, tables, table):
    evidence = list(tables.evidence)
    evidence[table] = evidence[table].iloc[1:]
    findings = {one.check: one for one in inspect_split(split, *evidence, protocol="patient")}
    assert not findings["counts_add_up"].passed


def test_image_that_nobody_split(split, corpus, tables):
    corpus.add("late")
    assert failed(inspect(split, corpus.tables())) == {"counts_add_up"}


def test_unmapped_label(split, tables):
    chosen = pick(split, tables, "test")
    for label in ("no tumour", None):
        wrong = split.copy()
        wrong.loc[wrong["image_id"] == chosen, "label"] = label
        findings = inspect(wrong, tables)
        assert "labels_mapped" in failed(findings)
        assert "is none of glioma, meningioma" in findings["labels_mapped"].examples[0]
        with pytest.raises(GateError, match="labels_mapped"):
            enforce_gate(list(findings.values()), "patient")


def test_label_that_images_does_not_give(split, tables):
    chosen = pick(split, tables, "train")
    wrong = split.copy()
    wrong.loc[wrong["image_id"] == chosen, "label"] = "no_tumor"
    findings = inspect(wrong, tables)
    assert failed(findings) == {"labels_mapped"}
    assert "no_tumor here" in findings["labels_mapped"].examples[0]


def test_label_that_contradicts_the_reference(corpus):
    wrong = corpus.add("wrong", "meningioma", picture="glioma-0-0")
    after = corpus.tables()
    kept = split_patient(after.images, after.patients, after.groups, pictures=after.pictures)
    assert failed(inspect(kept, after)) == set()
    home = kept.merge(after.groups, on="image_id")
    group = home.set_index("image_id").at[wrong, "group_id"]
    part = next(one for one in home.loc[home["group_id"] == group, "split"] if one != "left_out")
    findings = inspect(move(kept, wrong, part), after)
    assert failed(findings) == {"labels_mapped"}
    assert findings["labels_mapped"].examples[0].endswith("meningioma here, glioma in the reference")


def test_copies_that_disagree(corpus):
    pair = [corpus.add(f"pair{label}", label, picture="pair") for label in ("glioma", "pituitary")]
    tables = corpus.tables()
    split = move(
        split_patient(tables.images, tables.patients, tables.groups, pictures=tables.pictures), pair, "train"
    )
    findings = inspect(split, tables)
    assert failed(findings) == {"labels_mapped"} and findings["labels_mapped"].count == 2


def test_missing_class(split, tables):
    chosen = split.loc[(split["label"] == "pituitary") & (split["split"] == "val"), "image_id"]
    findings = inspect(move(split, list(chosen), "left_out"), tables)
    assert failed(findings) == {"classes_present"}
    assert findings["classes_present"].examples[0].startswith("pituitary: none in val; ")


def test_published_leaks_are_counted_in_test_files_and_only_warn(kit, tables):
    published = split_published(tables.files, tables.images, kit.collections)
    findings = inspect(published, tables, "published")
    tests = tables.files[
        (tables.files["collection"] == "kaggle_a") & (tables.files["published_split"] == "test")
    ]
    assert findings["shared_patient"].count == len(tests) == 24
    assert findings["counts_add_up"].passed
    verdict = enforce_gate(list(findings.values()), "published")
    assert verdict == "leaks: 24 shared_patient"


def test_published_byte_twins_and_lost_files(kit, corpus):
    for part in ("train", "test"):
        corpus.add(f"twin-{part}", split=part, md5=kit.name_image("twin"))
    tables = corpus.tables()
    published = split_published(tables.files, tables.images, kit.collections)
    findings = inspect(published, tables, "published")
    assert findings["shared_md5"].count == 1 and findings["shared_picture"].count == 1
    lost = published[published["path"] != "twin-test"]
    assert (
        inspect(lost, tables, "published")["counts_add_up"]
        .examples[0]
        .startswith("missing: kaggle_a/twin-test")
    )


def test_findings_do_not_depend_on_row_order(split, tables):
    leaked = move(split, pick(split, tables, "train"), "test")
    shuffled = [frame.sample(frac=1, random_state=4) for frame in tables.evidence]
    again = inspect_split(leaked.sample(frac=1, random_state=4), *shuffled, protocol="patient")
    assert again == inspect_split(leaked, *tables.evidence, protocol="patient")


def test_stratified_warns(tables):
    findings = inspect(split_stratified(tables.images), tables, "stratified")
    assert findings["shared_picture"].count > 0
    assert enforce_gate(list(findings.values()), "stratified").startswith("leaks: ")


def test_a_copy_that_does_not_say_what_it_shows(split, tables):
    chosen = pick(split, tables, "train")
    for column, value in (("picture_id", None), ("picture_id", "another"), ("copy_rank", None)):
        wrong = split.copy()
        wrong.loc[wrong["image_id"] == chosen, column] = value
        findings = inspect(wrong, tables)
        assert failed(findings) == {"one_copy"} and findings["one_copy"].count == 1
        with pytest.raises(GateError, match="one_copy: 1 of"):
            enforce_gate(list(findings.values()), "patient")


def test_contradicted_label_that_is_kept_under_the_references(corpus):
    wrong = corpus.add("wrong", "meningioma", picture="glioma-0-0")
    after = corpus.tables()
    kept = split_patient(
        after.images, after.patients, after.groups, pictures=after.pictures, keep_contradicted=True
    )
    row = kept.set_index("image_id").loc[wrong]
    assert row["label"] == "glioma" and row["split"] != "left_out"
    assert failed(inspect(kept, after)) == set()
    own = kept.copy()
    own.loc[own["image_id"] == wrong, "label"] = "meningioma"
    assert failed(inspect(own, after)) == {"labels_mapped"}


@pytest.mark.parametrize("protocol", ["patient", "fold:2", "external:kaggle_a"])
def test_fatal_protocols(protocol):
    with pytest.raises(GateError, match=rf"split `{protocol}` does not pass the gate"):
        enforce_gate([Finding("shared_md5", False, 2, "two", ("a", "b"))], protocol)


def test_verdict_names_leaks_before_other_failures():
    findings = [
        Finding("labels_mapped", False, 3, "", ()),
        Finding("shared_md5", True, 0, "", ()),
        Finding("shared_picture", False, 412, "", ()),
        Finding("shared_patient", False, 9, "", ()),
    ]
    assert decide_verdict(findings, "published") == (
        "leaks: 412 shared_picture, 9 shared_patient; fails: 3 labels_mapped"
    )
