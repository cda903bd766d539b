"""A recipe: everything that a training is, in one YAML file. Field descriptions are the help text."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Base of all catalog types: unknown fields are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Share = Annotated[float, Field(ge=0, le=1)]

STILL = frozenset({"hflip", "saturation", "crop_ratio", "degradations", "min_severity", "max_severity"})
"""Fields of `augment` that leave an image as it is, or mirrored."""


class DataSpec(Strict):
    """Which images a recipe is trained and tested on."""

    collections: tuple[str, ...] = Field((), description="collections used; empty means all in the profile")
    copies: Literal["one", "all"] = Field(
        "one",
        description="one: of the copies of a picture, the best one in these collections (see "
        "pipeline/curation/copies.py); all: every copy. Under published and stratified every file counts",
    )
    labels: Literal["true", "shuffled"] = Field(
        "true",
        description="shuffled: a control, trained on labels that the seed shuffled within the training part; "
        "it must score chance, and is never released",
    )
    sampling: Literal["once", "balanced"] = Field(
        "once",
        description="once: an epoch is every training image once; balanced: as many images, each class "
        "equally often, those of a class in turn: none comes again before all have come",
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
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        description="alpha of Beta(alpha, alpha), which draws the share that an image keeps where another of "
        "its batch is mixed in, label and all; 0 = no mixup",
    )
    degrade: Share = Field(0.0, description="probability of one random degradation of random severity")
    degradations: tuple[str, ...] = Field(
        (), description="which degradations; empty means all in the catalog"
    )
    min_severity: int = Field(1, ge=1, le=5, description="mildest level used in training")
    max_severity: int = Field(3, ge=1, le=5, description="severest level used in training")

    def list_moving(self) -> list[str]:
        """The fields that make an image another one in each epoch; a mirror image counts as the same."""
        plain, fields = AugmentSpec(), self.model_dump()
        return [name for name in fields if name not in STILL and fields[name] != getattr(plain, name)]

    @model_validator(mode="after")
    def _ranges_rise(self) -> "AugmentSpec":
        if self.min_severity > self.max_severity:
            raise ValueError("min_severity: must not exceed max_severity")
        low, high = self.crop_scale or (1.0, 1.0)
        if not 0 < low <= high <= 1:
            raise ValueError("crop_scale: give [low, high] with 0 < low <= high <= 1")
        low, high = self.crop_ratio
        if not 0 < low <= high:
            raise ValueError("crop_ratio: give [low, high] with 0 < low <= high")
        return self


class ModelSpec(Strict):
    """The network. `name` is one of ours (`cnn3`, `cnn4`, `slim`) or `timm:<name>`."""

    name: str = Field(
        pattern=r"^(cnn3|cnn4|slim|timm:[A-Za-z0-9_.]+)$",
        description="which network; timm: needs timm's name",
    )
    weights: str = Field(
        "none",
        pattern=r"^(none|imagenet|.+\.safetensors)$",
        description="none, imagenet, or a path to a safetensors file",
    )
    freeze: Share = Field(0.0, description="share of the backbone's first layers that never train")
    head: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="widths of dense ReLU layers before the classifier"
    )
    batch_norm: bool = Field(False, description="batch normalisation after each dense layer of the head")
    hidden_dropout: Share = Field(0.0, description="dropout after each dense layer of the head but the last")
    dropout: Share = Field(0.0, description="dropout before the classifier")
    pool: Literal["mean", "attention"] = Field(
        "mean",
        description="what the head of slim or of timm's network is given: mean: of each feature map its mean "
        "(timm: its own pooling); attention: beside it the mean over the places that the network attends to, "
        "which loss.box teaches",
    )
    mirror: bool = Field(
        False,
        description="true: the trained network is asked about an image and its left–right mirror image, and "
        "answers with the mean of both logits; training is the same",
    )
    stochastic_depth: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="slim alone: how often training skips the last residual block, image by image; the "
        "blocks before it less, in a line",
    )


class LossSpec(Strict):
    """Cross-entropy and its variants."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: n / (classes × n of the class), from the training part"
    )
    box: float = Field(
        0.0,
        ge=0,
        le=100,
        description="weight of the loss of the tumour's box, where the reference knows one: with model.pool "
        "attention the network learns to attend to it; else, with slim alone, a second head learns it, which "
        "is dropped afterwards; 0 = none",
    )


class OptimiserSpec(Strict):
    """The optimiser; `lr` is the peak."""

    name: Literal["sgd", "adam", "adamw"] = Field("adamw", description="the method")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adamw, added to the gradient otherwise")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum, for sgd")


class ScheduleSpec(Strict):
    """How the learning rate moves."""

    name: Literal["constant", "cosine", "linear", "plateau"] = Field(
        "constant", description="constant; to 0 by cosine or in a line; plateau: falls when val stands still"
    )
    warmup_epochs: float = Field(0.0, ge=0, description="linear rise from 0; not for plateau")
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: multiply by this")
    patience: int = Field(3, ge=0, description="plateau: after this many epochs without gain")


class StageSpec(Strict):
    """One stage of a training in stages: what is frozen, how fast it learns, and how long.

    Each stage starts from the weights that the one before ended with, with a fresh optimiser, and with the
    schedule from its beginning.
    """

    epochs: int = Field(ge=1, description="epochs at most; stopping.patience may end the stage earlier")
    freeze: Share = Field(0.0, description="as model.freeze, in this stage")
    lr_factor: float = Field(1.0, gt=0, le=1, description="the stage's peak rate, as a share of optimiser.lr")


