"""One whole demo: real runs in a persistent instance, tables, models, scores, and nothing done twice."""

import json
import shutil
import sqlite3

import dagster as dg
import pandas as pd
import pytest
from harness import run_command

from pipeline.curation.copies import keep_one_copy
from pipeline.labels import PROTOCOLS
from pipeline.phantoms.key import KEY_NAME, read_key
from pipeline.phantoms.verdict import judge
from resources.lake import Lake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system")]


@pytest.fixture(scope="module")
def lake(demo):
    return Lake(home=str(demo[1]))


def open_mlflow(home) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True)


def test_it_says_what_it_did_and_where_to_look(demo):
    output = demo[2]
    for words in ("assets materialised", "planted", "make ui", "not a medical device", "tiny"):
        assert words in output


def test_every_file_is_a_member_or_set_aside(lake):
    files, images = lake.read("files"), lake.read("images")
    assert len(files) == len(lake.read("quarantine")) + int(images["members"].map(len).sum())


def test_what_was_planted_is_found(demo, lake):
    root = demo[1] / "raw" / "phantoms-0-0.15"
    tables = [lake.read(name) for name in ("quarantine", "images", "pictures", "patients", "foreign")]
    for verdict in judge(read_key(root / KEY_NAME), *tables):
        assert verdict.exact, verdict.describe()


def test_no_picture_and_no_patient_crosses_the_patient_split(lake):
    split = lake.read("splits/patient").merge(lake.read("groups"), on="image_id")
    used = split[split["split"] != "left_out"]
    assert used.groupby("group_id")["split"].nunique().max() == 1
    assert set(used["split"]) == {"train", "val", "test"}


def test_predictions_cover_the_test_part_and_its_variants(lake):
    split = lake.read("splits/patient")
    test = keep_one_copy(split[(split["split"] == "test") & (split["collection"] == "masoudnickparvar")])
    predictions = lake.read("predictions/patient/tiny")
    degradations = lake.read("variants")[["degradation", "severity"]].drop_duplicates()
    assert len(predictions) == len(test) * (1 + len(degradations))
    assert set(lake.read("predictions/published/tiny")["variant"]) == {"clean"}


def test_val_answers_lie_apart_and_cover_the_val_part(lake):
    for protocol in PROTOCOLS:
        split = lake.read(f"splits/{protocol}")
        wanted = split[(split["split"] == "val") & (split["collection"] == "masoudnickparvar")]
        val = keep_one_copy(wanted) if protocol == "patient" else wanted
        found = lake.read(f"validations/{protocol}/tiny")
        assert set(found["path"]) == set(val["path"])
        assert not set(found["path"]) & set(lake.read(f"predictions/{protocol}/tiny")["path"])


def test_every_training_has_its_evidence_as_table_figures_and_files(demo, lake):
    figures = {"reliability", "risk_coverage", "conformal_sets", "confusion_by_collection"}
    logged = [path.name for path in (demo[1] / "mlflow" / "artifacts").rglob("figures/*.png")]
    for name in figures:
        assert logged.count(f"{name}.png") == len(PROTOCOLS)
    for protocol in PROTOCOLS:
        evidence, predicted = (lake.read(f"{table}/{protocol}/tiny") for table in ("evidence", "predictions"))
        clean = predicted[predicted["variant"] == "clean"]
        counted = evidence[(evidence["metric"] == "coverage") & (evidence["class"] == "all")]
        assert counted["n"].item() == len(clean)
    assert len(list((demo[1] / "mlflow" / "artifacts").rglob("misses.csv"))) == len(PROTOCOLS)


def test_the_packaged_model_is_calibrated_as_the_evidence_says(demo, lake):
    for protocol in PROTOCOLS:
        evidence = lake.read(f"evidence/{protocol}/tiny")
        fitted = evidence[evidence["subset"] == "val"].set_index("metric")["value"]
        (path,) = (demo[1] / "models" / "tiny" / protocol).rglob("package/card.json")
        card = json.loads(path.read_text())
        assert card["temperature"] == pytest.approx(fitted["temperature"], rel=1e-3)
        least = 1 - fitted["conformal_threshold"]
        too_few = pd.isna(least)  # val images for any threshold: every class is in every set
        assert card["conformal"]["threshold"] == pytest.approx(0 if too_few else least, abs=1e-4)


def test_robustness_is_measured_where_degraded_images_are(lake):
    found = lake.read("robustness")
    assert set(found["protocol"]) == {"patient"}
    assert set(found["degradation"]) == {"all", *lake.read("variants")["degradation"]}
    assert lake.read("comparisons").empty


def test_the_leaderboard_has_a_row_for_each_protocol(lake):
    board = lake.read("leaderboard").set_index("protocol")
    assert set(board.index) == set(PROTOCOLS)
    assert board.loc["patient", "gate"] == "passed"
    assert "shared_picture" in board.loc["published", "gate"]
    assert pd.isna(board.loc["patient", "optimism"])
    assert board.loc["published", "optimism"] == pytest.approx(
        board.loc["published", "macro_f1"] - board.loc["patient", "macro_f1"]
    )


