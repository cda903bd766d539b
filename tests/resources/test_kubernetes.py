"""The Kubernetes launcher: its manifest as a plain function, and pods of a cluster on loopback."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from pipeline.errors import SettingsError
from resources.kubernetes import KubernetesLauncher, build_pod, find_exit_code
from resources.launchers import Task
from resources.settings import ROOT
from resources.trainer import Trainer, list_paths
from resources.volumes import Volume, read_volumes

HERE = Path(__file__).parent
VOLUMES = (Volume("falx-home", "/data/home"), Volume("collections", "/data/sets", read_only=True))
LAUNCHER = KubernetesLauncher("registry.example/falx:1", "research", VOLUMES, gpus=2, processes=2, threads=3)
TRAIN = Task(
    "train", ["-m", "resources.payload", "train", "--spec", "/data/home/s.json"], ("/data/home/s.json",)
)


def test_a_training_is_a_pod_that_sees_its_paths_and_has_its_gpus() -> None:
    pod = build_pod(LAUNCHER, TRAIN)
    (container,) = pod["spec"]["containers"]
    command = "python -m resources.spread 2 -- -m resources.payload train --spec /data/home/s.json"
    assert container["command"] == command.split()
    assert container["image"] == "registry.example/falx:1"
    assert container["resources"] == {"requests": {"cpu": "6"}, "limits": {"nvidia.com/gpu": "2"}}
    assert {"name": "OMP_NUM_THREADS", "value": "3"} in container["env"]
    assert "GLIBC_TUNABLES" in {entry["name"] for entry in container["env"]}
    assert container["volumeMounts"] == [
        {"name": "volume-0", "mountPath": "/data/home", "readOnly": False},
        {"name": "volume-1", "mountPath": "/data/sets", "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    assert pod["spec"]["volumes"] == [
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "falx-home", "readOnly": False}},
        {"name": "volume-1", "persistentVolumeClaim": {"claimName": "collections", "readOnly": True}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 20
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["labels"] == {"app.kubernetes.io/component": "falx-train"}


def test_a_prediction_is_one_process_on_one_gpu_at_most() -> None:
    task = Task("predict", ["-m", "resources.payload", "predict"])
    (container,) = build_pod(LAUNCHER, task)["spec"]["containers"]
    assert container["command"] == ["python", "-m", "resources.payload", "predict"]
    assert container["resources"] == {"requests": {"cpu": "3"}, "limits": {"nvidia.com/gpu": "1"}}
    (container,) = build_pod(replace(LAUNCHER, gpus=0), task)["spec"]["containers"]
    assert "limits" not in container["resources"]


def test_a_path_that_the_pod_would_not_see_is_refused() -> None:
    task = replace(TRAIN, paths=("/data/sets/cheng/a.png", "/data/homes/x"))
    with pytest.raises(
        SettingsError, match=r"would not see /data/homes/x; .*FALX_POD_VOLUMES: /data/home, /data"
    ):
        build_pod(LAUNCHER, task)


def test_all_paths_of_a_task_are_found(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    fields: dict[str, Any] = {
        "split": "/a",
        "cache": "/b",
        "work": "/c",
        "weights": "",
        "folders": {"x": "/d"},
    }
    spec.write_text(json.dumps(fields | {"recipe": {"model": {"weights": "start.safetensors"}}, "seed": 0}))
    assert list(list_paths(spec)) == [str(spec), "/a", "/b", "/c", "/d", str(ROOT / "start.safetensors")]
    spec.write_text(json.dumps(fields | {"recipe": {"model": {"weights": "imagenet"}}}))
    assert str(ROOT / "imagenet") not in list_paths(spec)


@pytest.mark.parametrize("text", ["home", "home:data", "home:/data:rw", "Home:/data", ":/data"])
def test_volumes_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no volume; write claim:/path, or claim:/path:ro"):
        read_volumes(f"good:/data, {text}")


def test_volumes_are_read() -> None:
    assert read_volumes(" falx-home:/data/home/,collections:/data/sets:ro ,") == VOLUMES
    assert read_volumes("") == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('failed with message: "x". Last 100 log lines: "TrainingError: no\nexit code 2\n"', 2),
        ("Last 100 log lines: \"b'exit code 3\\nlater\\nexit code 2\\n'\"", 2),
        ('message: "OOMKilled". Last 100 log lines: ""', 1),
    ],
)
def test_the_payloads_exit_code_is_found_in_what_the_client_says(text: str, code: int) -> None:
    assert find_exit_code(text) == code


def test_without_the_extra_the_launcher_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_k8s", None)
    with pytest.raises(
        SettingsError, match=r"needs the extra `kubernetes`: .*pip install -c constraints.txt -e"
    ):
        LAUNCHER.launch(None, TRAIN)  # type: ignore[arg-type]


def test_the_manifest_is_one_that_kubernetes_own_models_take() -> None:
    client = pytest.importorskip("kubernetes.client", reason="needs the extra `kubernetes`")
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
    from dagster_k8s.pipes import build_pod_body

    pod = build_pod(LAUNCHER, TRAIN)
    made = k8s_model_from_dict(client.V1PodSpec, k8s_snake_case_dict(client.V1PodSpec, pod["spec"]))
    assert made.termination_grace_period_seconds == 20
    assert made.containers[0].volume_mounts[1].read_only is True
    body = build_pod_body("a", None, None, {"MORE": "1"}, pod["metadata"], pod["spec"])
    assert body.metadata.labels["app.kubernetes.io/component"] == "falx-train"
    assert {entry.name for entry in body.spec.containers[0].env} >= {"MORE", "OMP_NUM_THREADS"}
    assert body.spec.containers[0].resources.limits == {"nvidia.com/gpu": "2"}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cluster on loopback that the kubeconfig leads to."""
    pytest.importorskip("dagster_k8s", reason="needs the extra `kubernetes`")
    from cluster import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(ROOT)]))
    with Cluster(tmp_path) as running:
        # The client reads the variable when it is imported, so the file is named to the loader.
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(running.config))
        yield running


