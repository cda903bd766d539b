"""Training: it learns, it repeats bit for bit, it resumes, it says what went wrong."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training_toys import make_recipe, write_toy

from pipeline.catalog import load_catalog
from pipeline.errors import CheckpointError, DivergedError, TrainingError
from pipeline.training.batches import load_parts
from pipeline.training.inference import load_model, predict
from pipeline.training.loop import train
from pipeline.training.models import build_model
from pipeline.training.scores import score_epoch
from pipeline.training.spec import SilentReporter, TrainingResult, TrainingSpec

MakeSpec = Callable[..., TrainingSpec]


class StopError(Exception):
    """Raised by a reporter in place of a crash."""


class Recorder:
    """Remembers what it is told; stops after epoch `until`."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.facts: dict[str, str] = {}
        self.epochs: list[tuple[int, dict[str, float], str]] = []

    def started(self, facts: Mapping[str, str]) -> None:
        self.facts = dict(facts)

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        self.epochs.append((epoch, dict(metrics), note))
        if epoch == self.until:
            raise StopError


def _read(spec: TrainingSpec) -> tuple[bytes, bytes]:
    work = Path(spec.work)
    return (work / "best.safetensors").read_bytes(), (work / "history.jsonl").read_bytes()


def _rows(spec: TrainingSpec) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(spec.work) / "history.jsonl").read_text().splitlines()]


def test_a_separable_toy_is_learnt_and_all_is_written(make_spec: MakeSpec) -> None:
    spec, recorder = make_spec(), Recorder()
    result = train(spec, recorder)
    assert result.val["macro_f1"] > 0.9
    assert (result.n_train, result.n_val, result.epochs) == (24, 16, 4)
    names = sorted(path.name for path in Path(spec.work).iterdir())
    assert names == ["best.safetensors", "history.jsonl", "last.pt", "result.json", "tensorboard"]
    stored = TrainingResult.model_validate_json((Path(spec.work) / "result.json").read_text())
    assert stored == result
    rows = _rows(spec)
    columns = ["epoch", "train_loss", "train_accuracy", "lr", "val_loss", "val_accuracy", "val_macro_f1"]
    assert [list(row) for row in rows] == [columns] * 4
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert result.monitor_value == rows[result.best_epoch - 1]["val_macro_f1"]


def test_the_reporter_hears_all_of_it(make_spec: MakeSpec) -> None:
    spec, recorder = make_spec(), Recorder()
    train(spec, recorder)
    assert recorder.facts["train images"] == "24" and "since" in recorder.facts["precision"]
    assert recorder.facts["resume"] == "started from the beginning"
    rates = {"images_per_second", "seconds_left"}
    for row, (epoch, metrics, note) in zip(_rows(spec), recorder.epochs, strict=True):
        assert {name: metrics[name] for name in metrics if name not in rates} == row
        assert epoch == row["epoch"] and metrics["images_per_second"] > 0 and note
    assert recorder.epochs[-1][1]["seconds_left"] == 0


def test_the_stored_figures_are_those_of_the_stored_weights(make_spec: MakeSpec) -> None:
    spec = make_spec()
    result = train(spec, SilentReporter())
    _, val = load_parts(spec)
    probabilities = predict(load_model(spec.work, spec.recipe), val.images, spec.recipe)
    assert score_epoch(probabilities, val.labels.numpy()) == result.val


def test_golden_training(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four epochs in fp32, where processors differ in the last bits and not in these digits."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    recipe = make_recipe(
        model={"name": "cnn3", "dropout": 0.2},
        optimiser={"name": "adam", "lr": 0.0003},
        stopping={"epochs": 4},
        batch_size=2,
        ema=None,
    )
    spec = make_spec(recipe=recipe)
    assert train(spec, SilentReporter()).precision == "fp32"
    last = _rows(spec)[-1]
    golden = {"train_loss": 0.0465, "val_loss": 1.2043, "lr": 0.0}
    assert {name: last[name] for name in golden} == pytest.approx(golden, abs=0.005)


def test_shuffled_labels_cannot_be_learnt(make_spec: MakeSpec, tmp_path: Path) -> None:
    table = write_toy(tmp_path, train=40, val=120, shuffled=True)
    spec = make_spec(split=str(table), folders={"toy": str(tmp_path / "raw")}, cache=str(tmp_path / "cache"))
    train(spec, SilentReporter())
    # 120 fair draws at chance 0.25: the mean stays within 4 standard deviations.
    assert all(abs(row["val_accuracy"] - 0.25) < 0.16 for row in _rows(spec))


