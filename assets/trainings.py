"""Trainings before they start: what each is given, the id that its content gives, whether it is done."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from assets.materials import code_version
from pipeline.catalog import Degradation
from pipeline.digests import digest_file, digest_json
from pipeline.errors import TrainingError
from pipeline.protocols import protocol_path, split_table
from pipeline.recipe import Recipe
from pipeline.training.spec import PROSE, TrainingResult, TrainingSpec
from resources.lake import Lake
from resources.launchers import spec_root
from resources.raw import RawStore
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

CODE = code_version("training", "recipe.py", "imaging", "curation/copies.py")
CONTROL = "control, labels shuffled within the training part: it must score chance, and is never released"


def specify_all(
    recipe: Recipe, protocol: str, lake: Lake, raw_store: RawStore, trainer: Trainer
) -> list[TrainingSpec]:
    """The trainings of one partition, a seed each: the recipe's seeds, or as many as the settings say."""
    seeds = range(trainer.seeds) if trainer.seeds else recipe.seeds
    return [specify_training(recipe, protocol, seed, lake, raw_store, trainer) for seed in seeds]


def specify_training(
    recipe: Recipe, protocol: str, seed: int, lake: Lake, raw_store: RawStore, trainer: Trainer
) -> TrainingSpec:
    """Everything that a training is, with the id that its content gives it."""
    data_digest = digest_data(recipe, protocol, lake)
    degradations = choose_degradations(recipe, raw_store.catalog.degradations)
    identity = {
        "recipe": identify_recipe(recipe),
        "protocol": protocol,
        "seed": seed,
        "data": data_digest,
        "degradations": {name: entry.model_dump() for name, entry in degradations.items()},
        "code": CODE,
    }
    model_id = digest_json(identity)[:24]
    return TrainingSpec(
        recipe=recipe,
        protocol=protocol,
        seed=seed,
        split=str(lake.path(split_table(protocol))),
        folders={name: str(folder) for name, folder in raw_store.folders().items()},
        cache=str(raw_store.cache_root),
        patients=str(lake.path("patients")) if recipe.loss.box else "",
        work=str(work_folder(raw_store, recipe.name, protocol, seed, model_id)),
        weights=trainer.weights,
        device=trainer.device,
        threads=trainer.threads,
        workers=trainer.workers,
        degradations=degradations,
        data_digest=data_digest,
        model_id=model_id,
    )


def choose_degradations(recipe: Recipe, known: Mapping[str, Degradation]) -> dict[str, Degradation]:
    """The degradations that a recipe trains on: those it names, else all; no other is part of its model."""
    changes = [recipe.augment, *([recipe.pretraining.augment] if recipe.pretraining else [])]
    used = (name for one in changes if one.degrade for name in one.degradations or sorted(known))
    return {name: known[name] for name in dict.fromkeys(used)}


def identify_recipe(recipe: Recipe) -> dict[str, Any]:
    """What a recipe gives to the name of its models: all but prose, and the content of a weights file.

    The file counts and not its place: another checkpoint under the same path is another model.
    """
    fields: dict[str, Any] = recipe.model_dump(mode="json", exclude=set(PROSE))
    path = Path(spec_root(), recipe.model.weights)
    if recipe.model.weights not in ("none", "imagenet") and path.is_file():
        state = path.stat()
        fields["model"]["weights"] = _digest_weights(path, state.st_mtime_ns, state.st_size)
    return fields


@lru_cache(maxsize=64)
def _digest_weights(path: Path, _changed: int, _size: int) -> str:
    return digest_file(path)


def digest_data(recipe: Recipe, protocol: str, lake: Lake) -> str:
    """Digest of the data that a recipe would be trained, validated and tested on as the lake is now."""
    split = lake.read(split_table(protocol))
    rows = digest_rows(split, recipe, protocol)
    return digest_json([rows, digest_boxes(lake.read("patients"), split)]) if recipe.loss.box else rows


