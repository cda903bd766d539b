"""From a trained network and its answers to table `heats` and three contact sheets."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_model

from pipeline.digests import digest_file
from pipeline.errors import ExplanationError
from pipeline.explanations.contact_sheets import Case, cases_figure, draw_cases, shrink_sheet
from pipeline.explanations.explaining import ExplanationSpec, explain_split, select_subjects
from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.models import build_model

SIDE, IMAGES = 32, 24


def make_recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "toy",
            "title": "Toy",
            "description": "Toy.",
            "source": "ours",
            "input": {"size": SIDE, "channels": 1, "normalise": "unit"},
            "model": {"name": "cnn3"},
            "stopping": {"epochs": 1},
        }
    )


def write_images(folder: Path) -> list[tuple[str, str]]:
    """Grey squares on black; (image_id, path) of each."""
    import hashlib

    folder.mkdir()
    found = []
    for index in range(IMAGES):
        pixels = np.random.default_rng(index).integers(0, 60, (40, 40), dtype=np.uint8)
        pixels[10:20, 20:30] = 220
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
        data = (folder / f"{index:02}.png").read_bytes()
        found.append((hashlib.md5(data, usedforsecurity=False).hexdigest(), f"{index:02}.png"))
    return found


@pytest.fixture
def spec(tmp_path: Path) -> ExplanationSpec:
    """Twenty-four images, a third of them without tumour and one without box; random weights as trained."""
    files = write_images(tmp_path / "images")
    rows = pd.DataFrame(files, columns=["image_id", "path"]).assign(collection="c", variant="clean")
    rows["label"] = [("glioma", "pituitary", "no_tumor")[index % 3] for index in range(IMAGES)]
    rows["group_id"] = [f"g{index // 3}" for index in range(IMAGES)]
    called = rows["label"].where(rows.index % 4 != 0, "meningioma")
    scores = np.full((IMAGES, 4), 0.1)
    scores[np.arange(IMAGES), [LABELS.index(name) for name in called]] = 0.7
    answers = rows.assign(model_id="m", recipe="toy", protocol="patient", seed=0)
    answers = answers.assign(**{f"p_{name}": scores[:, code] for code, name in enumerate(LABELS)})
    degraded = answers.assign(variant="gaussian_noise:1", **{f"p_{name}": 0.25 for name in LABELS})
    pq.write_table(to_arrow("predictions", pd.concat([answers, degraded])), tmp_path / "predictions.parquet")
    boxes = {"box_x": 25 / 40, "box_y": 15 / 40, "box_w": 0.25, "box_h": 0.25}
    patients = rows[["image_id"]].assign(
        patient_id=None, source="record", reference_id=None, reference_label=None, **boxes
    )
    patients.loc[0, list(boxes)] = np.nan
    pq.write_table(to_arrow("patients", patients.sort_values("image_id")), tmp_path / "patients.parquet")
    recipe = make_recipe()
    torch.manual_seed(1)
    (tmp_path / "work").mkdir()
    save_model(build_model(recipe), str(tmp_path / "work" / "best.safetensors"))
    return ExplanationSpec(
        recipe=recipe,
        model_id="m",
        predictions=str(tmp_path / "predictions.parquet"),
        patients=str(tmp_path / "patients.parquet"),
        folders={"c": str(tmp_path / "images")},
        cache=str(tmp_path / "cache"),
        work=str(tmp_path / "work"),
        limit=100,
        output=str(tmp_path / "work" / "heats.parquet"),
        sheets=str(tmp_path / "work"),
    )


def change(spec: ExplanationSpec, **changes: Any) -> ExplanationSpec:
    return spec.model_copy(update=changes)


def test_every_boxed_tumour_has_its_five_rows_and_the_sheets_lie_beside(spec: ExplanationSpec) -> None:
    counts = explain_split(spec)
    heats = from_arrow("heats", pq.read_table(spec.output))
    # 24 images, 8 of them without tumour; the first, a glioma, has no box.
    assert counts["images"] == 15 == counts["right"] + counts["wrong"] + counts["wrong_reason"]
    assert len(heats) == 15 * 5
    assert set(zip(heats["method"], heats["drawn_from"], strict=True)) == {
        *((method, name) for method in ("grad_cam", "saliency") for name in ("trained", "random_weights")),
        ("none", "centre_blob"),
    }
    wrong = heats["label"] != heats["called"]
    assert (wrong == (heats["verdict"] == "wrong")).all() and counts["wrong"] * 5 == wrong.sum() > 0
    # 10 of 40 pixels are 8 of 32.
    assert np.allclose(heats["area"], 64 / 1024)
    trained, random = (heats[heats["drawn_from"] == name]["share"] for name in ("trained", "random_weights"))
    assert not np.allclose(trained, random)
    for name in ("right", "wrong", "wrong_reason"):
        with Image.open(Path(spec.sheets) / f"{name}.png") as sheet:
            assert sheet.width == 700


def test_the_same_input_gives_the_same_bytes(spec: ExplanationSpec) -> None:
    names = [spec.output, *(f"{spec.sheets}/{name}.png" for name in ("right", "wrong", "wrong_reason"))]
    explain_split(spec)
    before = [digest_file(Path(name)) for name in names]
    explain_split(spec)
    assert [digest_file(Path(name)) for name in names] == before


def test_a_limit_takes_the_smallest_ids(spec: ExplanationSpec) -> None:
    every, few = select_subjects(spec), select_subjects(change(spec, limit=4))
    assert len(every) == 15
    assert few["image_id"].tolist() == sorted(every["image_id"])[:4]


def test_without_a_box_there_is_nothing_to_point_at(spec: ExplanationSpec) -> None:
    patients = from_arrow("patients", pq.read_table(spec.patients)).assign(box_x=np.nan)
    pq.write_table(to_arrow("patients", patients), spec.patients)
    with pytest.raises(ExplanationError, match=r"none of the 16 tumour images .* cheng_figshare"):
        explain_split(spec)
    assert not Path(spec.output).exists()


def make_case(**changes: Any) -> Case:
    heat = np.zeros((16, 16), np.float32)
    heat[4, 4] = 1
    case = {
        "pixels": np.full((16, 16), 90, np.uint8),
        "box": (0.3, 0.3, 0.2, 0.2),
        "heats": (heat, np.zeros_like(heat)),
        "label": "glioma",
        "called": "pituitary",
        "probability": 0.87,
        "area": 0.04,
    }
    return Case(**{**case, **changes})


def test_a_caption_says_answer_peak_and_share() -> None:
    figure = cases_figure("toy", [make_case()], total=3)
    texts = [text.get_text() for text in figure.texts]
    said = "Grad-CAM: peak in, 100% inside · saliency: no heat"
    assert f"glioma, called pituitary 0.87 (box 4%)\n{said}" in texts
    assert any(text.startswith("1 of 3; slice, Grad-CAM, saliency") for text in texts)
    assert "research software, not a medical device" in texts
    assert len(figure.axes) == 3 and all(len(axes.patches) == 1 for axes in figure.axes)


def test_a_sheet_without_cases_says_so(tmp_path: Path) -> None:
    draw_cases(tmp_path / "none.png", "toy", [], total=0)
    assert (tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")
    assert "no such image" in [text.get_text() for text in cases_figure("toy", [], total=0).texts]


def test_a_sheet_is_shrunk_until_it_fits(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    case = make_case(pixels=noise, heats=(np.zeros((64, 64), np.float32),) * 2)
    draw_cases(tmp_path / "s.png", "toy", [case] * 8, total=8)
    sheet = (tmp_path / "s.png").read_bytes()
    small = shrink_sheet(sheet, limit=len(sheet) // 3)
    assert len(small) <= len(sheet) // 3
    assert shrink_sheet(sheet, limit=len(sheet)) == sheet
    with pytest.raises(ValueError, match="even at a third of its side; show fewer images"):
        shrink_sheet(sheet, limit=1000)
