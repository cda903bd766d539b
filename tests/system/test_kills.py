"""The whole run is killed at ten moments, in every phase, and started again: same tables, one run each."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from harness import run_command, tiny_environment

from resources.lake import Lake
from resources.ledgers import read_rows
from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system"), pytest.mark.timeout(1500)]

PHASES = {
    "raw": {"raw__cheng_figshare", "raw__masoudnickparvar", "raw__sartajbhuvaji", "raw__indk214"},
    "curation": {
        "inventory", "quarantine", "images", "pictures", "patients", "groups", "audit",
        "splits__published", "splits__stratified", "splits__patient",
    },
    "training": {"model"},
    "evaluation": {"predictions", "metrics", "leaderboard"},
}  # fmt: skip
# Where each start dies: the step that it must have reached, and the longest delay after that, in seconds.
MOMENTS = [
    ("raw__cheng_figshare", 0.2), ("raw__cheng_figshare", 1.0), ("inventory", 0.5), ("pictures", 0.2),
    ("splits__patient", 0.3), ("model", 4.0), ("predictions", 1.5), ("model", 4.0), ("model", 4.0),
    ("metrics", 0.3),
]  # fmt: skip
LEDGERS = {"releases.parquet", "openings.parquet"}
FINISHED = {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}


def digest_lake(home: Path) -> dict[str, bytes]:
    """The bytes of every table but the ledgers, which say when something happened."""
    lake = home / "lake"
    tables = {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*.parquet"))}
    assert "openings.parquet" in tables
    return {name: content for name, content in tables.items() if name not in LEDGERS}


def read_ledgers(home: Path) -> tuple[list[dict], list[dict]]:
    """The releases and the openings without their times; an opening that a kill repeated, once."""
    releases, openings = (read_rows(Lake(home=str(home)), name) for name in ("releases", "openings"))
    openings = openings.drop(columns="opened_at").drop_duplicates().sort_values("model_id")
    return releases.drop(columns="at").to_dict("records"), openings.to_dict("records")


def list_runs(home: Path) -> set[Path]:
    """Dagster keeps the events of a run in a database of its own."""
    return set((home / "dagster" / "history" / "runs").glob("*-*.db"))


def find_unfinished(databases: set[Path]) -> set[str]:
    """The steps that were started and have not ended, from the event logs."""
    open_steps: set[tuple[Path, str]] = set()
    for path in databases:
        query = "select step_key, dagster_event_type from event_logs where step_key is not null order by id"
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
        ):
            for step, event in db.execute(query).fetchall():
                if event == "STEP_START":
                    open_steps.add((path, step))
                elif event in FINISHED:
                    open_steps.discard((path, step))
    return {step for _, step in open_steps}


def kill_tree(process: subprocess.Popen) -> None:
    """SIGKILL, to the parent first so that it cannot tidy up, then to all that it had started."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    psutil.wait_procs(children, timeout=20)


def kill_inside(environment: dict[str, str], home: Path, step: str, delay: float) -> set[str]:
    """Start a demo, SIGKILL it `delay` seconds after `step` began; the steps that died unfinished."""
    before = list_runs(home)
    process = subprocess.Popen(
        [sys.executable, "-m", "commands", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while step not in find_unfinished(list_runs(home) - before):
        assert process.poll() is None, f"the demo ended before {step} began"
        assert time.monotonic() < deadline, f"{step} did not begin"
        time.sleep(0.01)
    time.sleep(delay)
    assert process.poll() is None, "the demo ended before it was killed"
    kill_tree(process)
    return find_unfinished(list_runs(home) - before)


def test_ten_kills_in_every_phase_change_nothing(demo, tiny_catalog, tmp_path, record_property):
    _environment, whole, _output = demo
    home = tmp_path / "home"
    environment = tiny_environment(home, tiny_catalog)
    chance = random.Random(6)
    died = [kill_inside(environment, home, step, chance.uniform(0, most)) for step, most in MOMENTS]
    hit = [phase for steps in died for phase, names in PHASES.items() if steps & names]
    record_property("died in", [sorted(steps) for steps in died])
    print("died in", [sorted(steps) for steps in died])
    assert len(died) == 10
    assert all(steps for steps in died), "a kill fell between two steps"
    assert set(hit) == set(PHASES)

    last = run_command(environment, "demo")
    assert last.returncode == 0, last.stdout[-3000:] + last.stderr[-5000:]
    assert "was killed earlier: marked as failed" in last.stdout
    here, there = digest_lake(home), digest_lake(whole)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    assert read_ledgers(home) == read_ledgers(whole)
    with closing(sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True)) as db:
        states = db.execute("select status from runs").fetchall()
    assert states == [("FINISHED",)] * 3


def test_a_run_left_running_by_a_kill_is_closed_by_the_next_command(demo, tmp_path):
    environment, whole, _output = demo
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as db, db:
        (left,) = db.execute("select run_uuid from runs order by start_time limit 1").fetchone()
        db.execute("update runs set status = 'RUNNING', end_time = null where run_uuid = ?", (left,))
    again = run_command({**environment, "FALX_HOME": str(home)}, "demo")
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"MLflow run {left[:8]} was killed earlier: marked as KILLED" in again.stdout
    with closing(sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True)) as db:
        states = dict(db.execute("select run_uuid, status from runs").fetchall())
    assert states.pop(left) == "KILLED"
    assert set(states.values()) == {"FINISHED"}
