"""Ctrl-C in the middle of a training: nothing is left running, and the same MLflow run goes on."""

import signal
import sqlite3
import subprocess
import sys
import time

import psutil
import pytest
from harness import run_command

from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system")]
EPOCHS = 60


def read_states(home) -> list[tuple[str, str]]:
    query = "select run_uuid, status from runs order by start_time desc"
    with sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()


def test_an_interrupted_training_goes_on_under_the_same_run(copied):
    environment, home = copied(tiny={"stopping": {"epochs": EPOCHS, "keep": "last"}})
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
