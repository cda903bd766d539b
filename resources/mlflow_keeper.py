"""The process that stands over a local MLflow server and ends it once nobody uses it any more.

Run as a script, with the standard library alone: `python mlflow_keeper.py <folder> <command …>`.

Every user of the server holds a shared lock on `<folder>/users.lock`; the kernel drops it however the user
dies. The keeper ends the server's whole process group as soon as it can have that lock for itself, so that a
killed run leaves no server behind, and a run that ends does not take the server from another one.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MUTEX = "server.lock"  # held while a server of this folder is being started or stopped
USERS = "users.lock"  # held, shared, by everybody who uses the server
RECORD = "server.json"  # where the server is

LOOK_SECONDS = 0.5
STOP_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # prctl(2)


def open_lock(path: Path) -> IO[bytes]:
    """A lock file, open; the lock goes when the file is closed, or its process dies."""
    return path.open("ab")


def try_lock(lock: IO[bytes]) -> bool:
    """Lock for one holder, unless somebody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def hold_mutex(folder: Path) -> Iterator[None]:
    """Wait until no server of this folder is being started or stopped, and let nobody begin to."""
    with open_lock(folder / MUTEX) as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def lock_if_unused(folder: Path) -> Iterator[bool]:
    """Yield whether nobody uses the server; where so, nobody can begin to until the end of the block."""
    with open_lock(folder / MUTEX) as mutex, open_lock(folder / USERS) as users:
        yield try_lock(mutex) and try_lock(users)


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent dies; elsewhere the keeper's own end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop_group(child: "subprocess.Popen[bytes]", group: int) -> None:
    """End a process group: politely, then, after `STOP_SECONDS`, for certain."""
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            child.poll()  # reaps it; a zombie would keep the group alive
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
    child.wait()


def keep(folder: Path, command: list[str]) -> int:
    """Run `command` until it ends, is told to end, or has no user left; its exit status."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: told.append(received))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=die_with_parent)  # noqa: PLW1509
    while not told and child.poll() is None:
        time.sleep(LOOK_SECONDS)
        with lock_if_unused(folder) as unused:
            if unused:
                stop_group(child, child.pid)
                (folder / RECORD).unlink(missing_ok=True)
                return 0
    stop_group(child, child.pid)
    return 0 if told else child.returncode


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2:]))