def test_mlflow_has_one_finished_run_and_one_version_each(demo):
    with open_mlflow(demo[1]) as db:
        states = db.execute("select status from runs").fetchall()
        versions = db.execute("select name from model_versions where name like 'falx-%'").fetchall()
        artifacts = db.execute("select distinct artifact_uri from runs").fetchall()
    assert states == [("FINISHED",)] * len(PROTOCOLS)
    assert sorted(name for (name,) in versions) == [f"falx-tiny-{protocol}" for protocol in sorted(PROTOCOLS)]
    assert all(uri.startswith("mlflow-artifacts:/") for (uri,) in artifacts)


def test_each_opening_of_the_patient_test_part_is_in_the_ledger(lake):
    rows = lake.read("openings")
    assert rows[["recipe", "protocol", "why"]].to_numpy().tolist() == [["tiny", "patient", "evaluation"]]
    assert rows["model_id"].tolist() == lake.read("predictions/patient/tiny")["model_id"].unique().tolist()


def test_the_one_model_was_weighed_clause_by_clause_on_val_alone(lake):
    clauses, exam = lake.read("clauses"), lake.read("exams")
    assert {"gate", "contract", "groups", "macro_f1", "brier"} <= set(clauses["clause"])
    split = lake.read("splits/patient")
    assert set(exam["image_id"]) <= set(split.loc[split["split"] == "val", "image_id"])
    assert exam["variant"].nunique() == 4
    assert lake.read("release")["why"].str.len().min() > 0


def test_every_model_and_the_release_have_a_report_that_is_named_and_logged(demo, lake):
    _environment, home, output = demo
    reports = home / "reports"
    assert str(reports / "release.html") in output
    for protocol in PROTOCOLS:
        assert {path.suffix for path in (reports / "models" / protocol).iterdir()} == {
            ".html",
            ".md",
            ".json",
        }
    logged = [path.name for path in (home / "mlflow" / "artifacts").rglob("*.html")]
    champions = int(lake.read("release")["champion"].sum())  # none where val has too few groups for the rule
    assert sorted(logged) == [*["release_report.html"] * champions, *["report.html"] * len(PROTOCOLS)]


def test_every_printed_number_is_counted_again(demo):
    environment, _home, _output = demo
    done = run_command(environment, "verify")
    assert done.returncode == 0, done.stdout
    assert f"every number is as counted again: {len(PROTOCOLS) + 1} reports" in done.stdout


def test_one_changed_probability_fails_the_verification(demo, tmp_path):
    environment, home, _output = demo
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    lake = Lake(home=str(copy))
    frame = lake.read("predictions/patient/tiny")
    frame.loc[0, ["p_glioma", "p_no_tumor"]] = frame.loc[0, ["p_no_tumor", "p_glioma"]].tolist()
    lake.write("predictions/patient/tiny", frame, inputs="i", code="c")
    done = run_command({**environment, "FALX_HOME": str(copy)}, "verify")
    assert done.returncode == 1
    assert "WRONG models/patient/tiny" in done.stdout
    assert "recomputed" in done.stdout


def test_dagster_remembers_real_runs(demo, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(demo[1] / "dagster"))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert {run.job_name for run in runs} == {"curate", "train", "compare", "report"}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        event = instance.get_latest_materialization_event(dg.AssetKey("files"))
        assert event.asset_materialization.metadata["dagster/row_count"].value > 100


def test_the_second_demo_materialises_nothing(demo):
    environment, home, _output = demo
    with open_mlflow(home) as db:
        runs = db.execute("select count(*) from runs").fetchone()
    again = run_command(environment, "demo")
    assert again.returncode == 0, again.stderr[-4000:]
    assert "0 assets materialised" in again.stdout
    with open_mlflow(home) as db:
        assert db.execute("select count(*) from runs").fetchone() == runs


def test_a_leak_under_patient_stops_training(demo, tmp_path):
    environment, home, _output = demo
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    lake = Lake(home=str(copy))
    split = lake.read("splits/patient")
    manifest = lake.manifest("splits/patient")
    groups = split.merge(lake.read("groups"), on="image_id")
    shared = groups[groups["split"] == "train"].groupby("group_id")["image_id"].transform("size") > 1
    leaked = split["image_id"] == groups.loc[shared[shared].index[0], "image_id"]
    lake.write(
        "splits/patient",
        split.assign(split=split["split"].mask(leaked, "test")),
        inputs=manifest.inputs,
        code=manifest.code,
    )
    shutil.rmtree(copy / "models")
    lake.manifest_path("predictions/patient/tiny").unlink()
    done = run_command(
        {**environment, "FALX_HOME": str(copy)}, "train", "--recipe", "tiny", "--protocol", "patient"
    )
    assert done.returncode == 1
    assert "GateError" in done.stderr
