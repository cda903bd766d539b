"""What a training is given, what it gives back, and whom it tells: plain data, importable without torch."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import Field

from pipeline.catalog import Degradation
from pipeline.digests import digest_json
from pipeline.recipe import Recipe, Strict

# Fields of a recipe that people read and training does not.
PROSE = frozenset({"title", "description", "source", "notes", "profiles", "seeds"})


class TrainingSpec(Strict):
    """Everything that a training process needs to know; it travels as JSON."""

    recipe: Recipe
    protocol: str = Field(description="how train, val and test were split")
    seed: int = Field(ge=0, description="seed of weights, order, augmentation and dropout")
    split: str = Field(description="path of the `splits` table, a Parquet file")
    folders: dict[str, str] = Field(description="collection -> its raw folder")
    cache: str = Field(description="folder of the decoded images")
    patients: str = Field(
        "", description="path of the `patients` table, for the boxes; empty = none are learnt"
    )
    work: str = Field(description="folder of this training: checkpoints, history, result")
    weights: str = Field("", description="folder of ImageNet weights, looked in before timm's cache and hub")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:<n> or mps")
    threads: int = Field(1, ge=1, description="CPU threads; another number gives other last bits")
    workers: int = Field(1, ge=1, description="processes that decode images; changes no result")
    degradations: dict[str, Degradation] = Field({}, description="the catalog's degradations")
    data_digest: str = Field(description="digest of the split table and of what it was made from")
    model_id: str = Field(description="digest of recipe, protocol, seed and training data")

    def describe_identity(self) -> dict[str, Any]:
        """What makes two trainings the same one: dotted field -> value, prose of the recipe left out."""
        fields = self.model_dump(mode="json", include={"model_id", "data_digest", "protocol", "seed"})
        return flatten(fields | {"recipe": self.recipe.model_dump(mode="json", exclude=set(PROSE))})


class TrainingResult(Strict):
    """What came of a training; stored as `result.json`, whose presence means complete."""

    model_id: str
    recipe: str = Field(description="recipe name in the catalog")
    protocol: str
    seed: int
    identity: str = Field(description="digest of `TrainingSpec.describe_identity`")
    best_epoch: int = Field(ge=1, description="epoch whose weights are in best.safetensors, from 1")
    epochs: int = Field(ge=1, description="epochs trained")
    monitor: str = Field(description="name of the figure that chose the epoch")
    monitor_value: float = Field(description="its value at best_epoch")
    val: dict[str, float] = Field(description="loss, accuracy and macro_f1 on val at best_epoch")
    parameters: int = Field(description="numbers that the model holds, buffers left out")
    trainable_parameters: int = Field(description="of these, not frozen in the last stage")
    n_train: int
    n_val: int
    device: str
    precision: str = Field(description="arithmetic of the training steps; validation is in fp32")
    why: dict[str, str] = Field(description="the reason of each automatic choice")
    seconds: float = Field(ge=0, description="wall time of the finished epochs; in no table")


class Reporter(Protocol):
    """Whom a training tells how it goes. An epoch is told at least once, after its checkpoint is on disk."""

    def started(self, facts: Mapping[str, str]) -> None:
        """Called before the first step: device, precision, sizes and reasons, as text.

        And again where a batch did not fit the device's memory, with what changed.
        """

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        """Called after each epoch (from 1): the history row, images_per_second and seconds_left."""


class SilentReporter:
    """A reporter that tells nobody."""

    def started(self, facts: Mapping[str, str]) -> None:
        """Do nothing."""

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        """Do nothing."""


def digest_identity(spec: TrainingSpec) -> str:
    """SHA-256 of what makes two trainings the same one."""
    return digest_json(spec.describe_identity())


def flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
