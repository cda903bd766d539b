"""The payload as a process: its exit codes, and what it reports to whom."""

import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.training.spec import TrainingSpec
from resources.payload import NoTracker, PipesReporter, describe_epoch
from resources.settings import ROOT

sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "training"))  # training_toys.py


def command(task: str, spec: Path) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "resources.payload", task, "--spec", str(spec)]


def run_payload(task: str, spec: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(task, spec), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("text", [None, "{", '{"seed": -1}'])
def test_a_spec_that_cannot_be_used_is_exit_code_2_with_a_message(tmp_path, text):
    spec = tmp_path / "spec.json"
    if text is not None:
        spec.write_text(text)
    done = run_payload("train", spec)
    assert done.returncode == 2, done.stderr
    assert f"TrainingError: {spec} cannot be used as TrainingSpec" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_explanation_that_cannot_be_used_is_exit_code_2_with_a_message(tmp_path):
    spec = tmp_path / "explanation.json"
    spec.write_text("{}")
    done = run_payload("explain", spec)
    assert done.returncode == 2, done.stderr
    assert f"TrainingError: {spec} cannot be used as ExplanationSpec" in done.stderr


@pytest.fixture
def toy_spec(tmp_path) -> Path:
    """A training of thousands of short epochs, of which somebody will tire."""
    from training_toys import make_recipe, write_toy

    table = write_toy(tmp_path)
    spec = TrainingSpec(
        recipe=make_recipe(stopping={"epochs": 1000}),
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


@pytest.mark.slow
def test_a_training_that_is_asked_to_stop_keeps_its_last_epoch_and_ends_with_3(toy_spec):
    work = toy_spec.with_name("work")
    with subprocess.Popen(
        command("train", toy_spec), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (work / "last.pt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert (work / "last.pt").exists()
    assert not (work / "result.json").exists()


def change(spec: Path, **fields: object) -> None:
    spec.write_text(
        TrainingSpec.model_validate_json(spec.read_text()).model_copy(update=fields).model_dump_json()
    )


def diverge(spec: Path) -> None:
    from training_toys import make_recipe

    change(spec, recipe=make_recipe(optimiser={"name": "sgd", "lr": 1e30}, schedule={"name": "constant"}))


def block_cache(spec: Path) -> None:
    spec.with_name("cache").write_text("a file where the folder of the caches should be")


def lose_weights(spec: Path) -> None:
    from training_toys import make_recipe

    change(spec, recipe=make_recipe(model={"name": "slim", "weights": "gone.safetensors"}))


def change_behind_a_checkpoint(spec: Path) -> None:
    from training_toys import make_recipe

    short = make_recipe(stopping={"epochs": 1})
    change(spec, recipe=short)
    assert run_payload("train", spec).returncode == 0
    change(spec, recipe=short, data_digest="other")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            diverge,
            r"DivergedError: the loss of recipe 'toy' is no longer a number in epoch 1 .*Try a tenth of",
        ),
        (block_cache, r"FalxError: the image cache .* cannot be written: .*make room, or move FALX_HOME"),
        (lose_weights, r"WeightsError: model.weights: there is no file 'gone.safetensors'"),
        (change_behind_a_checkpoint, r"CheckpointError: .*data_digest was 'd' and is 'other'. To train anew"),
    ],
)
def test_what_would_fail_again_is_exit_code_2_with_what_to_do(toy_spec, harm, message):
    harm(toy_spec)
    done = run_payload("train", toy_spec)
    assert done.returncode == 2, done.stderr
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_training_leaves_the_reference_that_its_package_needs_and_mends_one_that_is_gone(toy_spec):
    from training_toys import make_recipe

    from pipeline.serving.distance import REFERENCE, load_reference

    change(toy_spec, recipe=make_recipe(stopping={"epochs": 1}))
    assert run_payload("train", toy_spec).returncode == 0
    path = toy_spec.with_name("work") / REFERENCE
    before, found = path.read_bytes(), load_reference(path)
    assert (len(found.features), len(found.val)) == (24, 16)
    path.unlink()
    assert run_payload("train", toy_spec).returncode == 0
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_is_exit_code_2_and_the_next_run_goes_on(toy_spec):
    from training_toys import make_recipe

    change(toy_spec, recipe=make_recipe(stopping={"epochs": 2}))
    full = subprocess.run(
        command("train", toy_spec), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3_500_000, 3_500_000)),
    )  # fmt: skip
    assert full.returncode == 2, full.stderr
    assert "epoch 1 cannot be written to" in full.stderr and "Traceback" not in full.stderr
    assert run_payload("train", toy_spec).returncode == 0
    assert (toy_spec.with_name("work") / "result.json").is_file()


class Recorder:
    """A Pipes context whose log remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.log = self

    def info(self, line: str) -> None:
        self.lines.append(f"info {line}")

    def warning(self, line: str) -> None:
        self.lines.append(f"warning {line}")


class Forgetful:
    """A tracker that loses things and says so."""

    def log(self, epoch, metrics) -> str:
        return f"epoch {epoch} waits"

    def close(self) -> str:
        return "epoch 1 is lost"


def test_the_reporter_passes_on_what_the_tracker_has_to_say():
    recorder = Recorder()
    reporter = PipesReporter(recorder, Forgetful())
    reporter.started({"device": "cpu"})
    reporter.started({"memory": "in 2 parts"})
    reporter.epoch(1, {}, "best so far")
    reporter.close()
    assert recorder.lines == [
        "info device: cpu",
        "warning memory: in 2 parts",
        "info epoch 1: best so far",
        "warning epoch 1 waits",
        "warning epoch 1 is lost",
    ]


def test_without_mlflow_nothing_is_said():
    recorder = Recorder()
    reporter = PipesReporter(recorder, NoTracker())
    reporter.epoch(1, {"loss": 1.0}, "note")
    reporter.close()
    assert recorder.lines == ["info epoch 1: note"]


def test_the_time_spent_on_telling_is_counted():
    class Slow(NoTracker):
        def log(self, epoch, metrics) -> str:
            time.sleep(0.02)
            return ""

    reporter = PipesReporter(Recorder(), Slow())
    reporter.epoch(1, {}, "note")
    reporter.epoch(2, {}, "note")
    assert 0.04 <= reporter.seconds < 1


def test_a_person_who_watches_sees_figures_speed_and_time_left():
    metrics = {"epoch": 3, "lr": 0.1, "train_loss": 0.5, "val_loss": 0.25, "val_macro_f1": 0.75}
    metrics |= {"images_per_second": 1234.5, "seconds_left": 61.2}
    figures = "train loss 0.5000, val loss 0.2500, val macro-F1 0.7500"
    assert describe_epoch(3, metrics, "best so far") == (
        f"epoch 3: {figures}, 1,234 images/s, at most 61 s left, best so far"
    )
    assert describe_epoch(9, metrics | {"seconds_left": 0.0}, "no gain") == (
        f"epoch 9: {figures}, 1,234 images/s, no gain"
    )
