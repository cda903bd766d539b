"""From encoded images to labels and probabilities, one row an image; a bad image spoils no other's answer."""

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.errors import DecodeError, ServingError, WeightsError
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.recipe import Recipe
from pipeline.serving.card import ModelCard
from pipeline.serving.package import CARD, RECIPE, WEIGHTS, read_package
from pipeline.training.inference import predict
from pipeline.training.models import build_model
from pipeline.training.weights import load_file_into

MAX_IMAGE_BYTES = 32 << 20
BATCH = 64  # images decoded and answered at a time, so that memory does not grow with the request


@dataclass(frozen=True)
class Answer:
    """One row: probabilities in the card's order, or the reason why there are none."""

    probabilities: tuple[float, ...] | None
    error: str | None


class Predictor:
    """A loaded model with its card; safe to use from several threads, since nothing in it changes.

    Raises:
        ServingError: the package breaks its own contract; see `read_package`.
    """

    def __init__(self, weights: Path, card: Path, recipe: Path) -> None:
        self.card: ModelCard
        self.recipe: Recipe
        self.card, self.recipe = read_package(weights, card, recipe)
        self.model = _load_weights(weights, self.recipe, self.card)

    @classmethod
    def open(cls, folder: Path) -> "Predictor":
        """Load the package in `folder`."""
        return cls(folder / WEIGHTS, folder / CARD, folder / RECIPE)

    def predict(self, images: Sequence[Any]) -> pd.DataFrame:
        """Label and probabilities of each image, in the order given.

        Args:
            images: encoded files, as bytes or as base64 text (a `data:` prefix is allowed).

        Returns:
            Columns label, p_<class>, error. A row has either an error or the rest; what it lacks is None,
            which JSON can say. Deterministic for a fixed number of torch threads.
        """
        answers: list[Answer] = []
        for start in range(0, len(images), BATCH):
            answers += self._answer(images[start : start + BATCH])
        return _tabulate(answers, self.card.classes)

    def _answer(self, images: Sequence[Any]) -> list[Answer]:
        opened = [_open_image(image, self.card.size) for image in images]
        pixels = [one for one in opened if isinstance(one, np.ndarray)]
        rows = iter(predict(self.model, np.stack(pixels), self.recipe) if pixels else ())
        return [
            Answer(None, one) if isinstance(one, str) else Answer(tuple(map(float, next(rows))), None)
            for one in opened
        ]


def check_package(folder: Path) -> str:
    """Open a package and ask it about the example image; that image, as base64 text.

    The example is drawn, not taken from a collection: a packaged model passes no patient's pixels on.

    Raises:
        ServingError: the package breaks its contract, or cannot answer.
    """
    predictor = Predictor.open(folder)
    example = draw_example()
    answer = predictor.predict([example])
    total = answer.drop(columns=["label", "error"]).sum(axis=1)[0]
    if answer["error"][0] is not None or not math.isclose(total, 1, abs_tol=1e-6):
        raise ServingError(
            f"the package in {folder} does not answer its example: error {answer['error'][0]!r}, "
            f"probabilities that add up to {total}"
        )
    return example


def draw_example(side: int = 64) -> str:
    """A grey disc on black, a stand-in for a slice, as a PNG in base64 text."""
    across = np.linspace(-1, 1, side)
    radius = np.hypot(across[:, None], across[None, :])
    shades = np.where(radius < 0.8, 200 - 100 * radius, 0).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".png", shades)[1].tobytes()).decode()


def _load_weights(path: Path, recipe: Recipe, card: ModelCard) -> nn.Module:
    model = build_model(recipe, len(card.classes), weights="none")
    try:
        load_file_into(model, path)
    except WeightsError as error:
        raise ServingError(f"model {card.model_id}: weights and recipe do not fit: {error}") from error
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _open_image(image: Any, size: int) -> "np.ndarray[Any, np.dtype[np.uint8]] | str":
    try:
        return np.asarray(resize_grey(decode_image(_read_bytes(image)).pixels, size), dtype=np.uint8)
    except DecodeError as error:
        return str(error)


def _read_bytes(image: Any) -> bytes:
    if image is None or (isinstance(image, float) and math.isnan(image)) or image is pd.NA:
        raise DecodeError("empty", "no image was given")
    if not isinstance(image, str | bytes):
        raise DecodeError("not_an_image", f"found {type(image).__name__}; give base64 text or bytes")
    if len(image) > MAX_IMAGE_BYTES * 4 // 3 + 4096:
        raise DecodeError("too_large", f"more than {MAX_IMAGE_BYTES >> 20} MB, encoded")
    data = image if isinstance(image, bytes) else _decode_text(image)
    if not data:
        raise DecodeError("empty", "the image has no bytes")
    if len(data) > MAX_IMAGE_BYTES:
        raise DecodeError("too_large", f"{len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} are read")
    return data


def _decode_text(text: str) -> bytes:
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("not_an_image", f"not base64 text: {error}") from error


def _tabulate(answers: Sequence[Answer], classes: Sequence[str]) -> pd.DataFrame:
    # Object columns: pandas' own types would turn None into NaN, which no JSON reader has to accept.
    empty = (None,) * len(classes)
    rows = [
        (
            classes[int(np.argmax(answer.probabilities))] if answer.probabilities else None,
            *(answer.probabilities or empty),
            answer.error,
        )
        for answer in answers
    ]
    frame = pd.DataFrame(rows, columns=["label", *(f"p_{name}" for name in classes), "error"], dtype=object)
    if all(answer.error is None for answer in answers):
        return frame.astype({f"p_{name}": "float64" for name in classes})
    return frame
