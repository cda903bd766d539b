"""A task as a pod of a Kubernetes cluster, through Dagster's own Pipes client; needs the extra `kubernetes`.

The pod sees the home and the collections under the paths that they have here, from persistent volume claims:
the task's JSON file names them. What a pod is made of is a plain function, tested without a cluster.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from pipeline.errors import SettingsError
from resources.launchers import KEEP_MEMORY, Task, set_threads, spread
from resources.volumes import Volume

CONTAINER = "falx"
EXIT_CODE = re.compile(r"^(?:.*\s)?exit code (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class KubernetesLauncher:
    """A pod for each task; it is deleted at its end, and when the step is cancelled.

    Args:
        image: container image with this project installed.
        namespace: where pods are made; empty = that of the current context.
        volumes: claims that hold what the task reads and writes.
        gpus: of a training; a prediction takes one at most.
        processes: that train together, all in the one pod.
        threads: of each process, and the CPUs that are asked for.
        grace_seconds: how long a pod that is deleted has to end.
        poll_seconds: how often the cluster is asked.
    """

    image: str
    namespace: str = ""
    volumes: tuple[Volume, ...] = ()
    gpus: int = 0
    processes: int = 1
    threads: int = 1
    grace_seconds: float = 20.0
    poll_seconds: float = 5.0

    def launch(self, context: dg.AssetExecutionContext, task: Task) -> int:
        """The exit code; what the pod logs reaches the Dagster run as it is written.

        Raises:
            SettingsError: the extra is not installed, no cluster is configured, or a path is on no volume.
        """
        pod = build_pod(self, task)
        client, errors = _load_client(self.poll_seconds)
        # No service account, no environment of ours: what the pod needs is in its manifest.
        try:
            client.run(
                context=context,
                namespace=self.namespace or None,
                base_pod_meta=pod["metadata"],
                base_pod_spec=pod["spec"],
            )
        except errors.config as error:
            raise SettingsError(
                f"no Kubernetes cluster is configured here: {error}; set KUBECONFIG, or FALX_LAUNCHER=local"
            ) from error
        except errors.pod as error:
            context.log.error(str(error))  # noqa: TRY400 (the payload's own words, no crash)
            return find_exit_code(str(error))
        return 0


def build_pod(launcher: KubernetesLauncher, task: Task) -> dict[str, Any]:
    """Metadata and spec of the pod that runs a task, in the words of Kubernetes' API.

    Raises:
        SettingsError: the task needs a path that is on no volume; names it.
    """
    _check_paths(launcher.volumes, task.paths)
    training = task.name == "train"
    processes = launcher.processes if training else 1
    gpus = launcher.gpus if training else min(1, launcher.gpus)
    resources: dict[str, dict[str, str]] = {"requests": {"cpu": str(launcher.threads * processes)}}
    if gpus:
        resources["limits"] = {"nvidia.com/gpu": str(gpus)}
    names = [f"volume-{place}" for place in range(len(launcher.volumes))]
    environment = KEEP_MEMORY | set_threads(launcher.threads)
    container = {
        "name": CONTAINER,
        "image": launcher.image,
        "command": ["python", *spread(task, processes)],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": resources,
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": name, "mountPath": volume.path, "readOnly": volume.read_only}
            for name, volume in zip(names, launcher.volumes, strict=True)
        ]
        + [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": round(launcher.grace_seconds),
        "volumes": [
            {
                "name": name,
                "persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only},
            }
            for name, volume in zip(names, launcher.volumes, strict=True)
        ]
        # The processes of a team talk through shared memory, of which a pod has 64 MB unless told.
        + [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
    return {"metadata": {"labels": {"app.kubernetes.io/component": f"falx-{task.name}"}}, "spec": spec}


def find_exit_code(text: str) -> int:
    """The exit code that the payload wrote as its last word; 1 where it had none to say."""
    found = EXIT_CODE.findall(re.sub(r"\\n|[\"']", "\n", text))
    return int(found[-1]) if found else 1


def _check_paths(volumes: Sequence[Volume], paths: Sequence[str]) -> None:
    mounts = [PurePosixPath(volume.path) for volume in volumes]
    lost = [path for path in paths if not any(PurePosixPath(path).is_relative_to(mount) for mount in mounts)]
    if lost:
        listed = ", ".join(str(mount) for mount in mounts) or "none"
        raise SettingsError(
            f"the pod would not see {lost[0]}; volumes of FALX_POD_VOLUMES: {listed}. Add the claim that "
            "holds it, under the path that it has here"
        )


@dataclass(frozen=True)
class _Errors:
    config: type[Exception]
    pod: type[Exception]


def _load_client(poll_seconds: float) -> tuple[Any, _Errors]:
    try:
        from dagster_k8s import PipesK8sClient
        from dagster_k8s.client import DagsterK8sError
        from kubernetes.config import ConfigException
    except ImportError as error:
        raise SettingsError(
            f"FALX_LAUNCHER=kubernetes needs the extra `kubernetes`: {error}; "
            "run .venv/bin/pip install -c constraints.txt -e '.[kubernetes]'"
        ) from error
    return PipesK8sClient(poll_interval=poll_seconds), _Errors(ConfigException, DagsterK8sError)
