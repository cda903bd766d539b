"""Several trainings at once: each ends for itself, a failure stops what has not begun, Ctrl-C stops all."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from harness import TINY, run_command

from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system")]
EPOCHS = 40


def read_states(home) -> list[tuple[str, str]]:
    query = (
        "select value, status from runs join tags using (run_uuid) where key = 'recipe'"
        " order by runs.start_time"
    )
    with closing(sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def test_trained_two_at_once_or_one_after_the_other_is_the_same(copied):
    environment, home = copied(tiny=TINY | {"title": "Another", "optimiser": {"name": "sgd", "lr": 0.05}})
    together = run_command(environment, "demo")
    assert together.returncode == 0, together.stderr[-3000:]
    assert "tiny patient  " in together.stderr
    found = {path: path.read_bytes() for path in (home / "models").glob("tiny/*/*/*/best.safetensors")}
    shutil.rmtree(home / "models")
    alone = run_command(environment | {"FALX_TRAININGS": "1"}, "demo")
    assert alone.returncode == 0, alone.stderr[-3000:]
    again = {path: path.read_bytes() for path in (home / "models").glob("tiny/*/*/*/best.safetensors")}
    assert len(again) == 3
    assert all(found[path] == weights for path, weights in again.items())


def test_a_failure_lets_others_finish_begins_no_more_and_is_told(copied):
    broken = {"optimiser": {"name": "sgd", "lr": 1e30}, "stopping": {"epochs": 9}}
    environment, home = copied(broken=broken, last={"stopping": {"epochs": 1}})
    done = run_command(environment, "demo")
    assert done.returncode == 1
    assert "RunFailedError: train " in done.stderr
    assert "is no longer a number" in done.stderr
    assert "Traceback" not in done.stderr.split("RunFailedError")[1]
    broken = [state for recipe, state in read_states(home) if recipe == "broken"]
    assert set(broken) == {"FAILED"}
    assert len(broken) <= 2, "a cell was begun after another had failed"
    assert not (home / "models" / "last").exists()


def test_one_ctrl_c_ends_all_and_the_next_start_goes_on(copied):
    environment, home = copied(tiny={"stopping": {"epochs": EPOCHS, "keep": "last"}})
    before = {path.parent for path in (home / "models").rglob("last.pt")}
    process = subprocess.Popen(
        [sys.executable, "-m", "commands", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(new := {path.parent for path in (home / "models").rglob("last.pt")} - before) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0][-3000:]
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output[-3000:]
    assert "run the same command again" in output
    assert "Traceback" not in output
    _gone, left = psutil.wait_procs(children, timeout=20)
    assert left == []
    finished = {work: len((work / "history.jsonl").read_text().splitlines()) for work in new}
    assert all(epochs < EPOCHS for epochs in finished.values())

    again = run_command(environment, "demo")
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("continuing MLflow run") == 2
    for work in new:
        history = [json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in history] == list(range(1, EPOCHS + 1))
    assert {state for _, state in read_states(home)} == {"FINISHED"}


@pytest.fixture
def training(copied):
    """A demo in the middle of its first trainings, and the processes of those, with their workers."""
    environment, home = copied(tiny={"stopping": {"epochs": EPOCHS, "keep": "last"}})
    before = {path.parent for path in (home / "models").rglob("last.pt")}
    with (home / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "demo"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + 120
    while not {path.parent for path in (home / "models").rglob("last.pt")} - before:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    trainings = [child for child in children if "resources.payload" in child.cmdline()]
    assert trainings
    return process, trainings, home / "output"


def test_workers_die_with_a_command_that_is_killed(training):
    process, trainings, _output = training
    workers = [child.parent() for child in trainings]
    process.kill()
    process.wait()
    _gone, left = psutil.wait_procs([*workers, *trainings], timeout=20)
    assert left == []


def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(training):
    process, trainings, output = training
    trainings[0].parent().kill()
    assert process.wait(timeout=90) == 1
    assert "RunFailedError: a process that runs trainings was killed" in output.read_text()
    assert "FALX_TRAININGS=1" in output.read_text()
    _gone, left = psutil.wait_procs(trainings, timeout=20)
    assert left == []
