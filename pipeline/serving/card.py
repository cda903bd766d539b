"""The contract of a packaged model: what it takes and gives, what it was trained behind, and its limits."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.digests import digest_json
from pipeline.errors import ServingError
from pipeline.labels import LABELS
from pipeline.recipe import Recipe, Strict

CARD_VERSION: Literal[1] = 1

# What the packaged model imports; the versions that it was trained with are written into its card.
REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "pillow",
    "opencv-python-headless",
    "h5py",
    "pyarrow",
    "pydicom",
    "numpy",
    "pandas",
    "pydantic",
    "pyyaml",
)

INTENDED_USE = (
    "Research on and teaching about public collections of two-dimensional brain MRI slices: "
    "which of glioma, meningioma, pituitary tumour or no tumour a slice is labelled with."
)
LIMITS = (
    "One grey slice at a time, without sequence, orientation or clinical context.",
    "What is plainly no brain MR slice, or far from the training images, is refused; all else gets one of "
    "four labels, whatever it shows.",
    "Probabilities follow the training collections' class shares, not those of any clinic.",
    "Not validated on patients outside the public collections that it was trained on.",
)
SCOPE = "Research software, not a medical device."
DISCLAIMER = f"{SCOPE} Not for diagnosis, treatment or triage."


class Conformal(Strict):
    """How prediction sets are cut (Sadinle et al. 2019, arXiv 1609.00451); a set may be empty.

    The probabilities are those of the network, without the temperature, which was fitted on the same val
    images.
    """

    coverage: float = Field(gt=0, lt=1, description="share of images whose label is in the set, at least")
    threshold: float = Field(
        ge=0,
        le=1,
        description="least probability of a class in the set: 1 - quantile of 1 - p(label)",
    )


class Calibration(Strict):
    """What was fitted on val: how sure the model may sound, and which classes a set keeps."""

    temperature: float = Field(gt=0, description="what logits are divided by before the softmax")
    conformal: Conformal
    val_images: int = Field(ge=1, description="val images that both were fitted on")


class Distance(Strict):
    """How far from the training images is too far; see `pipeline.serving.distance`."""

    neighbours: int = Field(ge=1, description="which nearest training image the distance is measured to")
    threshold: float = Field(ge=0, description="images at a greater distance are refused")
    quantile: float = Field(gt=0, lt=1, description="share of val images that the threshold lets through")
    train_images: int = Field(ge=1, description="training images in the reference")
    val_images: int = Field(ge=1, description="val images that the threshold was taken from")
    digest: str = Field(description="SHA-256 of the reference file")


class ModelCard(Strict):
    """Everything that a predictor checks, and a person should know, about one trained model."""

    card_version: Literal[1] = CARD_VERSION
    model_id: str = Field(description="digest of recipe, protocol, seed and training data")
    recipe: str = Field(description="recipe name in the catalog")
    recipe_digest: str = Field(description="SHA-256 of the recipe, as `digest_recipe` gives it")
    title: str = Field("", description="the recipe's title")
    protocol: str = Field(description="how the test set was chosen")
    seed: int = Field(ge=0, description="seed of the training")
    data_digest: str = Field(description="digest of the training data")
    gate: str = Field(description="verdict of the gate that it was trained behind: passed, or the leaks")
    classes: tuple[str, ...] = Field(description="the classes, in the order of the outputs")
    size: int = Field(ge=1, description="side of the square input, pixels")
    channels: Literal[1, 3] = Field(description="channels of the network's input")
    normalise: str = Field(description="scale of the network's input: unit, half or backbone")
    weights_digest: str = Field("", description="SHA-256 of the weights file; set when it is packaged")
    val: dict[str, float] = Field({}, description="figures on val at the best epoch")
    temperature: float | None = Field(
        None, gt=0, description="what logits are divided by before the softmax; none = not calibrated"
    )
    conformal: Conformal | None = Field(None, description="how prediction sets are cut; none = no sets")
    distance: Distance | None = Field(
        None,
        description="which images are too far from the training images; none = none is refused for it",
    )
    versions: dict[str, str] = Field(description="package -> version that trained and packaged the model")
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS
    disclaimer: str = DISCLAIMER


def write_card(
    recipe: Recipe,
    *,
    protocol: str,
    seed: int,
    model_id: str,
    data_digest: str,
    gate: str,
    val: Mapping[str, float],
) -> ModelCard:
    """The card of a training that has just ended, with the versions of the packages at hand.

    Args:
        gate: verdict of the gate that the model was trained behind.
        val: figures on val at the best epoch.
    """
    return ModelCard(
        model_id=model_id,
        recipe=recipe.name,
        recipe_digest=digest_recipe(recipe),
        title=recipe.title,
        protocol=protocol,
        seed=seed,
        data_digest=data_digest,
        gate=gate,
        classes=LABELS,
        size=recipe.input.size,
        channels=recipe.input.channels,
        normalise=recipe.input.normalise,
        val={name: float(value) for name, value in val.items()},
        versions=installed_versions(),
    )


def digest_recipe(recipe: Recipe) -> str:
    """SHA-256 of a recipe's fields, prose included."""
    return digest_json(recipe.model_dump(mode="json"))


def installed_versions() -> dict[str, str]:
    """Package -> installed version, of all that a packaged model imports; build tags (`+cpu`) left out."""
    return {name: version(name).partition("+")[0] for name in REQUIREMENTS}


def check_card(card: ModelCard, recipe: Recipe, digest: str | None = None) -> None:
    """Refuse to serve a model under another contract than the one that it was trained under.

    Args:
        digest: of the recipe as it was stored, so that a field that recipes have gained since, and that this
            one leaves at its default, does not make it another one; that of `recipe` by default.

    Raises:
        ServingError: classes or their order, the recipe, or torch's major.minor version differ from the card.
    """
    here, digest = installed_versions()["torch"], digest or digest_recipe(recipe)
    if card.classes != LABELS:
        raise ServingError(
            f"model {card.model_id}: its card lists the classes {', '.join(card.classes)}; this code answers "
            f"{', '.join(LABELS)}, in that order. Serve it with the code that it was packaged with."
        )
    if card.recipe != recipe.name or card.recipe_digest != digest:
        raise ServingError(
            f"model {card.model_id}: its card is for recipe {card.recipe!r} with digest "
            f"{card.recipe_digest[:12]}…, the packaged recipe is {recipe.name!r} with digest "
            f"{digest[:12]}…. Package it again."
        )
    if _minor(here) != _minor(card.versions.get("torch", "unknown")):
        raise ServingError(
            f"model {card.model_id} was packaged with torch {card.versions.get('torch', 'unknown')}, found "
            f"torch {here}; answers are promised for one major.minor version. Install the model's "
            "requirements.txt, or train it again."
        )


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file.

    Raises:
        ServingError: the file is missing, or is no card that this code knows; names each wrong field.
    """
    try:
        return ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ServingError(f"{path} is no model card that this code can read: {error}") from error


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
