"""Batches that do not fit the device's memory, and epochs that do not fit the disk."""

import re
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_toys import make_recipe

from pipeline.errors import TrainingError
from pipeline.training.batches import Part
from pipeline.training.devices import Device
from pipeline.training.loop import train
from pipeline.training.models import Network
from pipeline.training.optimisers import make_optimiser
from pipeline.training.spec import SilentReporter, TrainingSpec
from pipeline.training.state import State
from pipeline.training.steps import describe_parts, split_further, take_step
from pipeline.training.targets import Targets

MakeSpec = Callable[..., TrainingSpec]
PLAIN = Device("cpu", "fp32", 1, {})


class Recorder(SilentReporter):
    """Remembers the facts of each start, and the epochs."""

    def __init__(self) -> None:
        self.starts: list[dict[str, str]] = []
        self.epochs: list[int] = []

    def started(self, facts: Mapping[str, str]) -> None:
        self.starts.append(dict(facts))

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        self.epochs.append(epoch)


def fit_at_most(monkeypatch: pytest.MonkeyPatch, images: int, *, after: int = 0) -> list[int]:
    """A device whose memory holds so many images in training, from the step `after` on; the sizes tried."""
    forward, sizes = Network.forward, []

    def limited(self: Network, batch: torch.Tensor) -> torch.Tensor:
        if self.training:
            sizes.append(len(batch))
            if len(sizes) > after and len(batch) > images:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return forward(self, batch)

    monkeypatch.setattr(Network, "forward", limited)
    return sizes


@pytest.mark.parametrize("parts", [2, 3, 8])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(parts: int, weighted: bool, mixed: bool) -> None:
    recipe = make_recipe(loss={"label_smoothing": 0.1})
    images, labels = torch.rand(16, 1, 32, 32), torch.arange(16) % 4
    labels[:5] = 0
    targets = Targets(labels, labels.roll(-1), torch.rand(16)) if mixed else Targets(labels)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0]) if weighted else None
    found = []
    for count in (1, parts):
        torch.manual_seed(0)
        model = Network(
            nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten()), nn.Linear(900, 4)
        )
        state = State(model.train(), make_optimiser(model, recipe.optimiser), None, parts=count)
        loss, hits = take_step(state, PLAIN, recipe, images, targets, weights)
        found.append((loss, hits, [value.grad for value in model.parameters()]))
    (loss, hits, whole), (loss_in_parts, hits_in_parts, added) = found
    torch.testing.assert_close(loss_in_parts, loss)
    assert hits == hits_in_parts
    torch.testing.assert_close(added, whole)


def test_a_batch_that_does_not_fit_is_computed_in_parts_and_said_aloud(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = fit_at_most(monkeypatch, 3)
    spec = make_spec(recipe=make_recipe(batch_size=12, stopping={"epochs": 8}))
    recorder = Recorder()
    result = train(spec, recorder)
    told = describe_parts(spec.recipe, 4)
    assert sizes[:3] == [12, 6, 3] and set(sizes[2:]) == {3}
    assert [start.get("memory") for start in recorder.starts] == [None, describe_parts(spec.recipe, 2), told]
    assert result.why["memory"] == told
    assert "batches of 12: each is now computed in 4 parts of at most 3 images" in told
    assert recorder.epochs == [*range(1, 9)]
    assert result.val["macro_f1"] > 0.9


def test_memory_that_runs_out_later_costs_no_finished_epoch(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(batch_size=8, stopping={"epochs": 4})
    plain = make_spec(recipe=recipe, work=str(tmp_path / "plain"))
    train(plain, SilentReporter())
    short = make_spec(recipe=recipe, work=str(tmp_path / "short"))
    sizes = fit_at_most(monkeypatch, 4, after=7)  # three steps an epoch: in the middle of the third
    recorder = Recorder()
    train(short, recorder)
    assert recorder.starts[1]["resume"].startswith("resumed after epoch 2")
    rows = [(Path(spec.work) / "history.jsonl").read_text().splitlines() for spec in (plain, short)]
    assert rows[0][:2] == rows[1][:2] and rows[0][2] != rows[1][2]
    assert sizes[8:] == [4] * 12
    stored = torch.load(Path(short.work) / "last.pt", weights_only=True)
    assert stored["parts"] == 2


def test_a_resumed_training_keeps_its_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    class Stopper(Recorder):
        def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
            raise StopError

    spec = make_spec(recipe=make_recipe(batch_size=8, stopping={"epochs": 3}))
    sizes = fit_at_most(monkeypatch, 4)
    with pytest.raises(StopError):
        train(spec, Stopper())
    sizes.clear()
    recorder = Recorder()
    train(spec, recorder)
    assert set(sizes) == {4}
    assert recorder.starts[0]["memory"] == describe_parts(spec.recipe, 2)


def test_what_does_not_fit_at_all_is_refused(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = fit_at_most(monkeypatch, 0)
    spec = make_spec(recipe=make_recipe(batch_size=8))
    with pytest.raises(TrainingError, match=r"not even 2 images of 32 pixels at a time; .*FALX_DEVICE=cpu"):
        train(spec, SilentReporter())
    assert sizes == [8, 4, 2]
    assert split_further(make_recipe(batch_size=64), 1) == 2
    with pytest.raises(TrainingError, match="not even 3 images"):
        split_further(make_recipe(batch_size=3), 1)


def test_images_that_do_not_fit_the_device_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: torch.Tensor, device: str) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    part = Part(torch.zeros(2, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), ("a", "b"))
    monkeypatch.setattr(torch.Tensor, "to", fail)
    with pytest.raises(
        TrainingError, match=r"2 images, 0.0 GB, do not fit the memory of cuda; .*FALX_DEVICE=cpu"
    ):
        part.to("cuda")


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("size", "what"), [(100, "the first file"), (100_000, "epoch 1"), (3_500_000, "epoch 1")]
)
def test_a_full_disk_says_what_to_do_and_costs_no_finished_epoch(
    make_spec: MakeSpec, tmp_path: Path, size: int, what: str
) -> None:
    """The limits stop the events, the best weights (3.1 MB), and the checkpoint (9.4 MB)."""
    fields: dict[str, Any] = {"recipe": make_recipe(stopping={"epochs": 2, "keep": "last"})}
    whole, spec = (make_spec(work=str(tmp_path / name), **fields) for name in ("whole", "broken"))
    train(whole, SilentReporter())
    message = rf"{what} cannot be written to .*MB are free there; make room.*after the last finished epoch"
    with full_disk(size), pytest.raises(TrainingError, match=message) as caught:
        train(spec, SilentReporter())
    assert re.search(r"An epoch takes up to 15\.\d MB", str(caught.value))
    assert not [path for path in Path(spec.work).iterdir() if path.name.endswith(".part")]
    train(spec, SilentReporter())
    for name in ("best.safetensors", "history.jsonl"):
        assert (Path(spec.work) / name).read_bytes() == (Path(whole.work) / name).read_bytes()
