"""Trainings of several processes here: one voice, one exit code, and none that outlives the step."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from pipeline.training.spec import TrainingSpec
from resources.kubernetes import KubernetesLauncher
from resources.launchers import KEEP_MEMORY, LocalLauncher, Task, TorchrunLauncher
from resources.settings import ROOT
from resources.spread import choose_code
from resources.trainer import Trainer, _describe_exit

HERE = Path(__file__).parent
sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "training"))  # training_toys.py


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    from training_toys import make_recipe, write_toy

    table = write_toy(tmp_path, train=22, val=9)

    def write(**recipe: Any) -> Path:
        fields = {"stopping": {"epochs": 2}, "batch_size": 8, **recipe}
        spec = TrainingSpec(
            recipe=make_recipe(**fields),
            protocol="stratified",
            seed=0,
            split=str(table),
            folders={"toy": str(tmp_path / "raw")},
            cache=str(tmp_path / "cache"),
            work=str(tmp_path / "work"),
            device="cpu",
            data_digest="d",
            model_id="m",
        )
        path = tmp_path / "spec.json"
        path.write_text(spec.model_dump_json())
        return path

    return write


def test_each_launcher_of_the_settings_has_its_command() -> None:
    train, predict = (Task(name, ["-m", "payload", name]) for name in ("train", "predict"))
    local = Trainer().choose_launcher()
    assert isinstance(local, LocalLauncher)
    assert local.command(train) == [sys.executable, "-m", "payload", "train"]
    several = Trainer(launcher="torchrun", processes=3, threads=2).choose_launcher()
    assert several == TorchrunLauncher(2, 20.0, 3)
    command = several.command(train)
    assert command == [sys.executable, "-m", "resources.spread", "3", "--", "-m", "payload", "train"]
    assert several.command(predict) == [sys.executable, "-m", "payload", "predict"]
    assert TorchrunLauncher(1, 20.0, 1).command(train) == local.command(train)
    pod = Trainer(launcher="kubernetes", processes=2, pod_image="i", pod_volumes="c:/d", pod_gpus=2)
    launcher = pod.choose_launcher()
    assert isinstance(launcher, KubernetesLauncher)
    assert (launcher.image, launcher.gpus, launcher.processes, launcher.volumes[0].path) == ("i", 2, 2, "/d")


@pytest.mark.parametrize(
    ("codes", "chosen"),
    [
        ([5, 2], 2),
        ([1, 4], 4),
        ([5, 4], 4),
        ([-9, 5], -9),
        ([3, 2], 2),
        ([3, 3], 3),
        ([5, 1], 1),
        ([1, -9], -9),
        ([2, -15], 2),
        ([-15, 3], 3),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_ended_the_others(codes: list[int], chosen: int) -> None:
    assert choose_code(codes) == chosen
    assert choose_code(codes[::-1]) == chosen


def test_a_process_killed_within_a_team_is_worded_as_one_killed_alone() -> None:
    assert "exit code -9: it was killed, most likely for memory" in _describe_exit("train", 137, Path("s"))
    assert "ended by signal 11" in _describe_exit("train", 139, Path("s"))


def run_trainer(
    spec: Path, payload: str = "resources.payload"
) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Train under Dagster with two processes: what came of it, and the log of the run."""

    @dg.asset
    def job(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult[Any]:
        trainer.run(context, "train", spec)
        return dg.MaterializeResult()

    trainer = Trainer(launcher="torchrun", processes=2, payload=payload, grace_seconds=15.0)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([job], resources={"trainer": trainer}, raise_on_error=False, instance=instance)
        return done, [entry.user_message for entry in instance.all_logs(done.run_id)]


@pytest.fixture
def payloads_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(ROOT)]))


