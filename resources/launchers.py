"""Launchers: where the payload runs. On this machine, as one process or as several, in a group of its own.

Dagster's own subprocess client leaves the child running when its step is killed. These own the group: the
child dies with its parent, a cancel ends the whole group, and a crash never takes Dagster along.
"""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from resources.lifeline import die_with_parent

POLL_SECONDS = 0.5
KEEP_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"}
"""glibc keeps what is freed. By itself it hands every large activation back to the kernel, which clears the
same pages again for the next step: nearly half of the processor's time of `cnn3` (`python -m
benchmarks.allocation`). The bits are the same, the peak is up to a third higher. Other C libraries know no
such variable."""


@dataclass(frozen=True)
class Task:
    """What is to be run.

    Args:
        name: train, predict, explain or examine.
        arguments: what Python is given: `-m resources.payload train --spec …`.
        paths: files and folders that the task reads or writes; a launcher elsewhere must have them.
    """

    name: str
    arguments: Sequence[str]
    paths: Sequence[str] = ()


class Launcher(Protocol):
    """Starts a task under Dagster Pipes and waits for its end."""

    def launch(self, context: dg.AssetExecutionContext, task: Task) -> int:
        """The exit code; negative where a signal ended it. Interrupted, nothing is left running."""


@dataclass(frozen=True)
class LocalLauncher:
    """One process on this machine, in its own process group that dies with this process.

    Args:
        threads: of the process.
        grace_seconds: how long it has to end when it is asked to.
    """

    threads: int = 1
    grace_seconds: float = 20.0

    def launch(self, context: dg.AssetExecutionContext, task: Task) -> int:
        """The exit code; log lines reach the Dagster run as they are written."""
        # A part of Pipes that Dagster calls in preview; the range in pyproject.toml is pinned for it.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            return self._run_group(context, self.command(task), session.get_bootstrap_env_vars())

    def command(self, task: Task) -> list[str]:
        """The command line of a task."""
        return [sys.executable, *task.arguments]

    def _run_group(
        self, context: dg.AssetExecutionContext, command: list[str], bootstrap: Mapping[str, Any]
    ) -> int:
        child = subprocess.Popen(
            command,
            # A person's own GLIBC_TUNABLES stay.
            env={**KEEP_MEMORY, **os.environ, **bootstrap, **set_threads(self.threads)},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (only calls prctl)
            cwd=Path(spec_root()),
        )
        try:
            # A bounded wait, so that an interrupt is seen however it is delivered.
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(POLL_SECONDS)
        except BaseException:
            context.log.warning("interrupted: ending the training process and its children")
            self._stop(child)
            raise

    def _stop(self, child: "subprocess.Popen[bytes]") -> None:
        for sign, seconds in ((signal.SIGTERM, self.grace_seconds), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(child.pid, sign)
            except ProcessLookupError:
                return
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue


@dataclass(frozen=True)
class TorchrunLauncher(LocalLauncher):
    """A training as several processes on this machine; a prediction as one.

    Args:
        threads: of each process.
        processes: how many train together.
    """

    processes: int = 2

    def command(self, task: Task) -> list[str]:
        """The command line of a task."""
        return [sys.executable, *spread(task, self.processes)]


def spread(task: Task, processes: int) -> list[str]:
    """What Python is given to run a training as several processes; other tasks stay one."""
    if task.name != "train" or processes == 1:
        return list(task.arguments)
    return ["-m", "resources.spread", str(processes), "--", *task.arguments]


def set_threads(threads: int) -> dict[str, str]:
    """Environment variables of a process that computes on so many threads."""
    return {
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin for long starve whatever else runs on a small machine; those that never do
        # sleep between the layers of a small network.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
        "PYTHONUNBUFFERED": "1",
    }


def spec_root() -> str:
    """The folder that holds the packages, so that `-m resources.payload` is found without an install."""
    return str(Path(__file__).resolve().parent.parent)