class PretrainingSpec(Strict):
    """Learning without labels, on the training images, before the first epoch.

    Two views of each image are drawn, and the backbone learns to tell that they are one image (SimSiam, see
    pipeline/training/pretraining.py). The rate rises over the first epoch and falls to 0 by cosine.
    """

    epochs: int = Field(ge=1, description="passes over the training images, all of them trained")
    lr_factor: float = Field(1.0, gt=0, le=10, description="peak rate, as a share of optimiser.lr")
    augment: AugmentSpec = Field(description="how each view is drawn; mixup has no place here")


class StoppingSpec(Strict):
    """When training ends and which epoch is best."""

    epochs: int = Field(ge=1, description="epochs at most; with stages their sum")
    patience: int | None = Field(
        None,
        ge=1,
        description="stop (in stages: go to the next) after so many epochs without gain; null = never",
    )
    monitor: Literal["val_loss", "val_accuracy", "val_macro_f1"] = Field(
        "val_macro_f1", description="what is watched on val"
    )
    keep: Literal["best", "last"] = Field(
        "best", description="which epoch's weights become the model: the best by monitor, or the last"
    )


class Recipe(Strict):
    """One recipe: `name` is the file's name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,39}$", description="what everything else calls it")
    title: str = Field(description="for a person")
    description: str = Field(description="what it is, in two sentences")
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
    pretraining: PretrainingSpec | None = Field(
        None, description="learning without labels before the first epoch; null = none"
    )
    stages: tuple[StageSpec, ...] = Field(
        (), description="fine-tuning in stages, each with its own frozen part and rate; empty = one stage"
    )
    batch_size: int = Field(64, ge=1, le=4096, description="images a step")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the averaged weights; null = none")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="one training each")
    notes: dict[str, str] = Field({}, description="figures of the source, figures of ours, choices made")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Recipe":
        mistakes = list(self._find_misfits())
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def is_control(self) -> bool:
        """Whether this recipe is there to score chance."""
        return self.data.labels == "shuffled"

    def list_stages(self) -> tuple[StageSpec, ...]:
        """The stages; a recipe that names none has one, of `model.freeze` and the full rate."""
        return self.stages or (StageSpec(epochs=self.stopping.epochs, freeze=self.model.freeze),)

    def _find_misfits(self) -> Iterator[str]:
        stages = self.list_stages()
        planned = sum(stage.epochs for stage in stages)
        if self.input.normalise == "backbone" and not self.model.name.startswith("timm:"):
            yield "input.normalise: backbone needs a model named timm:<name>; use unit or half"
        yield from self._find_model_misfits(stages[-1])
        if self.loss.box and any(stage.freeze == 1 for stage in stages):
            yield "loss.box: a backbone that is wholly frozen learns nothing from it; leave it out"
        yield from self._find_pretraining_misfits(stages[0])
        if self.data.sampling == "balanced" and self.loss.class_weights == "balanced":
            yield "data.sampling: class weights balance already; set loss.class_weights: none, or once"
        if self.schedule.name == "plateau" and self.schedule.warmup_epochs:
            yield "schedule.warmup_epochs: plateau has no warm-up; set it to 0"
        if planned != self.stopping.epochs:
            yield f"stopping.epochs: is {self.stopping.epochs}, but the stages sum to {planned}"
        if self.stages and self.model.freeze:
            yield "model.freeze: the stages say what is frozen; leave it out"
        if any(self.schedule.warmup_epochs >= stage.epochs for stage in stages):
            limit = "the epochs of each stage" if self.stages else "stopping.epochs"
            yield f"schedule.warmup_epochs: must be less than {limit}"
        if self.model.weights == "none" and any(stage.freeze for stage in stages):
            field = "stages: freeze" if self.stages else "model.freeze"
            yield f"{field}: random layers would stay random; set model.weights or freeze: 0"

    def _find_model_misfits(self, last: StageSpec) -> Iterator[str]:
        if self.model.stochastic_depth and self.model.name != "slim":
            yield "model.stochastic_depth: only slim has blocks to skip; leave it out"
        if self.model.pool != "mean" and self.model.name in ("cnn3", "cnn4"):
            yield "model.pool: slim and timm's networks can attend, cnn3 and cnn4 cannot; leave it out"
        if self.loss.box and self.model.name != "slim" and self.model.pool == "mean":
            yield (
                "loss.box: only slim has a place for a second head; leave it out, or set "
                "model.pool: attention"
            )
        if self.model.pool != "mean" and self.model.weights == "imagenet" and last.freeze == 1:
            yield (
                "model.pool: attention is learnt, and ImageNet weights hold none; freeze less of the "
                "backbone, or set model.pool: mean"
            )
        if self.model.mirror and not self.augment.hflip:
            yield "model.mirror: training never shows a mirror image; set augment.hflip, or leave it out"

    def _find_pretraining_misfits(self, first: StageSpec) -> Iterator[str]:
        if self.pretraining is None:
            return
        if first.freeze:
            field = "stages: freeze" if self.stages else "model.freeze"
            yield f"pretraining: changes the whole backbone, but {field} holds some of it; set it to 0"
        if self.pretraining.augment.mixup:
            yield "pretraining.augment.mixup: a view is of one image; leave it out"
        if not self.pretraining.augment.list_moving():
            yield "pretraining.augment: both views would be the same; let something vary, crop_scale say"
