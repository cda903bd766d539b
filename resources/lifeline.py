"""Processes that end with the one that started them, however it went."""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 1.0


def die_with_parent() -> None:
    """Let the kernel kill this process once the one that started it is gone; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with(parent: int) -> None:
    """Watch for the death of the process that started this one, then end as if asked to stop; everywhere."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def say_code(code: int) -> int:
    """Leave a bad exit code as the last line of stderr, for those who see no more than the log of a pod."""
    if code:
        sys.stderr.write(f"exit code {code}\n")
    return code
