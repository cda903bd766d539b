"""The predictor: right for what it can read, a reason for what it cannot, the same from every thread."""

import json
import re
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
from shades import (
    SHADES,
    SIZE,
    draw_head,
    draw_shade,
    encode,
    make_card,
    make_package,
    make_recipe,
    write_weights,
)

from pipeline.errors import ServingError
from pipeline.labels import LABELS
from pipeline.phantoms.foreign import draw_foreign
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


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the shades model with a reference of its four heads; not to be changed."""
    folder = tmp_path_factory.mktemp("wary")
    make_package(folder, reference=True)
    return folder / "package"


def draw_half(label: str) -> bytes:
    """A head whose left half is missing: no rule knows it, and no training image is like it."""
    pixels = draw_head(label)
    pixels[:, :60] = 0
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_what_is_far_from_the_training_images_is_refused_and_spoils_no_other(shades: Path, wary: Path):
    images = [draw_shade("glioma"), draw_half("pituitary"), draw_shade("no_tumor")]
    answers = Predictor.open(wary).predict(images)
    assert list(answers["label"]) == ["glioma", None, "no_tumor"]
    assert re.match(
        r"far: \d\.\d{3} from the training images, where 99% of val lie within 0\.\d{3}", answers["error"][1]
    )
    assert answers["model_id"].nunique() == 1
    assert Predictor.open(shades / "package").predict(images)["error"].isna().all()


def test_classify_refuses_nothing_and_tells_the_distance(shades: Path, wary: Path):
    pixels = np.zeros((3, SIZE, SIZE), np.uint8)
    probabilities, distances = Predictor.open(wary).classify(pixels)
    assert probabilities.shape == (3, 4)
    assert distances is not None and distances.shape == (3,) and (distances > 0.05).all()
    assert Predictor.open(shades / "package").classify(pixels)[1] is None


def test_foreign_images_are_refused_row_by_row(predictor: Predictor):
    ct = draw_foreign("ct", np.random.default_rng(0))
    answers = predictor.predict([draw_shade("glioma"), ct, draw_shade("glioma")])
    assert list(answers["label"]) == ["glioma", None, "glioma"]
    assert answers["error"][1].startswith("foreign: looks like ct")


def test_a_card_with_temperature_and_threshold_answers_calibrated_and_with_sets(shades: Path, tmp_path: Path):
    make_package(tmp_path)
    path = tmp_path / "package" / "card.json"
    calibration = {"temperature": 40.0, "conformal": {"coverage": 0.9, "threshold": 0.2}}
    path.write_text(json.dumps(json.loads(path.read_text()) | calibration))
    images = [draw_shade(label) for label in LABELS]
    plain = Predictor.open(shades / "package").predict(images)
    soft = Predictor.open(tmp_path / "package").predict([*images, b"bad"])
    columns = [f"p_{label}" for label in LABELS]
    powers = plain[columns].to_numpy() ** (1 / 40)
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = soft.loc[:3, columns].to_numpy().astype(float)
    assert np.allclose(found, expected, atol=1e-6)
    assert list(soft["label"]) == [*LABELS, None]
    sets = soft[[f"in_set_{label}" for label in LABELS]].to_numpy()
    assert (sets[:4] == (plain[columns].to_numpy() >= 0.2)).all()
    assert not (sets[:4] == (found >= 0.2)).all()
    assert list(sets[4]) == [None] * 4
    assert not [name for name in plain.columns if name.startswith("in_set_")]


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
