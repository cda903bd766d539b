"""Several processes train as one: same batches, same figures, whoever is killed and however many go on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_toys import make_recipe, write_toy

from pipeline.errors import TrainingError
from pipeline.training.checkpoints import write_best
from pipeline.training.models import build_model
from pipeline.training.spec import TrainingSpec
from pipeline.training.team import ManyTeam, Team, check_shares, open_team

MakeSpec = Callable[..., TrainingSpec]
MEMBER = Path(__file__).with_name("team_member.py")


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_row_of_a_batch_is_computed_once_and_parts_are_those_of_one_process(
    size: int, parts: int
) -> None:
    teams = [ManyTeam(rank, size, cuda=False) for rank in range(size)]
    shares = [team.divide(23, parts) for team in teams]
    whole = Team().divide(23, parts)
    for part, alone in enumerate(whole):
        pieces = [share[part] for share in shares]
        assert np.concatenate([piece.rows for piece in pieces]).tolist() == alone.rows.tolist()
        assert {piece.total for piece in pieces} == {len(alone.rows)}
        assert [alone.rows[piece.first] for piece in pieces] == [piece.rows[0] for piece in pieces]


def test_a_process_without_images_is_refused() -> None:
    check_shares(make_recipe(batch_size=4), 22, ManyTeam(0, 3, cuda=False))
    with pytest.raises(
        TrainingError, match=r"batches of 3 images, too few for 4 processes; set FALX_PROCESSES"
    ):
        check_shares(make_recipe(batch_size=4), 22, ManyTeam(0, 4, cuda=False))


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [("cuda", 1, "and 1 are here; set FALX_PROCESSES=1, or"), ("cuda:1", 4, "FALX_DEVICE=cuda:1 names one")],
)
def test_processes_that_would_share_a_gpu_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(TrainingError, match=message), open_team(0, 2, device=device):
        pass


def test_each_process_of_a_gpu_team_has_a_gpu_of_its_own() -> None:
    assert [ManyTeam(rank, 2, cuda=True).place("auto") for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert ManyTeam(1, 2, cuda=False).place("cpu") == "cpu"


def run_team(spec: TrainingSpec, folder: Path, size: int, *, until: int = 0) -> list[str]:
    """Train with `size` processes, that end after epoch `until` if above 0; what each printed."""
    folder.mkdir(exist_ok=True)
    path, meeting = folder / "spec.json", folder / f"meeting-{size}-{until}"
    path.write_text(spec.model_dump_json())
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    members = [
        subprocess.Popen(
            [sys.executable, str(MEMBER), str(path), str(rank), str(size), str(meeting), str(until)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    told = [member.communicate(timeout=200) for member in members]
    assert [member.returncode for member in members] == [9 if until else 0] * size, told
    return [out for out, _ in told]


def read_rows(spec: TrainingSpec) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(spec.work) / "history.jsonl").read_text().splitlines()]


def assert_alike(first: TrainingSpec, second: TrainingSpec, tolerance: float) -> None:
    """The same figures each epoch, and weights that differ by rounding alone."""
    for one, other in zip(read_rows(first), read_rows(second), strict=True):
        assert other == pytest.approx(one, rel=tolerance, abs=tolerance)
    one, other = (load_file(Path(spec.work) / "best.safetensors") for spec in (first, second))
    for name, tensor in one.items():
        error = (other[name].double() - tensor.double()).abs().max()
        assert error <= 2 * tolerance * max(1, tensor.double().abs().max()), name


RECIPES: dict[str, dict[str, Any]] = {
    "dropout, weights, smoothed": {
        "model": {"name": "slim", "dropout": 0.3, "head": [16], "batch_norm": True},
        "loss": {"label_smoothing": 0.1, "class_weights": "balanced"},
    },
    "mixed, smoothed, depth, balanced": {
        "data": {"sampling": "balanced"},
        "model": {"name": "slim", "dropout": 0.2, "stochastic_depth": 0.3},
        "augment": {"hflip": 0.5, "mixup": 0.4},
        "loss": {"label_smoothing": 0.1},
    },
}


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    """45 images to train on, in batches of 9: no process has as many as the other."""
    table = write_toy(tmp_path, train=45, val=17)
    return {"split": str(table), "folders": {"toy": str(tmp_path / "raw")}, "cache": str(tmp_path / "cache")}


def compare(
    make_spec: MakeSpec, folder: Path, place: dict[str, Any], tolerance: float, **changes: Any
) -> str:
    """Train a recipe with one process and with two, and hold them against each other; what the two said."""
    recipe = make_recipe(**{"batch_size": 9, "stopping": {"epochs": 2, "keep": "last"}, **changes})
    specs = [make_spec(recipe=recipe, work=str(folder / f"work-{size}"), **place) for size in (1, 2)]
    told = [run_team(spec, folder / f"run-{size}", size) for size, spec in enumerate(specs, start=1)]
    assert_alike(*specs, tolerance)
    return told[1][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_train_as_one(
    make_spec: MakeSpec, tmp_path: Path, place: dict[str, Any], name: str
) -> None:
    told = compare(make_spec, tmp_path, place, 2e-3, **RECIPES[name])
    assert "2 (gloo): each batch is shared out" in told


@pytest.mark.slow
def test_without_batch_norm_they_agree_to_the_fifth_digit(
    make_spec: MakeSpec, tmp_path: Path, place: dict[str, Any]
) -> None:
    """The head alone, on features that each process computed its share of."""
    write_best(tmp_path, build_model(make_recipe()))
    model = {"name": "slim", "weights": str(tmp_path / "best.safetensors"), "freeze": 1.0, "head": [8]}
    changes = {"augment": {"hflip": 0.5}, "model": model | {"dropout": 0.2}}
    told = compare(make_spec, tmp_path, place, 1e-5, **changes)
    assert "computed once for each image and its mirror image" in told


@pytest.mark.slow
def test_a_team_that_died_goes_on_with_as_many_or_another_number(make_spec: MakeSpec, tmp_path: Path) -> None:
    recipe = make_recipe(stopping={"epochs": 3, "keep": "last"}, batch_size=8)
    whole, same, fewer = (make_spec(recipe=recipe, work=str(tmp_path / name)) for name in ("a", "b", "c"))
    run_team(whole, tmp_path / "run-a", 2)
    for spec in (same, fewer):
        run_team(spec, tmp_path / f"run-{Path(spec.work).name}", 2, until=2)
        assert len(read_rows(spec)) == 2
    run_team(same, tmp_path / "run-b", 2)
    for name in ("best.safetensors", "history.jsonl"):
        assert (Path(same.work) / name).read_bytes() == (Path(whole.work) / name).read_bytes()
    (told,) = run_team(fewer, tmp_path / "run-c", 1)
    assert "resumed after epoch 2; last bits may differ" in told and "processes was 2, is 1" in told
    assert_alike(whole, fewer, 2e-3)
