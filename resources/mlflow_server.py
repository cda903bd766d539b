"""The local MLflow server of a home folder: found or started, shared, stopped after its last user.

One server a home, with one worker and no job runner (2 processes and 420 MB instead of 15 and 1.9 GB). It
stores metadata in SQLite and passes artifacts through itself, so that the database holds only
`mlflow-artifacts:/` addresses and the home can move.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil

from pipeline.atomic import write_text
from pipeline.errors import TrackingError
from resources.mlflow_keeper import RECORD, STOP_SECONDS, USERS, hold_mutex, open_lock, try_lock

KEEPER = Path(__file__).with_name("mlflow_keeper.py")
START_SECONDS = 120.0
LOG_LINES = 15
CLOCK_SLACK = 2.0  # psutil derives start times from a boot time that moves when the clock is set, seconds

ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}

_keepers: dict[int, "subprocess.Popen[bytes]"] = {}  # the keepers that this process started, to reap them


@dataclass(frozen=True)
class Record:
    """Where the server of a home is: its keeper's process, and the address it answers at."""

    pid: int
    started: float  # start time of that process, which tells it from a later one with the same id
    host: str
    port: int

    @property
    def uri(self) -> str:
        """The server's address."""
        return f"http://{self.host}:{self.port}"


@dataclass
class ServerHandle:
    """One user's hold on a running server; `stop` lets go, and the server ends with its last user."""

    home: Path
    record: Record
    started_here: bool
    _lease: IO[bytes] = field(repr=False)

    @property
    def uri(self) -> str:
        """The server's address, which may be another than was asked for where a server was up already."""
        return self.record.uri

    def alive(self) -> bool:
        """Whether the server still runs."""
        return _is_keeper(self.record, self.home / "mlflow")

    def stop(self) -> None:
        """Let go of the server; the last user waits for its end. A second call does nothing."""
        if self._lease.closed:
            return
        self._lease.close()
        folder = self.home / "mlflow"
        with hold_mutex(folder), open_lock(folder / USERS) as users:
            if try_lock(users):
                _stop_keeper(self.record, folder)

    def __enter__(self) -> "ServerHandle":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(home: Path, *, host: str = "127.0.0.1", port: int = 0, strict: bool = True) -> ServerHandle:
    """Hold the MLflow server of `home`: the one that is up, else a new one on `port` (0: any free port).

    A server that is up already is used as it is, whatever its port; see `ServerHandle.uri`. Processes that
    call this at the same time share one server.

    Args:
        strict: whether a taken `port` is an error; else any free port does.

    Raises:
        TrackingError: the port is taken, or the server did not answer; with the last lines of its log.
    """
    home = home.resolve()
    folder = home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    lease = open_lock(folder / USERS)
    try:
        with hold_mutex(folder):
            fcntl.flock(lease, fcntl.LOCK_SH)
            found = find_server(home)
            record = found or _start(folder, host, _choose_port(host, port, strict))
    except BaseException:
        lease.close()
        raise
    return ServerHandle(home, record, found is None, lease)


@contextlib.contextmanager
def running_server(home: Path, *, prefer: int = 0) -> Iterator[str]:
    """Yield the address of the home's MLflow server, started for the block where none was up.

    Args:
        prefer: the port to start on where it is free.
    """
    with serve(home, port=prefer, strict=False) as handle:
        yield handle.uri


def find_server(home: Path) -> Record | None:
    """The server of this very home, where one is up and healthy; a stale or foreign record counts as none."""
    folder = home.resolve() / "mlflow"
    try:
        record = Record(**json.loads((folder / RECORD).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    owned = _is_keeper(record, folder) and _listens(record)
    return record if owned and _is_healthy(record) else None


def server_command(folder: Path, host: str, port: int) -> list[str]:
    """The command line of the server over `folder`: its database, its artifacts."""
    return [
        *(sys.executable, "-P", "-m", "mlflow", "server"),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]


def _start(folder: Path, host: str, port: int) -> Record:
    _prepare_database(folder / "mlflow.db")
    log = folder / "server.log"
    if log.exists():
        log.replace(folder / "server.previous.log")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-P", str(KEEPER), str(folder), *server_command(folder, host, port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=inherited | ENVIRONMENT,
            start_new_session=True,
        )
    _keepers[keeper.pid] = keeper
    record = Record(keeper.pid, psutil.Process(keeper.pid).create_time(), host, port)
    try:
        _wait_until_ready(record, keeper, log)
        write_text(folder / RECORD, json.dumps(asdict(record)) + "\n")
    except BaseException:
        _stop_keeper(record, folder)
        raise
    return record


def _prepare_database(path: Path) -> None:
    # Write-ahead logging halves the time of a write; the mode stays in the file.
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise TrackingError(
            f"{path} cannot be used as MLflow's database: {error}. Restore it from a copy, or move it away "
            "to begin anew."
        ) from error


def _wait_until_ready(record: Record, keeper: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            raise TrackingError(f"the MLflow server ended while it started. {_read_log(log)}")
        # A stranger on the port would answer too: the listener must be one of ours.
        if _is_healthy(record) and _listens(record):
            return
        time.sleep(0.1)
    raise TrackingError(
        f"the MLflow server did not answer at {record.uri}/health within {START_SECONDS:.0f} s. "
        f"{_read_log(log)}"
    )


def _read_log(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return f"Last lines of {log}:\n" + "\n".join(lines or ["(nothing)"])


def _stop_keeper(record: Record, folder: Path) -> None:
    if _is_keeper(record, folder):
        process = psutil.Process(record.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs([process], timeout=STOP_SECONDS + 5)
            for left in alive:
                left.kill()  # its child is told by the kernel
    if keeper := _keepers.pop(record.pid, None):
        keeper.wait()
    (folder / RECORD).unlink(missing_ok=True)


def _is_keeper(record: Record, folder: Path) -> bool:
    if keeper := _keepers.get(record.pid):
        keeper.poll()
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) < CLOCK_SLACK
        return same and process.status() != psutil.STATUS_ZOMBIE and str(folder) in process.cmdline()
    except psutil.Error:
        return False


def _listens(record: Record) -> bool:
    try:
        family = psutil.Process(record.pid).children(recursive=True)
        sockets = [one for process in family for one in process.net_connections("inet")]
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == record.port for one in sockets)


def _is_healthy(record: Record) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{record.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _choose_port(host: str, port: int, strict: bool) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if strict:
                raise TrackingError(_explain_port(host, port, error)) from error
            return _choose_port(host, 0, True)
        chosen: int = probe.getsockname()[1]
        return chosen


def _explain_port(host: str, port: int, error: OSError) -> str:
    return (
        f"MLflow cannot listen on {host}:{port}: {error.strerror}; it is held by {_find_holder(port)}. "
        "End that program, or choose another port."
    )


def _find_holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return f"process {one.pid} ({' '.join(psutil.Process(one.pid).cmdline())[:120]})"
    return "a process of another user, or one that this user may not see"
