"""The roof: it loads fast and light, from anywhere, and everything on it is described."""

import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import definitions
from assets.gate import CHECKS
from assets.splits import split_key
from pipeline.catalog import load_catalog
from pipeline.protocols import list_protocols
from resources.settings import ROOT

HEAVY = ("torch", "mlflow", "sklearn", "pandas", "pyarrow", "matplotlib", "cv2", "kaggle")
GRAPH = definitions.defs.resolve_asset_graph()
COLLECTIONS = sorted(load_catalog().collections)
KEYS = sorted(GRAPH.get_all_asset_keys(), key=lambda key: key.path)


def run_python(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


def test_loading_imports_nothing_heavy(tmp_path):
    code = f"import sys, definitions; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code, tmp_path).strip() == "[]"


def test_the_graph_is_the_one_of_the_design():
    assert {key.to_user_string() for key in KEYS} == {
        *(f"raw/{name}" for name in COLLECTIONS),
        *("scan", "records", "thumbnails", "looks", "decisions", "foreign", "files", "quarantine", "images"),
        *("pairs", "pictures", "review", "patients", "groups", "conflicts", "folds", "audit"),
        *("splits/published", "splits/stratified", "splits/patient"),
        *(f"splits/fold/{number}" for number in range(1, 6)),
        *(f"splits/external/{name}" for name in COLLECTIONS),
        *("variants", "model", "validations", "predictions", "metrics", "evidence", "pooled", "leaderboard"),
        "explanations",
        "comparisons",
        "robustness",
        "release",
        "model_report",
        "release_report",
    }


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.to_user_string())
def test_every_asset_is_described_for_people(key):
    node = GRAPH.get(key)
    assert node.description
    assert len(node.description) > 30
    assert node.owners == ["team:falx"]
    assert node.kinds
    assert node.group_name in {"raw", "curation", "variants", "training", "evaluation", "release"}
    assert node.code_version
    if key.path[0] not in {"raw", "model", "model_report", "release_report"}:
        assert node.metadata["dagster/column_schema"].columns


@pytest.mark.parametrize("protocol", list_protocols(COLLECTIONS))
def test_the_gate_blocks_where_no_leak_may_be_and_a_refused_split_stops_nothing_else(protocol):
    for name in CHECKS:
        check = GRAPH.get(dg.AssetCheckKey(split_key(protocol), name))
        assert check.blocking == (protocol == "patient" or protocol.startswith("fold:"))
        assert check.description


def test_what_starts_work_is_off_until_switched_on_and_alerts_are_on():
    schedule = definitions.defs.resolve_schedule_def("weekly_retraining")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    sensors = {
        sensor.name: sensor.default_status for sensor in definitions.defs.get_repository_def().sensor_defs
    }
    assert sensors["raw_data_changed"] is dg.DefaultSensorStatus.STOPPED
    assert sensors["alert_on_failure"] is dg.DefaultSensorStatus.RUNNING


def test_one_job_goes_from_raw_folders_to_release():
    selected = definitions.defs.resolve_job_def("retrain").asset_layer.selected_asset_keys
    names = {key.to_user_string() for key in selected}
    aside = {
        "pooled",
        "explanations",
    }  # of all folds at once, and of boxed tumours alone: no clause asks for them
    assert names == {key.to_user_string() for key in KEYS} - aside
    assert definitions.defs.resolve_job_def("retrain").partitions_def is not None


def test_a_release_that_nobody_renews_is_called_stale():
    node = GRAPH.get(dg.AssetKey("release"))
    assert node.freshness_policy is not None


@pytest.mark.slow
def test_the_workspace_loads_from_any_folder(tmp_path):
    program = Path(sys.executable).with_name("dagster")
    done = subprocess.run(
        [program, "definitions", "validate", "-w", ROOT / "workspace.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"[Vv]alidation successful", done.stderr + done.stdout)


def test_the_roof_is_small():
    assert len((ROOT / "definitions.py").read_text().splitlines()) < 120
