"""Ctrl-C in the middle of a training: nothing is left running, and the same MLflow run goes on."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from harness import TINY, run_command

from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system")]
EPOCHS = 60


@pytest.fixture
def long_training(demo, tiny_catalog, tmp_path):
    """Environment of a copied demo whose recipe trains long enough to be interrupted, and its home."""
    environment, home, _output = demo
    copy, catalog = tmp_path / "home", tmp_path / "catalog"
    shutil.copytree(home, copy)
    shutil.copytree(tiny_catalog, catalog)
    recipe = TINY | {"stopping": {"epochs": EPOCHS, "keep": "last"}}
    (catalog / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    return {**environment, "FALX_HOME": str(copy), "FALX_CATALOG": str(catalog)}, copy


def read_states(home) -> list[tuple[str, str]]:
    query = "select run_uuid, status from runs order by start_time desc"
    with sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()


def test_an_interrupted_training_goes_on_under_the_same_run(long_training):
    environment, home = long_training
    command = ["train", "--recipe", "tiny", "--protocol", "patient"]
    before = {path.parent for path in (home / "models").rglob("last.pt")}
    process = subprocess.Popen(
        [sys.executable, "-m", "commands", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (new := {path.parent for path in (home / "models").rglob("last.pt")} - before):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0][-3000:]
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output[-3000:]
    assert "run the same command again" in output
    _gone, left = psutil.wait_procs(children, timeout=20)
    assert left == []

    (work,) = new
    done = len((work / "history.jsonl").read_text().splitlines())
    assert done < EPOCHS
    run_id, status = read_states(home)[0]
    assert status == "KILLED"

    again = run_command(environment, *command)
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"continuing MLflow run {run_id}" in again.stderr
    assert (run_id, "FINISHED") in read_states(home)
    assert len((work / "history.jsonl").read_text().splitlines()) == EPOCHS
