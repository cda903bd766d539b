"""The whole run is killed at ten moments and started again: the same tables, one MLflow run each."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from harness import run_command, tiny_environment

from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system"), pytest.mark.timeout(1500)]
KILLS = 10


def digest_lake(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes() for path in sorted((home / "lake").rglob("*.parquet"))
    }


def kill_after(environment: dict[str, str], seconds: float) -> bool:
    """Start a demo and SIGKILL it and all its children after `seconds`; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "commands", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        for child in children:
            with_suppressed_kill(child)
    process.wait()
    return alive


def with_suppressed_kill(child: psutil.Process) -> None:
    try:
        os.kill(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_ten_kills_change_nothing(demo, tiny_catalog, tmp_path):
    _environment, whole, _output = demo
    home = tmp_path / "home"
    environment = tiny_environment(home, tiny_catalog)
    moments = random.Random(6)
    killed = sum(kill_after(environment, moments.uniform(2, 22)) for _ in range(KILLS))
    assert killed >= 3, "the run ended too early to be killed; the test proves nothing"
    last = run_command(environment, "demo")
    assert last.returncode == 0, last.stdout[-3000:] + last.stderr[-5000:]
    assert digest_lake(home) == digest_lake(whole)
    with sqlite3.connect(f"file:{home}/mlflow/mlflow.db?mode=ro", uri=True) as db:
        states = db.execute("select status from runs").fetchall()
    assert states == [("FINISHED",)] * 3