def test_a_control_scores_chance_where_its_recipe_learns(make_spec: MakeSpec, tmp_path: Path) -> None:
    table = write_toy(tmp_path, train=80, val=120)
    place = {"split": str(table), "folders": {"toy": str(tmp_path / "raw")}, "cache": str(tmp_path / "cache")}
    found = []
    for labels in ("true", "shuffled"):
        recipe = make_recipe(data={"labels": labels}, batch_size=8, stopping={"epochs": 4, "keep": "last"})
        scores = [
            train(make_spec(recipe=recipe, seed=seed, work=str(tmp_path / f"{labels}-{seed}"), **place),
                  SilentReporter()).val["accuracy"]
            for seed in range(4)
        ]  # fmt: skip
        found.append(float(np.mean(scores)))
    true, shuffled = found
    assert true > 0.95
    # A blob's quadrant may get its right label by luck: over four seeds that is 0.25 on average, spread 0.1.
    assert shuffled < 0.5


def test_a_rerun_gives_the_same_bytes(make_spec: MakeSpec, tmp_path: Path) -> None:
    specs = [make_spec(work=str(tmp_path / name)) for name in ("a", "b")]
    for spec in specs:
        train(spec, SilentReporter())
    assert _read(specs[0]) == _read(specs[1])
    other = make_spec(work=str(tmp_path / "c"), seed=1)
    train(other, SilentReporter())
    assert _read(other)[0] != _read(specs[0])[0]


RESUMED = {
    "sgd, averaged, cosine": {},
    "adamw, dropout, linear": {
        "optimiser": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
        "model": {"name": "cnn3", "dropout": 0.5, "head": [16], "batch_norm": True},
        "schedule": {"name": "linear"},
        "ema": None,
    },
    "adam, plateau, weights, degraded": {
        "optimiser": {"name": "adam", "lr": 0.003},
        "schedule": {"name": "plateau", "factor": 0.5, "patience": 1},
        "loss": {"label_smoothing": 0.1, "class_weights": "balanced"},
        "augment": {"hflip": 0.5, "rotate": 20, "crop_scale": [0.7, 1.0], "degrade": 0.5},
        "stopping": {"epochs": 4, "patience": 2, "monitor": "val_loss", "keep": "last"},
    },
    "mixed, smoothed, depth, balanced": {
        "data": {"sampling": "balanced"},
        "model": {"name": "slim", "dropout": 0.2, "stochastic_depth": 0.4},
        "augment": {"hflip": 0.5, "rotate": 20, "mixup": 0.4},
        "loss": {"label_smoothing": 0.1},
    },
}


def _save_slim(tmp_path: Path) -> str:
    path = str(tmp_path / "given.safetensors")
    save_file(build_model(make_recipe()).state_dict(), path)
    return path


def test_stages_freeze_free_and_resume(make_spec: MakeSpec, tmp_path: Path) -> None:
    given = _save_slim(tmp_path)
    recipe = make_recipe(
        model={"name": "slim", "dropout": 0.2, "weights": given},
        optimiser={"name": "adam", "lr": 0.003},
        schedule={"name": "constant"},
        stages=[{"epochs": 2, "freeze": 1.0}, {"epochs": 2, "freeze": 0.5, "lr_factor": 0.1}, {"epochs": 1}],
        stopping={"epochs": 5, "keep": "last"},
        ema=None,
    )
    whole, broken = (make_spec(recipe=recipe, work=str(tmp_path / name)) for name in ("whole", "broken"))
    result = train(whole, SilentReporter())
    assert [row["stage"] for row in _rows(whole)] == [1, 1, 2, 2, 3]
    assert [row["lr"] for row in _rows(whole)] == pytest.approx([0.003, 0.003, 0.0003, 0.0003, 0.003])
    assert result.why["stopping"] == "stage 3 of 3: all 1 epochs trained"
    before = build_model(recipe).state_dict()  # in the order of the layers, which a file has not
    half = len([module for module in build_model(recipe).backbone.modules() if module._parameters]) // 2
    changed = []
    for until in range(1, 5):
        with pytest.raises(StopError):
            train(broken, Recorder(until))
        # From the first checkpoint on nobody needs the file that training began from.
        Path(given).unlink(missing_ok=True)
        after = load_model(broken.work, recipe).state_dict()
        names = dict.fromkeys(name.rpartition(".")[0] for name in before if name.startswith("backbone."))
        moved = [
            any(not torch.equal(after[n], before[n]) for n in before if n.startswith(f"{layer}."))
            for layer in names
        ]
        changed.append((any(moved[:half]), any(moved[half:])))
    assert changed == [(False, False), (False, False), (False, True), (False, True)]
    assert train(broken, SilentReporter()).why["weights"] == result.why["weights"]
    assert result.why["weights"].endswith("none is random")
    assert _read(broken) == _read(whole)
    after = load_model(whole.work, recipe).state_dict()
    assert not torch.equal(after["backbone.0.weight"], before["backbone.0.weight"])


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_equals_uninterrupted(make_spec: MakeSpec, tmp_path: Path, name: str) -> None:
    fields: dict[str, Any] = {
        "recipe": make_recipe(**RESUMED[name]),
        "degradations": dict(load_catalog().degradations),
    }
    whole = make_spec(work=str(tmp_path / "whole"), **fields)
    expected = train(whole, SilentReporter())
    broken = make_spec(work=str(tmp_path / "broken"), **fields)
    for until in range(1, expected.epochs):
        with pytest.raises(StopError):
            train(broken, Recorder(until))
        assert not (Path(broken.work) / "result.json").exists()
        torch.rand(until)  # whatever the generator was left at
    recorder = Recorder()
    result = train(broken, recorder)
    assert _read(broken) == _read(whole)
    unequal = {"why", "seconds"}
    assert result.model_dump(exclude=unequal) == expected.model_dump(exclude=unequal)
    assert recorder.facts["resume"] == f"resumed after epoch {expected.epochs - 1}"
    first = recorder.epochs[0]
    assert (first[0], first[2]) == (expected.epochs - 1, "resumed after this epoch")