def digest_rows(split: "pd.DataFrame", recipe: Recipe, protocol: str) -> str:
    """Digest of what a recipe trains, validates and is tested on: files, labels and places, no reasons."""
    used = select_rows(split, recipe, protocol)
    return digest_json(used[["image_id", "collection", "path", "label", "split"]].to_numpy().tolist())


def digest_boxes(patients: "pd.DataFrame", split: "pd.DataFrame") -> str:
    """Digest of the tumours' boxes in the training images of a split."""
    trained = split.loc[split["split"] == "train", "image_id"]
    rows = patients.loc[patients["image_id"].isin(trained) & patients["box_x"].notna()]
    shown = rows[["image_id", "box_x", "box_y", "box_w", "box_h"]].sort_values("image_id")
    return digest_json(shown.to_numpy().tolist())


def select_rows(split: "pd.DataFrame", recipe: Recipe, protocol: str) -> "pd.DataFrame":
    """The rows of a split that the recipe uses, train, val and test."""
    from pipeline.training.selection import select_used

    return select_used(split, recipe.data, ("train", "val", "test"), protocol=protocol)


def work_folder(raw_store: RawStore, recipe: str, protocol: str, seed: int, model_id: str) -> Path:
    """Where one training keeps its checkpoints, history and result."""
    return Path(raw_store.home) / "models" / recipe / protocol_path(protocol) / f"seed-{seed}" / model_id[:12]


def name_models(specs: Sequence[TrainingSpec]) -> str:
    """The data version of a partition of `model`: the model ids of all its seeds.

    It follows recipe, data and code, and is known before training: what it is now and what it was when the
    partition was materialised tell whether to train again.
    """
    return "-".join(spec.model_id for spec in specs)


def judge(recipe: Recipe, verdict: str) -> str:
    """The verdict that a model carries: the gate's, or that it is a control and nothing to be released."""
    return CONTROL if recipe.is_control else verdict


def run_key(spec: TrainingSpec) -> str:
    """What makes two MLflow runs the same: recipe, protocol, seed and model id."""
    return f"{spec.recipe.name}/{spec.protocol}/seed-{spec.seed}/{spec.model_id}"


def has_begun(work: Path) -> bool:
    """Whether a training has finished an epoch: from then on it needs no pretrained weights."""
    return (work / "last.pt").is_file() or (work / "result.json").is_file()


def is_trained(spec: TrainingSpec) -> bool:
    """Whether the training has come to its end and its files are still there."""
    return (Path(spec.work) / "result.json").is_file()


def is_fitted(spec: TrainingSpec) -> bool:
    """Whether the training has left what its packaged model needs besides weights: calibration, reference."""
    return all((Path(spec.work) / name).is_file() for name in ("calibration.json", "reference.safetensors"))


def read_result(work: Path) -> TrainingResult:
    """What came of the training whose folder is `work`.

    Raises:
        TrainingError: it did not finish, or its result is damaged.
    """
    path = work / "result.json"
    try:
        return TrainingResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainingError(
            f"{path} cannot be read, so this training counts as unfinished: {error}. Remove the file if it "
            "is there, and materialise the asset `model` for this recipe and protocol again"
        ) from error


def require_weights_of(specs: Sequence[TrainingSpec]) -> None:
    """Refuse trainings whose pretrained weights are not to be had, unless they have begun already.

    Raises:
        WeightsError: says which file is missing and what to do.
    """
    begins = [spec for spec in specs if not has_begun(Path(spec.work))]
    for spec in begins[:1]:
        require_weights(spec.recipe, spec.weights)


def require_weights(recipe: Recipe, folder: str) -> None:
    """Refuse a recipe whose pretrained weights are not to be had; a recipe without any costs nothing.

    Args:
        folder: where ImageNet weights are looked for first.

    Raises:
        WeightsError: says which file is missing and what to do.
    """
    if recipe.model.weights == "none":
        return
    from pipeline.training import models  # torch, which a recipe without weights need not wait for

    models.require_weights(recipe, folder=folder)
