"""The trainer owns its process group: nothing outlives a failure, a cancel, or the death of the parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from resources.instance import name_process
from resources.settings import ROOT
from resources.trainer import Trainer

HERE = Path(__file__).parent


@pytest.fixture
def spec(tmp_path):
    def write(seconds: float, code: int = 0, *, stubborn: bool = False) -> Path:
        path = tmp_path / "spec.json"
        pids = str(tmp_path / "pids")
        path.write_text(json.dumps({"seconds": seconds, "code": code, "pids": pids, "stubborn": stubborn}))
        return path

    return write


def run_trainer(spec: Path, **fields: object) -> dg.ExecuteInProcessResult:
    @dg.asset
    def job(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult:
        trainer.run(context, "train", spec)
        return dg.MaterializeResult()

    trainer = Trainer(payload="trainer_payload", grace_seconds=1.0, **fields)
    return dg.materialize([job], resources={"trainer": trainer}, raise_on_error=False)


@pytest.fixture(autouse=True)
def payload_is_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(ROOT)]))


def read_pids(spec: Path, seconds: float = 30) -> list[int]:
    path = spec.with_name("pids")
    deadline = time.monotonic() + seconds
    while not (path.exists() and len(path.read_text().split()) == 2):
        assert time.monotonic() < deadline, "the payload did not start"
        time.sleep(0.05)
    return [int(pid) for pid in path.read_text().split()]


def wait_until_gone(pids: list[int], seconds: float = 20) -> list[int]:
    deadline = time.monotonic() + seconds
    while (alive := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_good_end_is_a_success(spec):
    assert run_trainer(spec(0)).success


@pytest.mark.parametrize(
    ("code", "words"), [(1, "traceback"), (2, "fail again"), (3, "last finished epoch"), (7, "traceback")]
)
def test_a_bad_end_says_what_to_do(spec, code, words):
    result = run_trainer(spec(0, code))
    failure = next(event for event in result.all_events if event.is_step_failure)
    message = failure.step_failure_data.error_display_string
    assert f"exit code {code}" in message
    assert words in message


def test_a_kill_is_worded_as_memory(spec):
    @dg.asset
    def job(context: dg.AssetExecutionContext, trainer: Trainer) -> None:
        trainer.run(context, "train", path)

    path = spec(60)
    killer = "import os,sys,time,signal\npath=sys.argv[1]\nsignal.alarm(60)\n"
    killer += "while not os.path.exists(path): time.sleep(.05)\n"
    killer += "time.sleep(.3)\nos.kill(int(open(path).read().split()[0]), signal.SIGKILL)"
    process = subprocess.Popen([sys.executable, "-c", killer, str(path.with_name("pids"))])
    result = dg.materialize(
        [job], resources={"trainer": Trainer(payload="trainer_payload")}, raise_on_error=False
    )
    process.wait()
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "most likely for memory" in failure.step_failure_data.error_display_string
    grandchild = read_pids(path)[1]
    os.kill(grandchild, signal.SIGKILL) if is_running(grandchild) else None


RUNNER = """
import sys
from pathlib import Path
import dagster as dg
from resources.trainer import Trainer

@dg.asset
def job(context: dg.AssetExecutionContext, trainer: Trainer) -> None:
    trainer.run(context, "train", Path(sys.argv[1]))

dg.materialize([job], resources={"trainer": Trainer(payload="trainer_payload", grace_seconds=1.0)})
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("stubborn", [False, True])
def test_nothing_outlives_the_step(spec, sign, stubborn):
    path = spec(120, stubborn=stubborn)
    with subprocess.Popen([sys.executable, "-c", RUNNER, str(path)], stderr=subprocess.DEVNULL) as runner:
        pids = read_pids(path)
        runner.send_signal(sign)
        runner.wait(30)
    left = wait_until_gone(pids[:1] if sign == signal.SIGKILL else pids)
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
    assert left == []


def test_another_signal_is_named(spec):
    @dg.asset
    def job(context: dg.AssetExecutionContext, trainer: Trainer) -> None:
        trainer.run(context, "train", spec(0, -signal.SIGTERM))

    result = dg.materialize(
        [job], resources={"trainer": Trainer(payload="trainer_payload")}, raise_on_error=False
    )
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "ended by signal 15 (Terminated)" in failure.step_failure_data.error_display_string


def test_a_run_says_which_process_runs_it(spec):
    with dg.DagsterInstance.ephemeral() as instance:

        @dg.asset
        def job(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult:
            trainer.run(context, "train", spec(0))
            return dg.MaterializeResult()

        done = dg.materialize(
            [job], resources={"trainer": Trainer(payload="trainer_payload")}, instance=instance
        )
        assert instance.get_run_by_id(done.run_id).tags["falx/process"] == name_process()
