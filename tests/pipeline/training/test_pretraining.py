"""Learning without labels: what it learns, that it can be interrupted, that nothing of it is left over."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_locating import write_patients
from test_steps import full_disk
from test_team import assert_alike, run_team
from training_toys import make_recipe

from pipeline.digests import seed_for
from pipeline.errors import DivergedError, TrainingError
from pipeline.recipe import Recipe
from pipeline.training import loop
from pipeline.training.batches import Part, load_parts
from pipeline.training.devices import Device
from pipeline.training.loop import train
from pipeline.training.models import Network, build_model
from pipeline.training.pretraining import (
    check_views,
    draw_views,
    find_rate,
    make_views,
    pretrain_epoch,
    take_step,
)
from pipeline.training.spec import SilentReporter, TrainingSpec
from pipeline.training.state import State, start_state
from pipeline.training.team import Team

MakeSpec = Callable[..., TrainingSpec]
PLAIN = Device("cpu", "fp32", 1, {})
VIEWS = {"hflip": 0.5, "crop_scale": [0.8, 1.0], "brightness": 0.3, "contrast": 0.3}


class StopError(Exception):
    """Raised by a reporter in place of a crash."""


class Stopper(SilentReporter):
    """Stops after an epoch of pre-training, or of training, and remembers the facts."""

    def __init__(self, before: int = 0, until: int = 0) -> None:
        self.before, self.until = before, until
        self.facts: list[Mapping[str, str]] = []

    def started(self, facts: Mapping[str, str]) -> None:
        self.facts.append(dict(facts))
        if self.before and facts.get("pretraining", "").startswith(f"epoch {self.before} of"):
            raise StopError

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        if epoch == self.until:
            raise StopError


def make_pretrained(epochs: int = 3, lr_factor: float = 0.5, **changes: Any) -> Recipe:
    fields = {"epochs": epochs, "lr_factor": lr_factor, "augment": VIEWS}
    return make_recipe(**({"pretraining": fields, "batch_size": 8, "stopping": {"epochs": 2}} | changes))


def test_each_image_comes_once_in_two_views_that_depend_on_seed_and_epoch_alone(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained())
    held = load_parts(spec)
    ids = held[0].image_ids
    batches = draw_views(spec.recipe, ids, seed=3, epoch=2)
    assert sorted(row for first, _ in batches for row in first.rows) == list(range(len(ids)))
    feed = make_views(spec, PLAIN, held)
    for first, second in batches:
        assert first.rows.tolist() == second.rows.tolist()
        places = np.arange(len(first))
        one, other = feed.take(first, places, 2), feed.take(second, places, 2)
        assert one.shape == other.shape == (8, 1, 32, 32)
        assert bool(((one - other).abs().amax((1, 2, 3)) > 0.02).all())
        assert torch.equal(one, make_views(spec, PLAIN, held).take(first, places, 2))
    orders = [
        np.concatenate([first.rows for first, _ in draw_views(spec.recipe, ids, seed=seed, epoch=epoch)])
        for seed, epoch in ((3, 2), (3, 3), (4, 2), (3, 2))
    ]
    assert orders[0].tolist() == orders[3].tolist()
    assert orders[0].tolist() not in (orders[1].tolist(), orders[2].tolist())


def test_the_rate_rises_over_an_epoch_and_falls_to_nothing() -> None:
    recipe = make_pretrained(epochs=4)
    rates = [find_rate(recipe, step, 5) for step in range(20)]
    peak = 0.05 * 0.5
    assert rates[0] == pytest.approx(peak / 5)
    assert np.argmax(rates) == 4 and rates[4] < peak
    assert (np.diff(rates[4:]) < 0).all() and rates[-1] < 0.01 * peak
    assert rates[10] == pytest.approx(peak / 2)


def find_margin(network: Network, part: Part) -> float:
    """By how much features are more alike, as the mean cosine, within a class than between classes."""
    with torch.inference_mode():
        found = network.eval().backbone(part.images[:, None].float() / 255 * 2 - 1)
    alike = torch.nn.functional.normalize(found, dim=1) @ torch.nn.functional.normalize(found, dim=1).T
    same = part.labels[:, None] == part.labels
    return float(alike[same & ~torch.eye(len(part), dtype=torch.bool)].mean() - alike[~same].mean())


def test_it_learns_what_tells_images_apart_without_a_label(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained(15, optimiser={"name": "adamw", "lr": 0.003}, augment={}))
    train_part, val_part = load_parts(spec)
    blind = replace(train_part, labels=torch.zeros_like(train_part.labels))
    torch.manual_seed(0)
    state = start_state(spec, build_model(spec.recipe), PLAIN)
    before = find_margin(state.model, val_part)
    feed = make_views(spec, PLAIN, (blind, val_part))
    for _ in range(15):
        state.pretraining.append(pretrain_epoch(spec, state, PLAIN, feed, Team()))
    assert find_margin(state.model, val_part) > max(0.2, 2 * before)
    assert state.pretraining[-1]["loss"] < state.pretraining[0]["loss"] - 0.3
    assert state.pretraining[-1]["spread"] > 0.3


def test_nothing_of_it_is_left_in_the_model_and_training_starts_from_its_weights(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained())
    stopper = Stopper()
    result = train(spec, stopper)
    told = [facts["pretraining"] for facts in stopper.facts if "pretraining" in facts]
    assert [text.split(" without")[0] for text in told] == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    assert result.why["pretraining"] == told[-1]
    assert result.epochs == 2
    stored = load_file(Path(spec.work) / "best.safetensors")
    assert stored.keys() == build_model(make_recipe()).state_dict().keys()
    history = [json.loads(line) for line in (Path(spec.work) / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2]
    checkpoint = torch.load(Path(spec.work) / "last.pt", weights_only=True)
    assert len(checkpoint["pretraining"]) == 3 and "predictor" not in checkpoint


def test_the_first_epoch_starts_from_what_was_learnt(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(recipe=make_pretrained())
    with pytest.raises(StopError):
        train(spec, Stopper(before=3))
    learnt = torch.load(Path(spec.work) / "last.pt", weights_only=True)
    assert learnt["history"] == [] and "predictor" in learnt
    seen: dict[str, torch.Tensor] = {}

    def watch(spec: TrainingSpec, state: State, *rest: Any) -> dict[str, float]:
        assert state.average is not None and state.predictor is None
        for part, network in (("model", state.model), ("average", state.average.model)):
            seen.update({f"{part}.{name}": value.clone() for name, value in network.state_dict().items()})
        raise StopError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        patch.setattr(loop, "train_epoch", watch)
        train(spec, SilentReporter())
    for name, value in learnt["model"].items():
        assert torch.equal(seen[f"model.{name}"], value) and torch.equal(seen[f"average.{name}"], value)
    fresh = learnt["average"]  # never updated so far: the random weights of the beginning
    assert not torch.equal(fresh["backbone.0.weight"], learnt["model"]["backbone.0.weight"])
    assert torch.equal(fresh["head.1.weight"], learnt["model"]["head.1.weight"])


@pytest.mark.parametrize("optimiser", [{"name": "sgd", "lr": 0.05}, {"name": "adamw", "lr": 0.003}])
def test_resumed_equals_uninterrupted(make_spec: MakeSpec, tmp_path: Path, optimiser: dict[str, Any]) -> None:
    recipe = make_pretrained(optimiser=optimiser)
    whole, broken = (make_spec(recipe=recipe, work=str(tmp_path / work)) for work in ("whole", "broken"))
    train(whole, SilentReporter())
    for stopper in (Stopper(before=1), Stopper(before=2), Stopper(before=3), Stopper(until=1)):
        with pytest.raises(StopError):
            train(broken, stopper)
    resumed = Stopper()
    train(broken, resumed)
    assert resumed.facts[0]["resume"].startswith("resumed after epoch 1")
    for file in ("best.safetensors", "history.jsonl"):
        assert (Path(broken.work) / file).read_bytes() == (Path(whole.work) / file).read_bytes()


def test_a_resumed_pretraining_says_so(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained())
    with pytest.raises(StopError):
        train(spec, Stopper(before=2))
    resumed = Stopper(before=3)
    with pytest.raises(StopError):
        train(spec, resumed)
    assert resumed.facts[0]["resume"] == "resumed after epoch 2 of pre-training"


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained())
    views = torch.rand(2, 16, 1, 32, 32).unbind()
    found = []
    for count in (1, 4):
        torch.manual_seed(0)
        state = start_state(spec, build_model(spec.recipe), PLAIN)
        state.parts = count
        state.trained.eval()  # batch norm sees the parts: without it they are the whole
        told = take_step(state, PLAIN, spec.recipe, views, 16, Team())
        gradients = [one.grad for one in state.trained.parameters() if one.grad is not None]
        found.append((told[0], torch.cat([one.reshape(-1) for one in gradients])))
    assert float(found[0][0]) == pytest.approx(float(found[1][0]), abs=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)
    assert float(found[0][1].abs().max()) > 1e-4


def test_what_does_not_fit_is_computed_in_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def limited(spec: TrainingSpec, state: State, *rest: Any) -> dict[str, float]:
        tries.append(state.parts)
        if state.parts < 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return pretrain_epoch(spec, state, *rest)

    monkeypatch.setattr(loop, "pretrain_epoch", limited)
    result = train(make_spec(recipe=make_pretrained()), SilentReporter())
    assert tries == [1, 2, 4, 4, 4]
    assert "in 4 parts of at most 2 images" in result.why["memory"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"loss": -1.0, "spread": 0.004}, "spread 0.004, where 0.01 is the least"),
        ({"loss": float("nan"), "spread": 0.9}, "loss nan"),
        ({"loss": -0.5, "spread": float("nan")}, "spread nan"),
    ],
)
def test_a_collapse_is_refused(make_spec: MakeSpec, row: dict[str, float], what: str) -> None:
    spec = make_spec(recipe=make_pretrained())
    check_views(spec, {"loss": -0.9, "spread": 0.5})
    with pytest.raises(
        DivergedError, match=r"tells no images apart .*" + what + ".*a tenth of pretraining.lr"
    ):
        check_views(spec, row)


def test_a_collapse_ends_the_training_and_keeps_what_was_before(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapse(spec: TrainingSpec, state: State, *rest: Any) -> dict[str, float]:
        return pretrain_epoch(spec, state, *rest) | ({"spread": 0.0} if state.pretraining else {})

    monkeypatch.setattr(loop, "pretrain_epoch", collapse)
    spec = make_spec(recipe=make_pretrained())
    with pytest.raises(DivergedError, match="tells no images apart"):
        train(spec, SilentReporter())
    assert not (Path(spec.work) / "result.json").exists()
    assert len(torch.load(Path(spec.work) / "last.pt", weights_only=True)["pretraining"]) == 1


def test_a_full_disk_names_the_epoch_of_pretraining(make_spec: MakeSpec) -> None:
    spec = make_spec(recipe=make_pretrained())
    message = r"epoch 1 of pre-training cannot be written to .*; make room, or move FALX_HOME"
    with full_disk(100_000), pytest.raises(TrainingError, match=message):
        train(spec, SilentReporter())
    assert not (Path(spec.work) / "last.pt").exists()
    assert train(spec, SilentReporter()).epochs == 2


def test_the_second_head_waits_for_its_turn(make_spec: MakeSpec, toy: Path, tmp_path: Path) -> None:
    recipe = make_pretrained(loss={"box": 1.0})
    spec = make_spec(recipe=recipe, patients=write_patients(toy, tmp_path))
    with pytest.raises(StopError):
        train(spec, Stopper(before=2))
    waiting = torch.load(Path(spec.work) / "last.pt", weights_only=True)["locator"]
    torch.manual_seed(seed_for(spec.seed, "weights"))
    fresh = start_state(spec, build_model(recipe), PLAIN).locator
    assert fresh is not None
    assert all(torch.equal(waiting[name], value) for name, value in fresh.state_dict().items())
    train(spec, SilentReporter())
    learnt = torch.load(Path(spec.work) / "last.pt", weights_only=True)["locator"]
    assert not torch.equal(learnt["place.weight"], waiting["place.weight"])


@pytest.mark.slow
def test_two_processes_train_as_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    recipe = make_pretrained(2, batch_size=9, stopping={"epochs": 1, "keep": "last"}, augment={})
    one, two = (make_spec(recipe=recipe, work=str(tmp_path / name)) for name in "ab")
    for size, spec in enumerate((one, two), start=1):
        run_team(spec, tmp_path / f"run-{size}", size)
    assert_alike(one, two, 2e-3)
