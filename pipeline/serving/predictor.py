"""From encoded images to labels and probabilities, one row an image; a bad image spoils no other's answer."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.errors import DecodeError, ServingError, WeightsError
from pipeline.recipe import Recipe
from pipeline.serving.answers import Answer, tabulate_answers, weigh_logits
from pipeline.serving.card import Distance, ModelCard
from pipeline.serving.distance import Eye, Ruler, load_reference
from pipeline.serving.inputs import open_slice
from pipeline.serving.package import CARD, RECIPE, REFERENCE, WEIGHTS, read_package
from pipeline.training.models import Network, build_model
from pipeline.training.weights import load_file_into

BATCH = 64  # images decoded and answered at a time, so that memory does not grow with the request


class Predictor:
    """A loaded model with its card; safe to use from several threads, since nothing in it changes.

    Args:
        weights, card, recipe: files of the package.
        reference: features of training images; needed where the card has a `distance`.

    Raises:
        ServingError: the package breaks its own contract; see `read_package`.
    """

    def __init__(self, weights: Path, card: Path, recipe: Path, reference: Path | None = None) -> None:
        self.card: ModelCard
        self.recipe: Recipe
        self.card, self.recipe = read_package(weights, card, recipe, reference)
        self.model = _load_weights(weights, self.recipe, self.card)
        self._eye = Eye(self.model, self.recipe)
        self._ruler: Ruler | None = None
        if self.card.distance is not None and reference is not None:
            self._ruler = Ruler(load_reference(reference))

    @classmethod
    def open(cls, folder: Path) -> "Predictor":
        """Load the package in `folder`."""
        return cls(folder / WEIGHTS, folder / CARD, folder / RECIPE, folder / REFERENCE)

    def predict(self, images: Sequence[Any]) -> pd.DataFrame:
        """Label and probabilities of each image, in the order given; what is no brain MR slice is refused.

        Args:
            images: encoded files, as bytes or as base64 text (a `data:` prefix is allowed).

        Returns:
            Columns label, p_<class>, in_set_<class> where the card has sets, model_id, error. A row has
            either an error or the rest; what it lacks is None, which JSON can say. Deterministic for a fixed
            number of torch threads.
        """
        answers: list[Answer] = []
        for start in range(0, len(images), BATCH):
            answers += self._answer(images[start : start + BATCH])
        return tabulate_answers(answers, self.card)

    def classify(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Calibrated probabilities of decoded images, and how far each is from the training images.

        Args:
            pixels: uint8 [n, size, size], grey; nothing is refused here.

        Returns:
            float64 [n, classes], and float64 [n] where the card has a `distance`, else None.
        """
        probabilities, _, distances = self._measure(pixels)
        return probabilities, distances

    def _answer(self, images: Sequence[Any]) -> list[Answer]:
        opened = [_open_image(image, self.card.size) for image in images]
        pixels = [one for one in opened if isinstance(one, np.ndarray)]
        rows = iter(self._judge(np.stack(pixels)) if pixels else ())
        return [Answer(None, one) if isinstance(one, str) else next(rows) for one in opened]

    def _judge(self, pixels: NDArray[np.uint8]) -> list[Answer]:
        probabilities, raw, distances = self._measure(pixels)
        answers = [
            Answer(tuple(map(float, row)), None, tuple(map(float, before)))
            for row, before in zip(probabilities, raw, strict=True)
        ]
        limit = self.card.distance
        if distances is None or limit is None:
            return answers
        return [
            answer if distance <= limit.threshold else Answer(None, _refuse(distance, limit))
            for answer, distance in zip(answers, map(float, distances), strict=True)
        ]

    def _measure(
        self, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """Probabilities by the card's temperature and without it, [n, classes] each; distances [n]."""
        logits, features = self._eye.look(pixels)
        calibrated, raw = weigh_logits(logits, self.card.temperature), weigh_logits(logits, None)
        return calibrated, raw, self._ruler.measure(features) if self._ruler else None


def check_package(folder: Path) -> str:
    """Open a package and ask it about the example image; that image, as base64 text.

    The example is drawn, not taken from a collection: a packaged model passes no patient's pixels on. A model
    may find it far from its training images, and refuse it as such.

    Raises:
        ServingError: the package breaks its contract, or cannot answer.
    """
    predictor = Predictor.open(folder)
    example = draw_example()
    total = float(predictor.classify(open_slice(example, predictor.card.size)[None])[0].sum())
    error = predictor.predict([example])["error"][0]
    if not math.isclose(total, 1, abs_tol=1e-6) or not (error is None or error.startswith("far:")):
        raise ServingError(
            f"the package in {folder} does not answer its example: error {error!r}, probabilities that add "
            f"up to {total}"
        )
    return example


def draw_example(side: int = 64) -> str:
    """A grey disc on black, a stand-in for a slice, as a PNG in base64 text."""
    across = np.linspace(-1, 1, side)
    radius = np.hypot(across[:, None], across[None, :])
    shades = np.where(radius < 0.8, 200 - 100 * radius, 0).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".png", shades)[1].tobytes()).decode()


def _load_weights(path: Path, recipe: Recipe, card: ModelCard) -> Network:
    model = build_model(recipe, len(card.classes), weights="none")
    try:
        load_file_into(model, path)
    except WeightsError as error:
        raise ServingError(f"model {card.model_id}: weights and recipe do not fit: {error}") from error
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _open_image(image: Any, size: int) -> NDArray[np.uint8] | str:
    try:
        return open_slice(image, size)
    except (DecodeError, ServingError) as error:
        return str(error)


def _refuse(distance: float, limit: Distance) -> str:
    return (
        f"far: {distance:.3f} from the training images, where {limit.quantile:.0%} of val lie within "
        f"{limit.threshold:.3f}; the model has seen too little like it"
    )
