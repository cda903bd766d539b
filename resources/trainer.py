"""The trainer: runs training, prediction and explanation as processes of their own, under Dagster Pipes."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import dagster as dg

from resources.instance import PROCESS, name_process
from resources.kubernetes import KubernetesLauncher
from resources.launchers import Launcher, LocalLauncher, Task, TorchrunLauncher, spec_root
from resources.volumes import read_volumes

PATHS = (
    *("split", "groups", "variants", "cache", "work", "weights", "validations", "output"),
    *("predictions", "patients", "sheets", "contracts"),
)
"""Fields of the tasks' specs that name a file or folder; `folders` and `sitters` besides."""
ENDED_BY_SIGNAL = 128  # what shells, torchrun and Kubernetes add to the number of the signal


class Trainer(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Starts `python -m <payload> <task> --spec <file>` and waits; the launcher says where.

    `local` is one process on this machine, `torchrun` are `processes` of them that train one model,
    `kubernetes` is a pod with as many; see the settings of the same names. `seeds` above 0 stands for those
    of the recipe; `weights` is the folder of ImageNet weights.
    """

    launcher: Literal["local", "torchrun", "kubernetes"] = "local"
    processes: int = 1
    payload: str = "resources.payload"
    device: str = "auto"
    threads: int = 1
    workers: int = 1
    seeds: int = 0
    weights: str = ""
    grace_seconds: float = 20.0
    pod_image: str = ""
    pod_namespace: str = ""
    pod_volumes: str = ""
    pod_gpus: int = 0

    def run(
        self,
        context: dg.AssetExecutionContext,
        task: Literal["train", "predict", "explain", "examine"],
        spec: Path,
        *,
        tracking_uri: str = "",
        run_id: str = "",
    ) -> None:
        """Run one task to its end; log lines reach the Dagster run as they are written.

        Args:
            spec: JSON file of the task's spec, such as a TrainingSpec; results lie where it says.
            tracking_uri, run_id: the open MLflow run that epoch metrics go to; empty = nowhere.

        Raises:
            SettingsError: the launcher cannot be used; says what is missing.
            dg.Failure: the process ended with an error; the message says which, and retries are refused
                where the same input would fail the same way.
        """
        arguments = ["-m", self.payload, task, "--spec", str(spec)]
        if run_id:
            arguments += ["--tracking-uri", tracking_uri, "--run-id", run_id]
        # Runs that the UI started are not tagged yet: if they are killed, the next start frees their slot.
        context.instance.add_run_tags(context.run.run_id, {PROCESS: name_process()})
        code = self.choose_launcher().launch(context, Task(task, arguments, tuple(list_paths(spec))))
        if code:
            raise dg.Failure(_describe_exit(task, code, spec), allow_retries=code not in (2, 3))

    def choose_launcher(self) -> Launcher:
        """The launcher that the settings name."""
        if self.launcher == "torchrun":
            return TorchrunLauncher(self.threads, self.grace_seconds, self.processes)
        if self.launcher == "kubernetes":
            return KubernetesLauncher(
                self.pod_image,
                self.pod_namespace,
                read_volumes(self.pod_volumes),
                self.pod_gpus,
                self.processes,
                self.threads,
                self.grace_seconds,
            )
        return LocalLauncher(self.threads, self.grace_seconds)


def list_paths(spec: Path) -> Iterator[str]:
    """Every file and folder that a task's JSON file names, and the file itself."""
    yield str(spec)
    fields = json.loads(spec.read_bytes())
    yield from filter(None, (fields.get(name) for name in PATHS))
    yield from fields.get("folders", {}).values()
    yield from (sitter["package"] for sitter in fields.get("sitters", ()))
    weights = fields.get("recipe", {}).get("model", {}).get("weights", "none")
    if weights not in ("none", "imagenet"):
        yield str(Path(spec_root(), weights))


def _describe_exit(task: str, code: int, spec: Path) -> str:
    code = ENDED_BY_SIGNAL - code if code > ENDED_BY_SIGNAL else code
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