def test_a_complete_training_is_only_read(make_spec: MakeSpec) -> None:
    spec = make_spec()
    result = train(spec, SilentReporter())
    before = {path: path.stat().st_mtime_ns for path in Path(spec.work).iterdir()}
    recorder = Recorder()
    assert train(spec, recorder) == result
    assert recorder.facts == {} and recorder.epochs == []
    assert before == {path: path.stat().st_mtime_ns for path in Path(spec.work).iterdir()}


def test_early_stopping_says_why(make_spec: MakeSpec) -> None:
    recipe = make_recipe(stopping={"epochs": 30, "patience": 2})
    result = train(make_spec(recipe=recipe), SilentReporter())
    assert result.epochs == result.best_epoch + 2 < 30
    assert result.why["stopping"] == "val_macro_f1 has not gained for 2 epochs"


def test_a_loss_that_is_no_number_says_what_to_try(make_spec: MakeSpec) -> None:
    recipe = make_recipe(optimiser={"name": "sgd", "lr": 1e30}, schedule={"name": "constant"})
    spec = make_spec(recipe=recipe)
    message = r"recipe 'toy' .* in epoch 1 .*learning rate 1e\+30\). Try a tenth of optimiser.lr"
    with pytest.raises(DivergedError, match=message):
        train(spec, SilentReporter())
    assert not (Path(spec.work) / "last.pt").exists()


def test_a_device_that_is_not_here_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(TrainingError, match="device 'tpu' is not here"):
        train(make_spec(device="tpu"), SilentReporter())


def test_a_changed_environment_is_told_on_resume(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with pytest.raises(StopError):
        train(spec, Recorder(1))
    path = Path(spec.work) / "last.pt"
    state = torch.load(path, weights_only=True)
    state["environment"]["threads"] = "7"
    torch.save(state, path)
    recorder = Recorder()
    train(spec, recorder)
    warning = "last bits may differ from an uninterrupted training: threads was 7, is 1"
    assert recorder.facts["resume"] == f"resumed after epoch 1; {warning}"


def test_a_work_folder_of_another_recipe_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(StopError):
        train(make_spec(), Recorder(1))
    other = make_spec(recipe=make_recipe(optimiser={"name": "sgd", "lr": 0.01}))
    message = r"recipe.optimiser.lr was 0.05 and is 0.01.*To train anew delete the folder"
    with pytest.raises(CheckpointError, match=message):
        train(other, SilentReporter())
    with pytest.raises(CheckpointError, match=r"data_digest was 'd+' and is 'e'"):
        train(make_spec(data_digest="e"), SilentReporter())


def test_a_result_of_another_training_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec()
    train(spec, SilentReporter())
    with pytest.raises(CheckpointError, match="seed was 0 and is 5"):
        train(make_spec(seed=5), SilentReporter())
    (Path(spec.work) / "last.pt").unlink()
    with pytest.raises(CheckpointError, match=r"is the result of another training .*seed 0"):
        train(make_spec(seed=5), SilentReporter())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("last.pt", b"broken", r"last.pt cannot be read as .*To train anew delete the folder"),
        ("result.json", b"{}", r"result.json cannot be read: "),
    ],
)
def test_a_broken_file_is_refused(make_spec: MakeSpec, name: str, data: bytes, message: str) -> None:
    spec = make_spec()
    Path(spec.work).mkdir()
    (Path(spec.work) / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        train(spec, SilentReporter())


def test_an_older_format_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec()
    Path(spec.work).mkdir()
    torch.save({"format": 0}, Path(spec.work) / "last.pt")
    with pytest.raises(CheckpointError, match="has format 0, not 3"):
        train(spec, SilentReporter())


def test_a_result_without_weights_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec()
    train(spec, SilentReporter())
    (Path(spec.work) / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"says complete, but best.safetensors is gone"):
        train(spec, SilentReporter())


def test_the_checkpoint_holds_nothing_to_unpickle(make_spec: MakeSpec) -> None:
    spec = make_spec()
    train(spec, SilentReporter())
    state = torch.load(Path(spec.work) / "last.pt", weights_only=True)
    assert set(state) == {
        "format", "identity", "model", "average", "optimiser", "history", "seconds", "parts", "origin",
        "environment", "pretraining",
    }  # fmt: skip
    assert np.isclose(state["history"][-1]["val_loss"], _rows(spec)[-1]["val_loss"])
