"""`make ui`: Dagster and MLflow on 127.0.0.1; one Ctrl-C ends both, a taken port is a clear error."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pipeline.errors import FalxError, SettingsError
from resources.console import say
from resources.instance import free_dead_slots, open_instance
from resources.mlflow_server import find_server, serve
from resources.settings import ROOT, Settings, claim_home, load_settings

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 25.0  # a training in a run gets 20 s to end


def serve_ui() -> int:
    """Start both servers, say where they are, and wait for Ctrl-C.

    Raises:
        SettingsError: a port is taken.
        FalxError: Dagster ended by itself or did not come up.
    """
    settings = load_settings()
    claim_home(settings.home, settings.profile)
    require_free_port(settings.dagster_port, "Dagster", "FALX_DAGSTER_PORT")
    if not settings.mlflow_uri and find_server(settings.home) is None:
        require_free_port(settings.mlflow_port, "MLflow", "FALX_MLFLOW_PORT")
    with open_instance(settings.home, at_once=settings.at_once) as instance:
        free_dead_slots(instance)
    if settings.mlflow_uri:
        return _serve_dagster(settings, settings.mlflow_uri)
    with serve(settings.home, host=HOST, port=settings.mlflow_port) as mlflow:
        return _serve_dagster(settings, mlflow.uri)


def require_free_port(port: int, server: str, variable: str, *, command: str = "make ui") -> None:
    """Check that nobody listens on a port of this machine.

    Raises:
        SettingsError: somebody does; names the port, who may hold it, and the setting that changes it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SettingsError(
                f"port {port} of {HOST} is taken, so {server} cannot start there ({error.strerror}). Perhaps "
                f"`{command}` runs in another terminal; else set {variable} to a free port, for example "
                f"`{variable}={port + 1} {command}`."
            ) from error


def dagster_command(settings: Settings) -> list[str]:
    """The command line of Dagster's webserver and daemon."""
    workspace = str(ROOT / "workspace.yaml")
    program = str(Path(sys.executable).with_name("dagster"))
    return [program, "dev", "-w", workspace, "-h", HOST, "-p", str(settings.dagster_port)]


def _serve_dagster(settings: Settings, mlflow_uri: str) -> int:
    # Set both before the child starts: a shell's `&` hands SIGINT down ignored, and Dagster would be immune.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    log = settings.home / "dagster" / "dev.log"
    with log.open("w") as stream:
        # Its own group: Ctrl-C reaches this process alone, which then ends the whole group in order.
        dagster = subprocess.Popen(
            dagster_command(settings), stdout=stream, stderr=stream, cwd=ROOT, process_group=0, env=os.environ
        )
    try:
        _wait_until_up(dagster, settings.dagster_port, log)
        say(f"Dagster  http://{HOST}:{settings.dagster_port}  assets, runs, checks, schedules")
        say(f"MLflow   {mlflow_uri}/#/experiments?workflowType=machine_learning  runs, models, figures")
        say(f"Ctrl-C ends both. Dagster's log: {log}")
        code = dagster.wait()
        raise FalxError(f"Dagster ended by itself with exit code {code}; its log: {log}")
    except KeyboardInterrupt:
        say("\nending Dagster and MLflow …")
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop_group(dagster)


def _interrupt(_signal: int, _frame: object) -> None:
    # A second, impatient signal would cut the ending short and leave Dagster's processes behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _wait_until_up(dagster: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and dagster.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.3)
    tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:])
    raise FalxError(f"Dagster did not come up on port {port}. The end of its log ({log}):\n{tail}")


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        _signal_group(process, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # Not the leader alone: a run in its group may still be ending its training.
            if not _signal_group(process, 0):
                return
            time.sleep(0.1)


def _signal_group(process: "subprocess.Popen[bytes]", sign: int) -> bool:
    process.poll()  # an ended leader that nobody waited for would count as alive
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):  # the latter on macOS, where only zombies are left
        return False
    return True
