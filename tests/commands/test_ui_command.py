"""`make ui`: a Dagster that ends is an error with its log; an interrupt ends its whole group in order."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from commands import ui
from pipeline.errors import FalxError
from resources.instance import open_instance
from resources.settings import ROOT, Settings


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home with a remote MLflow, so that none is started; signal handlers and DAGSTER_HOME come back."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    with socket.socket() as probe:
        probe.bind((ui.HOST, 0))
        port = probe.getsockname()[1]
    for name, value in {"HOME": tmp_path, "MLFLOW_URI": "http://127.0.0.1:9", "DAGSTER_PORT": port}.items():
        monkeypatch.setenv(f"FALX_{name}", str(value))
    monkeypatch.setenv("DAGSTER_HOME", "")
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for sign, handler in before.items():
        signal.signal(sign, handler)


def stand_in(monkeypatch, code: str) -> None:
    monkeypatch.setattr(
        ui, "dagster_command", lambda settings: [sys.executable, "-c", code, str(settings.dagster_port)]
    )


LISTEN = """
import socket, sys, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
"""


def test_a_dagster_that_dies_at_once_shows_the_end_of_its_log_and_dead_runs_are_cleared(home, monkeypatch):
    with open_instance(home) as instance:
        dead = instance.create_run_for_job(nothing(), tags={"falx/process": "999999999-1"})
        instance.report_dagster_event(
            dg.DagsterEvent("PIPELINE_START", job_name="nothing_job", message="started"), run_id=dead.run_id
        )
    stand_in(monkeypatch, "print('no such workspace'); raise SystemExit(3)")
    with pytest.raises(FalxError, match=r"did not come up on port \d+(.|\n)*no such workspace"):
        ui.serve_ui()
    with open_instance(home) as instance:
        assert instance.get_run_by_id(dead.run_id).status is dg.DagsterRunStatus.FAILURE


def nothing() -> dg.JobDefinition:
    @dg.op
    def idle():
        return None

    @dg.job(name="nothing_job")
    def nothing_job():
        idle()

    return nothing_job


def test_a_dagster_that_ends_later_names_code_and_log(home, monkeypatch):
    stand_in(monkeypatch, LISTEN + "time.sleep(1); sys.exit(5)")
    with pytest.raises(FalxError, match=r"ended by itself with exit code 5; its log: .*dev\.log"):
        ui.serve_ui()


# The leader ends at once; its child needs a second to end well, as a run does that ends its training.
FAMILY = """
import pathlib, signal, subprocess, sys, time
child = '''
import pathlib, sys, time
try:
    pathlib.Path(sys.argv[1], "ready").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    pathlib.Path(sys.argv[1], "ended well").touch()
'''
subprocess.Popen([sys.executable, "-c", child, sys.argv[2]])
try:
    time.sleep(60)
except KeyboardInterrupt:
    pass
"""


def test_the_whole_group_gets_the_time_to_end(tmp_path):
    leader = subprocess.Popen([sys.executable, "-c", FAMILY, "-", str(tmp_path)], process_group=0)
    wait_for(tmp_path / "ready")
    ui._stop_group(leader)
    assert (tmp_path / "ended well").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(leader.pid, 0)


DRIVER = """
import sys
from commands import __main__, ui
port = lambda settings: str(settings.dagster_port)
ui.dagster_command = lambda settings: [sys.executable, "-c", sys.argv[1], port(settings), sys.argv[2]]
sys.exit(__main__.main(["ui"]))
"""


def test_an_impatient_second_interrupt_leaves_nothing_behind(home, tmp_path):
    code = LISTEN + FAMILY
    command = [sys.executable, "-c", DRIVER, code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "ready")
        shown = [process.stdout.readline() for _ in range(3)]
        assert "Ctrl-C ends both" in shown[2]
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert (tmp_path / "ended well").exists()


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
