"""The predictor: right for what it can read, a reason for what it cannot, the same from every thread."""

import json
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from shades import SHADES, draw_shade, encode, make_card, make_package, make_recipe, write_weights

from pipeline.errors import ServingError
from pipeline.labels import LABELS
from pipeline.serving import inputs
from pipeline.serving import predictor as predictors
from pipeline.serving.package import write_package
from pipeline.serving.predictor import Predictor, check_package, draw_example

COLUMNS = ["label", *(f"p_{label}" for label in LABELS), "model_id", "error"]


@pytest.fixture(scope="module")
def predictor(shades: Path) -> Predictor:
    return Predictor.open(shades / "package")


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp"])
def test_every_label_is_found(predictor: Predictor, kind: str):
    answers = predictor.predict([encode(draw_shade(label, kind)) for label in LABELS])
    assert list(answers.columns) == COLUMNS
    assert list(answers["label"]) == list(LABELS)
    probabilities = answers[[f"p_{label}" for label in LABELS]]
    assert set(map(str, probabilities.dtypes)) == {"float64"}
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert answers["error"].isna().all()


@pytest.mark.parametrize(
    "image",
    [
        draw_shade("pituitary"),
        encode(draw_shade("pituitary")),
        "data:image/jpeg;base64," + encode(draw_shade("pituitary")),
        "\n".join(textwrap.wrap(encode(draw_shade("pituitary")), 76)),
    ],
    ids=["bytes", "base64", "data address", "wrapped base64"],
)
def test_images_may_come_as(predictor: Predictor, image: str | bytes):
    assert predictor.predict([image])["label"][0] == "pituitary"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "empty: no image"),
        (float("nan"), "empty: no image"),
        (pd.NA, "empty: no image"),
        ("", "empty: the image has no bytes"),
        ("hello there!", "not base64"),
        (encode(b"hello there"), "not_an_image"),
        (encode(draw_shade("glioma", ".png")[:-30]), "truncated"),
        (12, "found int"),
    ],
)
def test_a_bad_image_gets_its_reason_and_spoils_no_other(predictor: Predictor, image: object, reason: str):
    answers = predictor.predict([draw_shade("glioma"), image, draw_shade("no_tumor")])
    assert list(answers["label"]) == ["glioma", None, "no_tumor"]
    assert reason in answers["error"][1]
    assert answers["error"][[0, 2]].isna().all()
    assert all(answers[f"p_{label}"][1] is None for label in LABELS)
    json.dumps(answers.to_dict(orient="records"), allow_nan=False)


def test_too_many_bytes_are_not_decoded(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "MAX_IMAGE_BYTES", 1000)
    for image in (b"\0" * 1001, encode(b"\0" * 1001), "A" * 9000):
        assert predictor.predict([image])["error"][0].startswith("too_large")


def test_too_many_pixels_are_not_decoded(predictor: Predictor):
    bomb = cv2.imencode(".png", np.zeros((8200, 8200), np.uint8))[1].tobytes()
    assert len(bomb) < 1_000_000
    assert predictor.predict([bomb])["error"][0].startswith("too_large")


def test_no_rows_give_no_rows(predictor: Predictor):
    answers = predictor.predict([])
    assert list(answers.columns) == COLUMNS
    assert answers.empty


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([*LABELS, "bad"]), max_size=12), st.integers(min_value=1, max_value=5))
def test_rows_keep_their_order_whatever_the_batches(shades: Path, names: list[str], batch: int):
    predictor = opened(shades)
    images = [b"bad" if name == "bad" else draw_shade(name) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictors, "BATCH", batch)
        answers = predictor.predict(images)
    assert list(answers["label"]) == [None if name == "bad" else name for name in names]


_opened: dict[Path, Predictor] = {}


def opened(shades: Path) -> Predictor:
    return _opened.setdefault(shades, Predictor.open(shades / "package"))


def test_threads_get_the_answers_that_one_alone_gets(predictor: Predictor):
    requests = [[draw_shade(label)] * count for count in (1, 2, 3) for label in LABELS]
    alone = [predictor.predict(images) for images in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(predictor.predict, requests))
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    write_weights(tmp_path)
    weights = load_file(tmp_path / "best.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "head" not in name}, tmp_path / "best.safetensors"
    )
    write_package(tmp_path / "package", tmp_path, make_recipe(), make_card())
    with pytest.raises(ServingError, match="do not fit"):
        Predictor.open(tmp_path / "package")


def test_a_package_that_answers_no_number_is_refused(tmp_path: Path):
    write_weights(tmp_path)
    weights = load_file(tmp_path / "best.safetensors")
    save_file(
        {
            name: value * float("nan") if value.is_floating_point() else value
            for name, value in weights.items()
        },
        tmp_path / "best.safetensors",
    )
    write_package(tmp_path / "package", tmp_path, make_recipe(), make_card())
    with pytest.raises(ServingError, match="does not answer its example"):
        check_package(tmp_path / "package")


def test_the_example_is_drawn_and_answered(tmp_path: Path):
    make_package(tmp_path)
    assert check_package(tmp_path / "package") == draw_example()
    assert len(draw_example()) < 4000


def test_the_shades_lie_apart():
    assert min(np.diff(sorted(SHADES.values()))) >= 60