@pytest.mark.slow
def test_two_processes_train_one_model_and_one_of_them_reports(write_spec: Callable[..., Path]) -> None:
    spec = write_spec()
    done, log = run_trainer(spec)
    assert done.success, log
    assert len([line for line in log if line.startswith("epoch 1:")]) == 1
    assert any(line.startswith("processes: 2 (gloo)") for line in log)
    assert any("images farther than" in line for line in log)  # what follows a training is done, once
    work = spec.with_name("work")
    assert "2 (gloo)" in json.loads((work / "result.json").read_text())["why"]["processes"]
    assert len((work / "history.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_memory_that_is_short_in_one_process_starts_all_again_in_parts(
    write_spec: Callable[..., Path], payloads_are_found: None
) -> None:
    done, log = run_trainer(write_spec(), "short_memory_payload")
    assert done.success, log
    said = [line for line in log if "each is now computed in" in line]
    assert said and "batches of 8: each is now computed in 2 parts of at most 2 images" in said[-1]
    assert [line for line in log if line.startswith("epoch 2:")]


@pytest.mark.slow
def test_what_no_process_can_train_is_refused_once(write_spec: Callable[..., Path]) -> None:
    done, log = run_trainer(write_spec(batch_size=1))
    failure = next(event for event in done.all_events if event.is_step_failure)
    assert "exit code 2" in str(failure.step_failure_data.error)
    assert any("batches of 1 images, too few for 2 processes" in line for line in log)


def find_listeners(process: psutil.Process) -> set[str]:
    """Addresses that a process and those that it started listen on."""
    found = set()
    for each in [process, *process.children(recursive=True)]:
        for connection in each.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add(connection.laddr.ip)
    return found


def start_endless(write_spec: Callable[..., Path]) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A team of two in the middle of an endless training: the agent, and its two processes."""
    spec = write_spec(stopping={"epochs": 1000})
    command = [sys.executable, "-m", "resources.spread", "2", "--", "-m", "resources.payload"]
    agent = subprocess.Popen(
        [*command, "train", "--spec", str(spec)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not spec.with_name("work").joinpath("last.pt").exists():
        assert agent.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    members = [
        child
        for child in psutil.Process(agent.pid).children(recursive=True)
        if "--meeting" in child.cmdline()
    ]
    assert len(members) == 2
    return agent, members


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_team_ends_with_its_agent_and_listens_on_loopback_alone(
    write_spec: Callable[..., Path], sign: int
) -> None:
    agent, members = start_endless(write_spec)
    with agent:
        assert find_listeners(psutil.Process(agent.pid)) <= {"127.0.0.1", "::1"}
        agent.send_signal(sign)
        code = agent.wait(40)
    assert code == (3 if sign == signal.SIGTERM else -signal.SIGKILL)
    _, alive = psutil.wait_procs(members, timeout=20)
    assert not alive


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_team_ends_when_one_of_it_is_killed(write_spec: Callable[..., Path], victim: int) -> None:
    agent, members = start_endless(write_spec)
    with agent:
        members[victim].kill()
        assert agent.wait(40) == 128 + signal.SIGKILL
    _, alive = psutil.wait_procs(members, timeout=20)
    assert not alive


CHURN = """
import resource, sys
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    kept = bytearray(64 << 20)
    for page in range(0, len(kept), 4096):
        kept[page] = 1
    del kept
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the variable is glibc's")
def test_memory_is_kept_between_steps() -> None:
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", CHURN], env=env, capture_output=True, check=True).stdout)
        for env in ({"PATH": os.environ["PATH"]}, {"PATH": os.environ["PATH"], **KEEP_MEMORY})
    )
    assert plain > 4 * kept, (plain, kept)


@pytest.mark.parametrize(
    ("own", "seen"), [(None, KEEP_MEMORY["GLIBC_TUNABLES"]), ("glibc.malloc.check=0", None)]
)
def test_a_task_keeps_memory_unless_a_person_set_otherwise(
    own: str | None, seen: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    target = str(tmp_path / "seen")
    script = f"import os; open({target!r}, 'w').write(os.environ['GLIBC_TUNABLES'])"

    @dg.asset
    def task(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        assert LocalLauncher(threads=1).launch(context, Task("predict", ["-c", script])) == 0
        yield dg.MaterializeResult()

    assert dg.materialize([task]).success
    assert (tmp_path / "seen").read_text() == (own or seen)
