"""Where the tumour is: a second head learns it and is dropped, or the network learns to attend to it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from test_team import assert_alike, run_team
from training_toys import make_recipe

from pipeline.errors import TrainingError
from pipeline.imaging.augment import Augmenter
from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.batches import load_parts
from pipeline.training.devices import Device
from pipeline.training.feeds import PixelFeed
from pipeline.training.inference import load_model, predict
from pipeline.training.locating import Locator, answer_both, build_locator
from pipeline.training.loop import train
from pipeline.training.models import build_model
from pipeline.training.sampling import draw_batches
from pipeline.training.spec import SilentReporter, TrainingSpec
from pipeline.training.state import start_state

MakeSpec = Callable[..., TrainingSpec]

ATTENDING = {"name": "slim", "pool": "attention"}


class StopError(Exception):
    """Raised by a reporter in place of a crash."""


class Stopper(SilentReporter):
    """Stops after an epoch, and remembers the facts."""

    def __init__(self, until: int = 0) -> None:
        self.until = until
        self.facts: dict[str, str] = {}

    def started(self, facts: Mapping[str, str]) -> None:
        self.facts |= facts

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        if epoch == self.until:
            raise StopError


def write_patients(toy: Path, folder: Path, *, known: bool = True) -> str:
    """The table `patients` of the toy collection: the box of the blob in two images of three."""
    rows = from_arrow("splits", pq.read_table(toy / "split.parquet")).sort_values("path")
    label = np.array([LABELS.index(one) for one in rows["label"]])
    table = pd.DataFrame({"image_id": rows["image_id"], "patient_id": None, "source": "unknown"})
    table = table.assign(reference_id=None, reference_label=None, box_w=0.3, box_h=0.3)
    table["box_x"], table["box_y"] = 0.3 + 0.4 * (label % 2), 0.3 + 0.4 * (label // 2)
    unknown = np.arange(len(table)) % 3 == 0 if known else np.full(len(table), True)
    table.loc[unknown, ["box_x", "box_y", "box_w", "box_h"]] = np.nan
    path = folder / "patients.parquet"
    pq.write_table(to_arrow("patients", table), path)
    return str(path)


@pytest.fixture
def patients(toy: Path, tmp_path: Path) -> str:
    return write_patients(toy, tmp_path)


def make_boxed(**changes: Any) -> Recipe:
    return make_recipe(**({"loss": {"box": 1.0}, "augment": {"hflip": 0.5, "rotate": 10}} | changes))


def test_both_answers_cost_one_pass_and_the_first_is_that_of_the_network_alone() -> None:
    torch.manual_seed(0)
    recipe = make_boxed(model={"name": "slim", "head": [8]})
    network = build_model(recipe)
    locator = build_locator(recipe, network)
    assert isinstance(locator, Locator)
    images = torch.rand(5, 1, 32, 32)
    logits, boxes = answer_both(network, locator, images)
    assert torch.equal(logits, network(images))
    assert boxes.shape == (5, 4) and bool(((boxes > 0) & (boxes < 1)).all())
    assert build_locator(make_recipe(), network) is None


@pytest.mark.parametrize("name", ["slim", "timm:test_resnet"])
def test_a_network_that_attends_needs_no_second_head(name: str) -> None:
    torch.manual_seed(0)
    recipe = make_boxed(model=ATTENDING | {"name": name}, input={"size": 64, "channels": 1})
    network = build_model(recipe)
    assert build_locator(recipe, network) is None
    images = torch.rand(5, 1, 64, 64)
    logits, shares = answer_both(network, None, images)
    assert torch.equal(logits, network(images))
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(5))


def test_boxes_are_read_for_train_alone_and_follow_their_images(make_spec: MakeSpec, patients: str) -> None:
    spec = make_spec(recipe=make_boxed(batch_size=24), patients=patients)
    train_part, val_part = load_parts(spec)
    assert val_part.boxes is None and train_part.boxes is not None
    assert np.isnan(train_part.boxes[:, 0]).sum() == 8
    assert load_parts(make_spec())[0].boxes is None
    feed = PixelFeed(spec, Device("cpu", "fp32", 1, {}), (train_part, val_part))
    (batch,) = draw_batches(spec.recipe, train_part, seed=0, epoch=1)
    found = feed.find_boxes(batch, 1)
    assert found is not None
    augmenter = Augmenter(spec.recipe.augment, {}, seed=0)
    expected = augmenter.move_boxes(train_part.boxes[batch.rows], batch.keys, 1, 32)
    assert np.allclose(found.numpy(), expected, equal_nan=True, atol=1e-6)
    images = feed.take(batch, np.arange(24), 1)[:, 0]
    known = ~found[:, 0].isnan()
    centres = (found[:, :2] * 32).long()
    bright = torch.stack([images[row, y, x] for row, (x, y) in enumerate(centres.clamp(0, 31))])
    assert float(bright[known].mean()) > float(images.mean()) + 0.2


def test_the_box_is_learnt_and_no_part_of_the_model(make_spec: MakeSpec, patients: str) -> None:
    spec = make_spec(recipe=make_boxed(stopping={"epochs": 12}, augment={}), patients=patients)
    stopper = Stopper()
    result = train(spec, stopper)
    assert result.val["macro_f1"] > 0.9
    assert stopper.facts["boxes"].startswith("known in 16 training images")
    plain = build_model(make_recipe()).state_dict()
    stored = load_file(Path(spec.work) / "best.safetensors")
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: tensor.shape for name, tensor in plain.items()
    }
    _, val = load_parts(spec)
    assert predict(load_model(spec.work, spec.recipe), val.images, spec.recipe).shape == (16, 4)
    state = start_state(spec, build_model(spec.recipe), Device("cpu", "fp32", 1, {}))
    checkpoint = torch.load(Path(spec.work) / "last.pt", weights_only=True)
    state.model.load_state_dict(checkpoint["model"])
    assert state.locator is not None
    state.locator.load_state_dict(checkpoint["locator"])
    images = val.images[:, None].float() / 255 * 2 - 1
    with torch.inference_mode():
        _, boxes = answer_both(state.model.eval(), state.locator, images)
    truth = torch.stack([0.3 + 0.4 * (val.labels % 2), 0.3 + 0.4 * (val.labels // 2)], dim=1)
    assert float((boxes[:, :2] - truth).abs().mean()) < 0.1


@pytest.mark.parametrize("name", ["slim", "timm:test_resnet"])
def test_attention_is_taught_and_stays_in_the_model(name: str, make_spec: MakeSpec, patients: str) -> None:
    changes = {"stopping": {"epochs": 12}, "augment": {}, "input": {"size": 64, "channels": 1}}
    inside = []
    for weight in (0.0, 1.0):
        loss = {"box": weight}
        recipe = make_boxed(model=ATTENDING | {"name": name}, loss=loss, **changes)
        spec = make_spec(recipe=recipe, patients=patients if weight else "", work=f"{patients}-{weight}")
        stopper = Stopper()
        train(spec, stopper)
        assert stopper.facts.get("boxes", "none").endswith("attend to them" if weight else "none")
        network = load_model(spec.work, recipe)
        _, val = load_parts(spec)
        with torch.inference_mode():
            _, shares = answer_both(network, None, val.images[:, None].float() / 255 * 2 - 1)
        quarters = shares.unflatten(2, (2, -1)).unflatten(1, (2, -1)).sum((2, 4))
        inside.append(float(quarters[torch.arange(16), val.labels // 2, val.labels % 2].mean()))
    assert inside[1] > 0.9 > inside[0] + 0.2


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixed, balanced, adamw": {
        "augment": {"hflip": 0.5, "crop_scale": [0.7, 1.0], "mixup": 0.4},
        "data": {"sampling": "balanced"},
        "optimiser": {"name": "adamw", "lr": 0.003},
        "model": {"name": "slim", "dropout": 0.2, "stochastic_depth": 0.2},
    },
    "attending": {"model": ATTENDING, "augment": {"hflip": 0.5, "mixup": 0.4}},
}


@pytest.mark.parametrize("name", RECIPES)
def test_resumed_equals_uninterrupted(make_spec: MakeSpec, tmp_path: Path, patients: str, name: str) -> None:
    fields = {"recipe": make_boxed(stopping={"epochs": 3}, **RECIPES[name]), "patients": patients}
    whole, broken = (make_spec(work=str(tmp_path / work), **fields) for work in ("whole", "broken"))
    train(whole, SilentReporter())
    for until in (1, 2):
        with pytest.raises(StopError):
            train(broken, Stopper(until))
    train(broken, SilentReporter())
    for file in ("best.safetensors", "history.jsonl"):
        assert (Path(broken.work) / file).read_bytes() == (Path(whole.work) / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed, balanced, adamw", "attending"])
def test_two_processes_train_as_one(make_spec: MakeSpec, tmp_path: Path, patients: str, name: str) -> None:
    changes = RECIPES[name] | {"optimiser": {"name": "sgd", "lr": 0.05}}
    recipe = make_boxed(batch_size=9, stopping={"epochs": 2, "keep": "last"}, **changes)
    one, two = (make_spec(recipe=recipe, patients=patients, work=str(tmp_path / name)) for name in "ab")
    for size, spec in enumerate((one, two), start=1):
        run_team(spec, tmp_path / f"run-{size}", size)
    assert_alike(one, two, 2e-3)


def test_a_weight_of_the_box_changes_the_training(make_spec: MakeSpec, tmp_path: Path, patients: str) -> None:
    rows = []
    for weight in (0.5, 1.0):
        recipe = make_boxed(loss={"box": weight}, stopping={"epochs": 1})
        spec = make_spec(recipe=recipe, patients=patients, work=str(tmp_path / str(weight)))
        train(spec, SilentReporter())
        rows.append(json.loads((Path(spec.work) / "history.jsonl").read_text()))
    assert rows[0]["train_loss"] < rows[1]["train_loss"]


def test_stages_keep_the_second_head(make_spec: MakeSpec, patients: str) -> None:
    stages = [{"epochs": 1}, {"epochs": 1, "lr_factor": 0.1}]
    recipe = make_boxed(stages=stages, stopping={"epochs": 2}, schedule={"name": "constant"})
    spec = make_spec(recipe=recipe, patients=patients)
    with pytest.raises(StopError):
        train(spec, Stopper(1))
    first = torch.load(Path(spec.work) / "last.pt", weights_only=True)["locator"]
    train(spec, SilentReporter())
    second = torch.load(Path(spec.work) / "last.pt", weights_only=True)["locator"]
    assert not torch.equal(first["place.weight"], second["place.weight"])


def test_what_cannot_be_learnt_is_refused(make_spec: MakeSpec, toy: Path, tmp_path: Path) -> None:
    recipe = make_boxed()
    with pytest.raises(TrainingError, match=r"no patients table at .*; materialise patients first"):
        load_parts(make_spec(recipe=recipe, patients=str(tmp_path / "none.parquet")))
    nothing = write_patients(toy, tmp_path, known=False)
    with pytest.raises(TrainingError, match="no box is known in the 24 training images of recipe 'toy'"):
        load_parts(make_spec(recipe=recipe, patients=nothing))
