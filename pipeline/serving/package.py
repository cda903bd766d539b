"""The package of a trained model: a folder with its weights, its card and its recipe, and nothing pickled."""

import shutil
from pathlib import Path

from pydantic import ValidationError

from pipeline.atomic import write_text
from pipeline.digests import digest_file
from pipeline.errors import ServingError
from pipeline.recipe import Recipe
from pipeline.serving.card import ModelCard, check_card, read_card

WEIGHTS = "best.safetensors"
CARD = "card.json"
RECIPE = "recipe.json"


def write_package(folder: Path, work: Path, recipe: Recipe, card: ModelCard) -> ModelCard:
    """Put weights, recipe and card of the training in `work` into `folder`; the card is written last.

    A package is a function of its arguments: a second call writes the same bytes.

    Returns:
        The card as written, with the digest of the weights.

    Raises:
        ServingError: there are no weights, or card and recipe do not belong together.
    """
    weights = work / WEIGHTS
    if not weights.is_file():
        raise ServingError(f"{weights} does not exist: the training in {work} has not ended; train it first")
    check_card(card, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    written = card.model_copy(update={"weights_digest": digest_file(folder / WEIGHTS)})
    write_text(folder / RECIPE, recipe.model_dump_json(indent=2) + "\n")
    write_text(folder / CARD, written.model_dump_json(indent=2) + "\n")
    return written


def read_package(weights: Path, card: Path, recipe: Path) -> tuple[ModelCard, Recipe]:
    """Card and recipe of a package, checked against each other, this code and the weights' bytes.

    Raises:
        ServingError: a file is missing or broken, or one of them belongs to another model.
    """
    found = read_card(card)
    try:
        spec = Recipe.model_validate_json(recipe.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ServingError(f"{recipe} is no recipe that this code can read: {error}") from error
    check_card(found, spec)
    if not weights.is_file() or digest_file(weights) != found.weights_digest:
        raise ServingError(
            f"{weights} does not hold the weights that the card of model {found.model_id} names "
            f"(SHA-256 {found.weights_digest[:12]}…). Package the training again."
        )
    return found, spec
