"""Cards and readings made by hand."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.app.readings import Reading
from pipeline.labels import LABELS
from pipeline.serving.card import Conformal, ModelCard

sys.path.append(str(Path(__file__).parents[1] / "serving"))  # shades.py


@pytest.fixture(scope="session")
def make_reading() -> Callable[..., Reading]:
    """A reading of a model with or without conformal sets."""

    def make(
        *shares: float,
        kept: tuple[str, ...] | None = ("glioma",),
        error: str | None = None,
        **card: object,
    ) -> Reading:
        fields = {
            "model_id": "m" * 24,
            "recipe": "cnn3",
            "recipe_digest": "d",
            "protocol": "patient",
            "seed": 0,
            "data_digest": "d",
            "gate": "passed",
            "classes": LABELS,
            "size": 64,
            "channels": 1,
            "normalise": "unit",
            "versions": {},
            "conformal": None if kept is None else Conformal(coverage=0.9, threshold=0.2),
        }
        held = dict(zip(LABELS, shares, strict=True)) if error is None else {}
        return Reading(ModelCard.model_validate(fields | card), error, held, None if error else kept)

    return make
