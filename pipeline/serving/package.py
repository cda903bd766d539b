"""The package of a trained model: weights, card, recipe and reference in a folder, and nothing pickled."""

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from pipeline.atomic import write_text
from pipeline.digests import digest_file, digest_json
from pipeline.errors import ServingError
from pipeline.recipe import Recipe
from pipeline.serving.card import Calibration, ModelCard, check_card, read_card
from pipeline.serving.distance import REFERENCE, describe_reference

WEIGHTS = "best.safetensors"
CARD = "card.json"
RECIPE = "recipe.json"
CALIBRATION = "calibration.json"

__all__ = [
    "CALIBRATION",
    "CARD",
    "RECIPE",
    "REFERENCE",
    "WEIGHTS",
    "read_calibration",
    "read_package",
    "write_package",
]


def write_package(folder: Path, work: Path, recipe: Recipe, card: ModelCard) -> ModelCard:
    """Put weights, recipe and card of the training in `work` into `folder`; the card is written last.

    A package is a function of its arguments: a second call writes the same bytes. Where the training left a
    reference of its images, the package refuses what is far from them, and where it left a calibration, it
    answers calibrated probabilities and sets; the card says so either way.

    Returns:
        The card as written, with the digests of the files.

    Raises:
        ServingError: there are no weights, the calibration is damaged, or card and recipe do not belong
            together.
    """
    weights = work / WEIGHTS
    if not weights.is_file():
        raise ServingError(f"{weights} does not exist: the training in {work} has not ended; train it first")
    check_card(card, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    (folder / REFERENCE).unlink(missing_ok=True)
    distance = None
    if (work / REFERENCE).is_file():
        shutil.copyfile(work / REFERENCE, folder / REFERENCE)
        distance = describe_reference(folder / REFERENCE)
    digest = digest_file(folder / WEIGHTS)
    written = card.model_copy(update={"weights_digest": digest, "distance": distance})
    if (work / CALIBRATION).is_file():
        fitted = read_calibration(work / CALIBRATION)
        update = {"temperature": fitted.temperature, "conformal": fitted.conformal}
        written = written.model_copy(update=update)
    write_text(folder / RECIPE, recipe.model_dump_json(indent=2) + "\n")
    write_text(folder / CARD, written.model_dump_json(indent=2) + "\n")
    return written


def read_calibration(path: Path) -> Calibration:
    """What was fitted on val when the training ended.

    Raises:
        ServingError: the file is missing or damaged.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ServingError(
            f"{path} holds no calibration: {error}. Remove it and {REFERENCE} beside it, and materialise the "
            "asset `model` again: both are fitted anew"
        ) from error


def read_package(
    weights: Path, card: Path, recipe: Path, reference: Path | None = None
) -> tuple[ModelCard, Recipe]:
    """Card and recipe of a package, checked against each other, this code and the bytes of the other files.

    Raises:
        ServingError: a file is missing or broken, or one of them belongs to another model.
    """
    found = read_card(card)
    try:
        stored = recipe.read_text(encoding="utf-8")
        spec = Recipe.model_validate_json(stored)
    except (OSError, ValidationError) as error:
        raise ServingError(f"{recipe} is no recipe that this code can read: {error}") from error
    check_card(found, spec, digest_json(json.loads(stored)))
    _check_bytes(weights, "weights", found.weights_digest, found)
    if found.distance is not None:
        _check_bytes(reference, "reference", found.distance.digest, found)
    return found, spec


def _check_bytes(path: Path | None, what: str, digest: str, card: ModelCard) -> None:
    if path is None or not path.is_file() or digest_file(path) != digest:
        raise ServingError(
            f"{path or 'no file'} does not hold the {what} that the card of model {card.model_id} names "
            f"(SHA-256 {digest[:12]}…). Package the training again."
        )
