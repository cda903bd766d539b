"""A training that is killed in the middle of an epoch, as a process, and started again."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from training_toys import make_recipe, write_toy

from pipeline.training.loop import train
from pipeline.training.spec import SilentReporter, TrainingSpec

PROGRAM = """
import sys
from pipeline.training.loop import train
from pipeline.training.spec import TrainingSpec

class Printer:
    def started(self, facts): pass
    def epoch(self, epoch, metrics, note): print(epoch, flush=True)

train(TrainingSpec.model_validate_json(sys.stdin.read()), Printer())
"""


def _kill_after(spec: TrainingSpec, epoch: int, delay: float) -> int:
    """Start a training process, kill it `delay` seconds after `epoch` was reported; returns its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    with process:
        process.stdin.write(spec.model_dump_json())
        process.stdin.close()
        for line in process.stdout:
            if int(line) == epoch:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
    return process.returncode


@pytest.mark.slow
def test_killed_and_started_again_equals_uninterrupted(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path
) -> None:
    table = write_toy(tmp_path, train=120, val=16)
    place = {"split": str(table), "folders": {"toy": str(tmp_path / "raw")}, "cache": str(tmp_path / "cache")}
    recipe = make_recipe(stopping={"epochs": 4})
    whole = make_spec(recipe=recipe, work=str(tmp_path / "whole"), **place)
    train(whole, SilentReporter())
    broken = make_spec(recipe=recipe, work=str(tmp_path / "broken"), **place)
    assert _kill_after(broken, epoch=2, delay=0.1) == -signal.SIGKILL
    assert not (Path(broken.work) / "result.json").exists()
    train(broken, SilentReporter())
    for name in ("best.safetensors", "history.jsonl"):
        assert (Path(broken.work) / name).read_bytes() == (Path(whole.work) / name).read_bytes()
    names = sorted(path.name for path in Path(broken.work).iterdir() if path.suffix != ".part")
    assert names == ["best.safetensors", "history.jsonl", "last.pt", "result.json", "tensorboard"]
