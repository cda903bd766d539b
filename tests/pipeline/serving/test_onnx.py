"""The ONNX file answers as torch does and carries its card; what cannot be made so is refused."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shades import draw_head, make_package, make_recipe

from pipeline.digests import digest_file
from pipeline.errors import ServingError
from pipeline.imaging.decode import resize_grey
from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.serving import onnx as edge
from pipeline.serving.card import read_card, write_card
from pipeline.serving.onnx import EdgeCard, draw_pictures, export_onnx, open_session, require_runtime
from pipeline.serving.package import CARD, write_package
from pipeline.serving.predictor import Predictor
from pipeline.training.models import build_model

needs_edge = pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")),
    reason="the extra `edge` is not installed",
)


@needs_edge
def test_the_file_answers_as_torch_does_whatever_the_number_of_images(shades: Path, tmp_path: Path):
    made = export_onnx(shades / "package", tmp_path / "shades.onnx")
    predictor = Predictor.open(shades / "package")
    pixels = np.stack([resize_grey(draw_head(label), predictor.card.size) for label in LABELS])
    session = open_session(tmp_path / "shades.onnx", threads=1)
    for asked in (pixels[:1], pixels, np.repeat(pixels, 20, axis=0)):
        (found,) = session.run(["probabilities"], {"image": asked[:, None]})
        assert np.abs(found - predictor.classify(asked)[0]).max() <= 1e-4
    assert [LABELS[row] for row in session.run(None, {"image": pixels[:, None]})[0].argmax(1)] == list(LABELS)
    assert made.difference <= 1e-4


@needs_edge
@pytest.mark.parametrize(("name", "mirror"), [("slim", False), ("timm:test_resnet", False), ("slim", True)])
def test_a_network_that_attends_is_exported_too_and_one_that_is_asked_about_both_sides(
    name: str, mirror: bool, tmp_path: Path
):
    spec = {
        "input": {"size": 64, "channels": 1},
        "augment": {"hflip": 0.5},
        "model": {"name": name, "pool": "attention", "mirror": mirror},
    }
    recipe = Recipe.model_validate(make_recipe().model_dump() | spec)
    torch.manual_seed(0)
    (tmp_path / "work").mkdir()
    save_file(build_model(recipe).state_dict(), tmp_path / "work" / "best.safetensors")
    card = write_card(
        recipe, protocol="patient", seed=0, model_id="a" * 24, data_digest="b" * 24, gate="passed", val={}
    )
    write_package(tmp_path / "package", tmp_path / "work", recipe, card)
    made = export_onnx(tmp_path / "package", tmp_path / "attend.onnx")
    pixels = draw_pictures(5, 64)
    (found,) = open_session(tmp_path / "attend.onnx").run(["probabilities"], {"image": pixels[:, None]})
    assert np.abs(found - Predictor.open(tmp_path / "package").classify(pixels)[0]).max() <= 1e-4
    assert made.difference <= 1e-4


@needs_edge
def test_the_card_lies_beside_the_file(shades: Path, tmp_path: Path):
    made = export_onnx(shades / "package", tmp_path / "shades.onnx")
    stored = EdgeCard.model_validate_json((tmp_path / "shades.json").read_bytes())
    assert stored == made
    assert stored.card == read_card(shades / "package" / CARD)
    assert stored.file_digest == digest_file(tmp_path / "shades.onnx")
    assert stored.file_bytes == (tmp_path / "shades.onnx").stat().st_size
    assert "Refuses nothing" in stored.note
    assert "not a medical device" in stored.card.disclaimer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shades.json", "shades.onnx"]


@needs_edge
def test_the_temperature_is_inside(tmp_path: Path):
    make_package(tmp_path)
    card = tmp_path / "package" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"temperature": 300.0}))
    export_onnx(tmp_path / "package", tmp_path / "warm.onnx")
    pixels = draw_pictures(4, 16)
    (found,) = open_session(tmp_path / "warm.onnx").run(None, {"image": pixels[:, None]})
    assert found.max() < 0.9
    assert np.abs(found - Predictor.open(tmp_path / "package").classify(pixels)[0]).max() <= 1e-4


@needs_edge
def test_a_graph_that_answers_otherwise_is_not_written(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(edge, "normalise", lambda images, _recipe: images * 0.5)
    with pytest.raises(ServingError, match=r"otherwise than torch, where 0\.0001 is allowed"):
        export_onnx(shades / "package", tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_packages_the_error_says_what_to_install(shades: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ServingError, match=r"pip install -c constraints.txt -e '\.\[edge\]'"):
        export_onnx(shades / "package", tmp_path / "shades.onnx")
    with pytest.raises(ServingError, match="onnx and onnxruntime"):
        require_runtime()
    assert not list(tmp_path.iterdir())


def test_pictures_are_seeded_and_differ():
    pictures = draw_pictures(5, 20)
    assert pictures.shape == (5, 20, 20)
    assert np.array_equal(pictures, draw_pictures(5, 20))
    assert len(np.unique(pictures, axis=0)) == 5
