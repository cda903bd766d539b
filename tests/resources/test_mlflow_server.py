"""One server a home, shared by who needs it, gone with its last user; each fault a sentence."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.errors import TrackingError
from resources import mlflow_server
from resources.mlflow_keeper import RECORD, USERS, lock_if_unused, open_lock, try_lock
from resources.mlflow_server import KEEPER, find_server, running_server, serve, server_command

HOLD = """
import sys
from pathlib import Path
from resources.mlflow_server import serve
with serve(Path(sys.argv[1])) as handle:
    print(handle.record.pid, handle.uri, flush=True)
    sys.stdin.read()
"""

LOCK = """
import fcntl, sys, time
lock = open(sys.argv[1], "ab")
fcntl.flock(lock, fcntl.LOCK_SH)
print("held", flush=True)
time.sleep(600)
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def user(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the home's server until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def kept(folder: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A keeper over any command."""
    with subprocess.Popen([sys.executable, str(KEEPER), str(folder), *command]) as keeper:
        try:
            yield keeper
        finally:
            keeper.kill()


@contextlib.contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Be a user, without a server."""
    import fcntl

    with open_lock(folder / USERS) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def child_of(keeper: "subprocess.Popen[bytes]") -> psutil.Process:
    process = psutil.Process(keeper.pid)
    assert wait_for(lambda: bool(process.children()))
    return process.children()[0]


def test_a_server_that_is_up_is_used_and_left(mlflow_home):
    with serve(mlflow_home.path, port=1) as second:
        assert second.record == mlflow_home.handle.record
        assert not second.started_here
    with running_server(mlflow_home.path) as uri:
        assert uri == mlflow_home.uri
    assert mlflow_home.handle.alive()
    assert urllib.request.urlopen(mlflow_home.uri + "/health").read() == b"OK"


def test_the_server_listens_on_this_machine_alone_and_runs_lean(mlflow_home):
    keeper = psutil.Process(mlflow_home.handle.record.pid)
    family = keeper.children(recursive=True)
    assert len(family) == 2
    listening = [
        one for process in family for one in process.net_connections("tcp") if one.status == "LISTEN"
    ]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    environment = family[0].environ()
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_the_database_writes_ahead(mlflow_home):
    with contextlib.closing(sqlite3.connect(mlflow_home.path / "mlflow" / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_command_names_interpreter_database_and_artifacts(tmp_path: Path):
    command = server_command(tmp_path, "127.0.0.1", 5000)
    assert command[0] == sys.executable
    assert f"sqlite:///{tmp_path}/mlflow.db" in command
    assert command[command.index("--artifacts-destination") + 1] == str(tmp_path / "artifacts")
    assert "--default-artifact-root" not in command


def test_a_taken_port_is_named_with_its_holder(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"127.0.0.1:{port}.*process {os.getpid()}.*choose another"):
            serve(tmp_path, port=port)
    with lock_if_unused(tmp_path / "mlflow") as unused:
        assert unused


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": 1, "started": 0, "host": "127.0.0.1"}'])
def test_a_broken_record_counts_as_none(tmp_path: Path, content: str):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / RECORD).write_text(content)
    assert find_server(tmp_path) is None


def test_a_reused_process_id_counts_as_none(mlflow_home, tmp_path: Path):
    """The process lives and a server answers, but neither belongs to this home, or was started then."""
    (tmp_path / "mlflow").mkdir()
    record = json.loads((mlflow_home.path / "mlflow" / RECORD).read_text())
    for change in ({}, {"pid": os.getpid()}, {"started": record["started"] - 100}):
        (tmp_path / "mlflow" / RECORD).write_text(json.dumps(record | change))
        assert find_server(tmp_path) is None
    assert find_server(mlflow_home.path) == mlflow_home.handle.record


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match=r"mlflow\.db cannot be used .* move it away"):
        serve(tmp_path)


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = "import sys; print('no such revision'); sys.exit(3)"
    monkeypatch.setattr(mlflow_server, "server_command", lambda *_: [sys.executable, "-c", script])
    with pytest.raises(TrackingError, match=r"(?s)ended while it started.*server\.log:\nno such revision"):
        serve(tmp_path)
    assert not (tmp_path / "mlflow" / RECORD).exists()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = [sys.executable, "-c", "import time; print('dozing', flush=True); time.sleep(600)"]
    monkeypatch.setattr(mlflow_server, "server_command", lambda *_: command)
    monkeypatch.setattr(mlflow_server, "START_SECONDS", 1.0)
    with pytest.raises(TrackingError, match=r"(?s)did not answer .* within 1 s.*dozing"):
        serve(tmp_path)
    assert not [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == command]


def test_the_keeper_ends_its_command_with_the_last_user(tmp_path: Path):
    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        one.enter_context(lease(tmp_path))
        other.enter_context(lease(tmp_path))
        with kept(tmp_path, "sleep", "600") as keeper:
            child = child_of(keeper)
            one.close()
            time.sleep(1.2)
            assert keeper.poll() is None
            other.close()
            assert keeper.wait(20) == 0
            assert not child.is_running()


def test_a_killed_user_counts_no_more(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(tmp_path / USERS)], stdout=subprocess.PIPE
    ) as someone:
        assert someone.stdout is not None
        someone.stdout.readline()
        with kept(tmp_path, "sleep", "600") as keeper:
            child = child_of(keeper)
            someone.send_signal(signal.SIGKILL)
            assert keeper.wait(20) == 0
            assert not child.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_keeper_takes_its_command_along(tmp_path: Path):
    with lease(tmp_path), kept(tmp_path, "sleep", "600") as keeper:
        child = child_of(keeper)
        keeper.kill()
        assert wait_for(lambda: not child.is_running())


def test_a_command_that_ignores_the_request_is_killed(tmp_path: Path):
    code = "import sys, resources.mlflow_keeper as k; k.STOP_SECONDS = 0.5; from pathlib import Path; "
    code += "sys.exit(k.keep(Path(sys.argv[1]), sys.argv[2:]))"
    with (
        lease(tmp_path),
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), sys.executable, "-c", STUBBORN],
            stdout=subprocess.PIPE,
        ) as keeper,
    ):
        assert keeper.stdout is not None
        keeper.stdout.readline()
        child = child_of(keeper)
        keeper.terminate()
        assert keeper.wait(20) == 0
        assert not child.is_running()


def test_a_lock_has_one_holder(tmp_path: Path):
    with open_lock(tmp_path / USERS) as one, open_lock(tmp_path / USERS) as other:
        assert try_lock(one)
        assert not try_lock(other)


@pytest.mark.slow
def test_two_starters_share_one_server_and_the_survivor_keeps_it(fresh_home: Path):
    with user(fresh_home) as one, user(fresh_home) as other:
        assert one.stdout is not None
        assert other.stdout is not None
        pid, uri = one.stdout.readline().split()
        assert other.stdout.readline().split() == [pid, uri]
        keeper = psutil.Process(int(pid))
        one.send_signal(signal.SIGKILL)
        one.wait()
        time.sleep(1.5)
        assert urllib.request.urlopen(uri + "/health").status == 200
        family = [keeper, *keeper.children(recursive=True)]
        other.send_signal(signal.SIGKILL)
        assert wait_for(lambda: not any(process.is_running() for process in family))
    assert find_server(fresh_home) is None


@pytest.mark.slow
def test_a_started_server_takes_the_port_that_is_asked_for_and_frees_it(fresh_home: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serve(fresh_home, port=port) as handle:
        assert handle.uri == f"http://127.0.0.1:{port}"
        assert handle.started_here
        family = psutil.Process(handle.record.pid).children(recursive=True)
    assert not any(process.is_running() for process in family)
    assert not (fresh_home / "mlflow" / RECORD).exists()
    handle.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
