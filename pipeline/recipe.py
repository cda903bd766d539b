"""A recipe: everything that a training is, in one YAML file. Field descriptions are the help text."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Base of all catalog types: unknown fields are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Share = Annotated[float, Field(ge=0, le=1)]


class DataSpec(Strict):
    """Which images a recipe is trained and tested on."""

    collections: tuple[str, ...] = Field((), description="collections used; empty means all in the profile")
    copies: Literal["one", "all"] = Field(
        "one",
        description="one: of the copies of a picture, the best one in these collections (see "
        "pipeline/curation/copies.py); all: every copy. Under published and stratified every file counts",
    )


class InputSpec(Strict):
    """What the model sees."""

    size: int = Field(224, ge=16, le=1024, description="side of the square input, pixels")
    channels: Literal[1, 3] = Field(3, description="1 = grey; 3 = grey repeated, for RGB backbones")
    normalise: Literal["unit", "half", "backbone"] = Field(
        "half", description="unit: [0, 1]; half: [-1, 1]; backbone: the mean and std of the model's weights"
    )


class AugmentSpec(Strict):
    """Random changes of training images; each is drawn per (seed, epoch, image)."""

    hflip: Share = Field(0.0, description="probability of a left–right mirror")
    rotate: float = Field(0.0, ge=0, le=180, description="rotation drawn from ± this, degrees")
    crop_scale: tuple[float, float] | None = Field(
        None, description="area range of a random resized crop, shares; null = no crop"
    )
    crop_ratio: tuple[float, float] = Field((0.75, 1.3333), description="aspect range of the crop")
    brightness: float = Field(0.0, ge=0, le=1, description="factor drawn from 1 ± this")
    contrast: float = Field(0.0, ge=0, le=1, description="factor about the image's mean, from 1 ± this")
    saturation: float = Field(0.0, ge=0, le=1, description="as in the source; no effect on grey images")
    gamma: float = Field(0.0, ge=0, le=2, description="exponent drawn from exp(± this)")
    degrade: Share = Field(0.0, description="probability of one random degradation of random severity")
    degradations: tuple[str, ...] = Field(
        (), description="which degradations; empty means all in the catalog"
    )
    max_severity: int = Field(3, ge=1, le=5, description="severest level used in training")

    @model_validator(mode="after")
    def _ranges_rise(self) -> "AugmentSpec":
        low, high = self.crop_scale or (1.0, 1.0)
        if not 0 < low <= high <= 1:
            raise ValueError("crop_scale: give [low, high] with 0 < low <= high <= 1")
        low, high = self.crop_ratio
        if not 0 < low <= high:
            raise ValueError("crop_ratio: give [low, high] with 0 < low <= high")
        return self


class ModelSpec(Strict):
    """The network. `name` is one of ours (`cnn3`, `cnn4`, `slim`) or `timm:<name>`."""

    name: str = Field(pattern=r"^(cnn3|cnn4|slim|timm:[A-Za-z0-9_.]+)$")
    weights: str = Field("none", description="none, imagenet, or a path to a safetensors file")
    freeze: Share = Field(0.0, description="share of the backbone's first layers that never train")
    head: tuple[int, ...] = Field((), description="widths of dense ReLU layers before the classifier")
    batch_norm: bool = Field(False, description="batch normalisation after each dense layer of the head")
    dropout: Share = Field(0.0, description="dropout before the classifier")


class LossSpec(Strict):
    """Cross-entropy and its variants."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: n / (classes × n of the class), from the training part"
    )


class OptimiserSpec(Strict):
    """The optimiser; `lr` is the peak."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum, for sgd")


class ScheduleSpec(Strict):
    """How the learning rate moves."""

    name: Literal["constant", "cosine", "linear", "plateau"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0, description="linear rise from 0; not for plateau")
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: multiply by this")
    patience: int = Field(3, ge=0, description="plateau: after this many epochs without gain")


class StoppingSpec(Strict):
    """When training ends and which epoch is best."""

    epochs: int = Field(ge=1, description="epochs at most")
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without gain; null = never"
    )
    monitor: Literal["val_loss", "val_accuracy", "val_macro_f1"] = "val_macro_f1"
    keep: Literal["best", "last"] = Field(
        "best", description="which epoch's weights become the model: the best by monitor, or the last"
    )


class Recipe(Strict):
    """One recipe: `name` is the file's name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")
    title: str
    description: str
    source: str = Field(description="R1 to R5, or ours")
    profiles: tuple[Literal["demo", "kaggle", "folder"], ...] = Field(
        ("kaggle", "folder"), description="profiles that the recipe is meant for"
    )
    data: DataSpec = DataSpec()
    input: InputSpec = InputSpec()
    augment: AugmentSpec = AugmentSpec()
    model: ModelSpec
    loss: LossSpec = LossSpec()
    optimiser: OptimiserSpec = OptimiserSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    stopping: StoppingSpec
    batch_size: int = Field(64, ge=1, le=4096)
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the averaged weights; null = none")
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    notes: dict[str, str] = Field({}, description="figures of the source, figures of ours, choices made")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Recipe":
        if self.input.normalise == "backbone" and not self.model.name.startswith("timm:"):
            raise ValueError("input.normalise: backbone needs a model named timm:<name>; use unit or half")
        if self.schedule.name == "plateau" and self.schedule.warmup_epochs:
            raise ValueError("schedule.warmup_epochs: plateau has no warm-up; set it to 0")
        if self.schedule.warmup_epochs >= self.stopping.epochs:
            raise ValueError("schedule.warmup_epochs: must be less than stopping.epochs")
        if self.model.freeze and self.model.weights == "none":
            raise ValueError("model.freeze: random layers would stay random; set model.weights or freeze: 0")
        return self
