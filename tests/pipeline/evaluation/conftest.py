from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from pipeline.labels import LABELS
from pipeline.schemas import TABLES

Predict = Callable[..., pd.DataFrame]


def build(
    truth: Sequence[int],
    scores: Sequence[Sequence[float]] | np.ndarray,
    groups: Sequence[object],
    *,
    recipe: str = "demo_careful",
    protocol: str = "patient",
    seed: int = 0,
    variant: str = "clean",
) -> pd.DataFrame:
    """A predictions table: labels as indices, one row of probabilities each."""
    values = np.asarray(scores, dtype=np.float64).reshape(-1, len(LABELS))
    frame = pd.DataFrame(
        {
            "model_id": f"{recipe}-{protocol}-{seed}",
            "recipe": recipe,
            "protocol": protocol,
            "seed": seed,
            "image_id": [f"{index:032x}" for index in range(len(truth))],
            "collection": "phantoms",
            "path": [f"Testing/{index:05d}.png" for index in range(len(truth))],
            "variant": variant,
            "label": [LABELS[label] for label in truth],
            "group_id": [str(group) for group in groups],
        }
        | {f"p_{label}": values[:, index] for index, label in enumerate(LABELS)}
    )
    return frame[TABLES["predictions"].names]


def imagine(
    *, images: int = 240, groups: int = 60, skill: float = 3.0, draw: int = 0, **names: object
) -> pd.DataFrame:
    """Predictions of a made-up model: images of one group share their class and a part of their error."""
    random = np.random.default_rng(draw)
    label, shift = random.integers(0, 4, groups), random.normal(0, 1, (groups, 4))
    group = np.sort(np.append(np.arange(groups), random.integers(0, groups, images - groups)))
    logits = shift[group] + random.normal(0, 1, (images, 4))
    logits[np.arange(images), label[group]] += skill
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return build(label[group], scores, [f"g{index}" for index in group], **names)  # type: ignore[arg-type]


@pytest.fixture
def predictions() -> pd.DataFrame:
    return imagine()


@pytest.fixture
def small() -> pd.DataFrame:
    """Nine images in six groups; every metric of it is worked out by hand in the tests."""
    called = [(0, 0), (0, 0), (0, 3), (1, 1), (1, 0), (2, 2), (3, 3), (3, 3), (3, 1)]
    scores = np.full((9, 4), 0.1)
    scores[np.arange(9), [guess for _, guess in called]] = 0.7
    return build([truth for truth, _ in called], scores, "abbccdeef")


@pytest.fixture
def make() -> Predict:
    return build


@pytest.fixture
def dream() -> Predict:
    return imagine


@pytest.fixture
def degrade(dream: Predict) -> Predict:
    """Answers to clean and to degraded images that grow worse with severity, each kind at its own pace."""

    def make(
        recipe: str = "slim64",
        skill: float = 3.0,
        draw: int = 0,
        paces: Mapping[str, float] = MappingProxyType({"gaussian_blur": 0.6, "jpeg": 0.2}),
    ) -> pd.DataFrame:
        frames = [dream(recipe=recipe, skill=skill, draw=draw)]
        for kind, pace in paces.items():
            frames += [
                dream(recipe=recipe, skill=skill - pace * step, draw=draw, variant=f"{kind}:{step}")
                for step in range(1, 6)
            ]
        return pd.concat(frames, ignore_index=True)

    return make
