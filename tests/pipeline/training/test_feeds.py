"""Features of a frozen backbone, computed once: the same training, and only where that is exact."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_toys import make_recipe

from pipeline.catalog import load_catalog
from pipeline.imaging.augment import Augmenter
from pipeline.recipe import STILL, AugmentSpec
from pipeline.training import feeds
from pipeline.training.feeds import explain_features
from pipeline.training.loop import train
from pipeline.training.models import Network
from pipeline.training.progress import find_stage
from pipeline.training.spec import SilentReporter, TrainingSpec

MakeSpec = Callable[..., TrainingSpec]


class Facts(SilentReporter):
    """Remembers what a training says at its start."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def started(self, facts: Mapping[str, str]) -> None:
        self.facts |= facts


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> str:
    """A checkpoint to start from."""
    work = tmp_path_factory.mktemp("source")
    spec = TrainingSpec(
        recipe=make_recipe(stopping={"epochs": 2}),
        protocol="stratified",
        seed=0,
        split=str(toy / "split.parquet"),
        folders={"toy": str(toy / "raw")},
        cache=str(toy / "cache"),
        work=str(work),
        device="cpu",
        data_digest="d",
        model_id="source",
    )
    train(spec, SilentReporter())
    return str(work / "best.safetensors")


@pytest.fixture
def frozen(make_spec: MakeSpec, weights: str, tmp_path: Path) -> Callable[..., TrainingSpec]:
    """Specs of trainings whose backbone is frozen."""

    def make(name: str, *, freeze: float = 1.0, cache: str = "", **changes: Any) -> TrainingSpec:
        fields: dict[str, Any] = {
            "model": {"name": "slim", "weights": weights, "freeze": freeze, "dropout": 0.2, "head": [8]},
            "augment": {},
            "stopping": {"epochs": 3, "keep": "last"},
        }
        place = {"cache": cache} if cache else {}
        return make_spec(recipe=make_recipe(**(fields | changes)), work=str(tmp_path / name), **place)

    return make


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that whole networks see in training."""
    sizes: list[int] = []
    forward = Network.forward

    def counted(self: Network, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Network, "forward", counted)
    return sizes


@pytest.mark.parametrize(
    ("augment", "asked"),
    [({}, False), ({"hflip": 0.5}, False), ({"hflip": 0.5}, True)],
    ids=["still", "mirrored", "asked about both"],
)
def test_the_head_learns_the_same_from_features_as_from_images(
    frozen: Callable[..., TrainingSpec],
    monkeypatch: pytest.MonkeyPatch,
    weights: str,
    augment: dict[str, float],
    asked: bool,
) -> None:
    model = {"name": "slim", "weights": weights, "freeze": 1.0, "dropout": 0.2, "head": [8], "mirror": asked}
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    sizes = count_passes(monkeypatch)
    kept, told = frozen("kept", augment=augment, model=model), Facts()
    train(kept, told)
    assert not sizes
    assert "computed once for each image" in told.facts["features"]
    assert ("and its mirror image" in told.facts["features"]) == bool(augment)
    with monkeypatch.context() as patch:
        patch.setattr(feeds, "_may_keep", lambda *_: False)
        plain = frozen("plain", augment=augment, model=model)
        train(plain, SilentReporter())
    assert sum(sizes) == 3 * 24
    rows = [
        [json.loads(line) for line in (Path(spec.work) / "history.jsonl").read_text().splitlines()]
        for spec in (kept, plain)
    ]
    for one, other in zip(*rows, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    tensors = [load_file(Path(spec.work) / "best.safetensors") for spec in (kept, plain)]
    torch.testing.assert_close(tensors[0], tensors[1], rtol=1e-4, atol=1e-5)


def test_features_are_found_again_and_a_damaged_file_is_made_anew(
    frozen: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch, weights: str, tmp_path: Path
) -> None:
    calls = []
    compute = feeds._compute
    monkeypatch.setattr(feeds, "_compute", lambda *given: calls.append(1) or compute(*given))
    cache = str(tmp_path / "cache")
    for name in ("first", "second"):
        train(frozen(name, cache=cache), SilentReporter())
    assert len(calls) == 1
    (path,) = (tmp_path / "cache" / "features").iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    train(frozen("third", cache=cache), SilentReporter())
    assert len(calls) == 2
    contents = {(tmp_path / name / "best.safetensors").read_bytes() for name in ("first", "second", "third")}
    assert len(contents) == 1
    train(
        frozen("fourth", cache=cache, input={"size": 32, "channels": 1, "normalise": "unit"}),
        SilentReporter(),
    )
    train(frozen("fifth", cache=cache, augment={"hflip": 0.5}), SilentReporter())
    asked = {"name": "slim", "weights": weights, "freeze": 1.0, "dropout": 0.2, "head": [8], "mirror": True}
    train(frozen("sixth", cache=cache, augment={"hflip": 0.5}, model=asked), SilentReporter())
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 4


def test_features_of_other_code_are_others(
    frozen: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    train(frozen("first", cache=cache), SilentReporter())
    monkeypatch.setattr(feeds, "_CODE", "another")
    train(frozen("second", cache=cache), SilentReporter())
    monkeypatch.setattr(feeds, "version", lambda package: f"another {package}")
    train(frozen("third", cache=cache), SilentReporter())
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 3


def test_the_code_of_features_holds_networks_and_drawing() -> None:
    folder = Path(feeds.__file__).parent
    known = {path.name for path in feeds.SOURCES}
    assert {"models.py", "attention.py", "backbones.py", "inference.py", "inputs.py"} <= known
    assert {"augment.py", "warps.py", "draws.py"} <= known
    assert all(path.is_file() and folder.parent in path.parents for path in feeds.SOURCES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"augment": {"rotate": 5}}, "augment.rotate makes it see other images"),
        ({"augment": {"contrast": 0.5, "gamma": 0.1}}, "augment.contrast, augment.gamma makes it"),
        ({"freeze": 0.5}, None),
    ],
)
def test_features_are_not_kept_where_they_would_not_be_exact(
    frozen: Callable[..., TrainingSpec],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    reason: str | None,
) -> None:
    sizes, told = count_passes(monkeypatch), Facts()
    train(frozen("moving", **changes), told)
    assert sum(sizes) == 3 * 24
    assert (reason in told.facts["features"]) if reason else "features" not in told.facts


def test_a_backbone_with_chance_in_it_is_computed_each_time() -> None:
    recipe = make_recipe(
        model={"name": "slim", "weights": "a.safetensors", "freeze": 1.0}, augment={}, stopping={"epochs": 1}
    )
    stage = find_stage(recipe, [])
    assert stage is not None
    for layer in (nn.Dropout(0.1), nn.BatchNorm2d(3, affine=False)):
        network = Network(nn.Sequential(nn.Conv2d(1, 3, 3), layer), nn.Linear(3, 4))
        assert "its dropout makes it see other images" in explain_features(recipe, network, stage)


def test_stages_keep_features_only_while_all_is_frozen(
    frozen: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    sizes = count_passes(monkeypatch)
    stages = [{"epochs": 2, "freeze": 1.0}, {"epochs": 1, "freeze": 0.5, "lr_factor": 0.1}]
    model = {"name": "slim", "weights": weights, "dropout": 0.2}
    train(frozen("stages", model=model, stages=stages), SilentReporter())
    assert sum(sizes) == 24


def test_the_mirrors_that_are_drawn_are_those_of_the_augmentation() -> None:
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    ids = [str(number) for number in range(20)]
    augmenter = Augmenter(AugmentSpec(hflip=0.5), {}, seed=4)
    mirrored = torch.from_numpy(augmenter.draw_mirrors(ids, 3))[:, None, None, None]
    assert 4 < int(mirrored.sum()) < 16
    plain = images[:, None].float() / 255
    assert torch.equal(augmenter(images, ids, 3), torch.where(mirrored, plain.flip(3), plain))


def test_every_field_of_the_augmentation_is_known_to_move_or_not() -> None:
    moving = {"rotate", "crop_scale", "brightness", "contrast", "gamma", "mixup", "degrade"}
    assert STILL | moving == set(AugmentSpec.model_fields)
    assert not STILL & moving


def test_the_clean_recipes_of_r4_keep_their_features_and_no_other_does() -> None:
    kept = set()
    for recipe in load_catalog().recipes.values():
        stage = find_stage(recipe, [])
        assert stage is not None
        network = Network(nn.Sequential(nn.Conv2d(1, 3, 3)), nn.Linear(3, 4))
        if "computed once" in explain_features(recipe, network, stage):
            kept.add(recipe.name)
    networks, heads = ("vgg16", "vgg19", "resnet50v2"), ("baseline", "enhanced")
    assert kept == {f"{network}_{head}" for network in networks for head in heads}