def materialise(spec: Path, payload: str, **fields: Any) -> dg.ExecuteInProcessResult:
    @dg.asset
    def job(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult[Any]:
        trainer.run(context, "train", spec)
        return dg.MaterializeResult()

    trainer = Trainer(
        launcher="kubernetes",
        payload=payload,
        grace_seconds=2.0,
        pod_image="falx:test",
        pod_volumes=f"home:{spec.parent}",
        **fields,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([job], resources={"trainer": trainer}, raise_on_error=False, instance=instance)


def write_task(folder: Path, seconds: float, code: int = 0) -> Path:
    path = folder / "spec.json"
    path.write_text(
        json.dumps({"seconds": seconds, "code": code, "pids": str(folder / "pids"), "stubborn": False})
    )
    return path


def test_a_pod_that_ends_well_is_a_success_and_is_deleted(cluster, tmp_path: Path) -> None:
    assert materialise(write_task(tmp_path, 0), "trainer_payload").success
    (manifest,) = cluster.made
    assert cluster.deleted == [manifest["metadata"]["name"]]
    assert "DAGSTER_PIPES_CONTEXT" in {entry["name"] for entry in manifest["spec"]["containers"][0]["env"]}


@pytest.mark.slow
def test_a_refused_training_is_not_tried_again_and_its_message_reaches_the_run(
    cluster, tmp_path: Path
) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"seed": -1}')
    result = materialise(path, "resources.payload")
    failure = next(event for event in result.all_events if event.is_step_failure)
    error = failure.step_failure_data.error
    assert "exit code 2" in str(error) and "same input will fail again" in str(error)
    assert not cluster.pods


@pytest.mark.slow
def test_a_cancelled_step_ends_its_pod(cluster, tmp_path: Path) -> None:
    path = write_task(tmp_path, 120)

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert not materialise(path, "trainer_payload").success
    thread.join()
    assert not cluster.pods
    (parent, _grandchild) = (tmp_path / "pids").read_text().split()
    assert not psutil.pid_exists(int(parent)) or psutil.Process(int(parent)).status() == psutil.STATUS_ZOMBIE


def test_without_a_cluster_the_launcher_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_k8s", reason="needs the extra `kubernetes`")
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", nowhere)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = materialise(write_task(tmp_path, 0), "trainer_payload")
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "no Kubernetes cluster is configured here" in str(failure.step_failure_data.error)
