"""The trainer: runs training and prediction as a process of its own, under Dagster Pipes.

Dagster's own subprocess client leaves the child running when its step is killed. This one owns the group:
the child dies with its parent, a cancel ends the whole group, and a crash never takes Dagster along.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from resources.instance import PROCESS, name_process

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.5

Task = Literal["train", "predict", "examine"]


class Trainer(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Starts `python -m <payload> <task> --spec <file>` and waits; the launcher says how.

    `launcher` is `local` (one process on this machine). Other launchers run the same payload elsewhere.
    `seeds` above 0 stands for those of the recipe; `weights` is the folder of ImageNet weights.
    """

    launcher: Literal["local"] = "local"
    payload: str = "resources.payload"
    device: str = "auto"
    threads: int = 1
    workers: int = 1
    seeds: int = 0
    weights: str = ""
    grace_seconds: float = 20.0

    def run(
        self,
        context: dg.AssetExecutionContext,
        task: Task,
        spec: Path,
        *,
        tracking_uri: str = "",
        run_id: str = "",
    ) -> None:
        """Run one task to its end; log lines reach the Dagster run as they are written.

        Args:
            spec: JSON file of a TrainingSpec, PredictionSpec or ExamSpec; results lie where the spec says.
            tracking_uri, run_id: the open MLflow run that epoch metrics go to; empty = nowhere.

        Raises:
            dg.Failure: the process ended with an error; the message says which, and retries are refused
                where the same input would fail the same way.
        """
        command = [sys.executable, "-m", self.payload, task, "--spec", str(spec)]
        if run_id:
            command += ["--tracking-uri", tracking_uri, "--run-id", run_id]
        # Runs that the UI started are not tagged yet: if they are killed, the next start frees their slot.
        context.instance.add_run_tags(context.run.run_id, {PROCESS: name_process()})
        # A part of Pipes that Dagster calls in preview; the range in pyproject.toml is pinned for it.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            code = self._run_group(context, command, session.get_bootstrap_env_vars())
        if code:
            raise dg.Failure(_describe_exit(task, code, spec), allow_retries=code not in (2, 3))

    def _run_group(
        self, context: dg.AssetExecutionContext, command: list[str], bootstrap: Mapping[str, Any]
    ) -> int:
        environment = {
            **os.environ,
            **bootstrap,
            "OMP_NUM_THREADS": str(self.threads),
            # Threads that spin for long starve whatever else runs on a small machine; those that never do
            # sleep between the layers of a small network.
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "10000",
            "PYTHONUNBUFFERED": "1",
        }
        child = subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (only calls prctl)
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


def spec_root() -> str:
    """The folder that holds the packages, so that `-m resources.payload` is found without an install."""
    return str(Path(__file__).resolve().parent.parent)


def _die_with_parent() -> None:
    # Linux only: the child dies with its parent, even by SIGKILL; elsewhere the payload watches its parent.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _describe_exit(task: str, code: int, spec: Path) -> str:
    known = {
        2: "its message stands above in this run's log; the same input will fail again",
        3: "it was asked to stop; re-execute to continue from the last finished epoch",
        -signal.SIGKILL: "it was killed, most likely for memory: set a smaller batch_size in the recipe, "
        "then re-execute to continue from the last finished epoch",
    }
    reason = known.get(code, "its traceback stands in this step's stderr; re-execute to continue")
    if code < 0 and code not in known:
        reason = f"it was ended by signal {-code} ({signal.strsignal(-code)}); re-execute to continue"
    return f"the process for {task} ended with exit code {code}: {reason} (spec: {spec})"
