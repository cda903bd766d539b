"""What is fitted on val when a training has ended: calibration, and how far from train is too far."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.atomic import write_text
from pipeline.digests import digest_bytes
from pipeline.evaluation.calibration import fit_temperature
from pipeline.evaluation.conformal import COVERAGE, fit_threshold
from pipeline.evaluation.predictions import Answers
from pipeline.recipe import Recipe
from pipeline.serving.answers import weigh_logits
from pipeline.serving.card import Calibration, Conformal
from pipeline.serving.distance import (
    QUANTILE,
    REFERENCE,
    Eye,
    Reference,
    Ruler,
    load_reference,
    save_reference,
)
from pipeline.serving.package import CALIBRATION, read_calibration
from pipeline.training.batches import Part, load_parts
from pipeline.training.devices import choose_device
from pipeline.training.inference import load_model
from pipeline.training.models import Network
from pipeline.training.spec import TrainingSpec

MOST_IMAGES = 1000  # of train, and of val: more cost time in each answer
LEAST_SCALE = 0.01  # of the median spread: a channel that is dead in training must not decide alone


def fit_reference(
    model: Network, recipe: Recipe, train: Part, val: Part, *, device: str = "cpu"
) -> Reference:
    """Features of up to 1,000 training images, and the distances of up to 1,000 val images to them.

    Which images those are follows from their ids alone, never from their order. A picture that lies in train
    and in val, as under `published`, brings the threshold down: more genuine images are refused then.

    Args:
        model: in evaluation mode, on `device`.
    """
    eye = Eye(model, recipe)
    known = eye.look(train.images[_choose(train.image_ids)].cpu().numpy(), device=device)[1]
    mean, spread = known.mean(axis=0), known.std(axis=0)
    scale = np.maximum(spread, max(LEAST_SCALE * float(np.median(spread)), 1e-6)).astype(np.float32)
    empty = Reference(((known - mean) / scale).astype(np.float16), mean, scale, np.empty(0))
    others = eye.look(val.images[_choose(val.image_ids)].cpu().numpy(), device=device)[1]
    return Reference(empty.features, mean, scale, np.sort(Ruler(empty).measure(others)))


def fit_calibration(model: Network, recipe: Recipe, val: Part, *, device: str = "cpu") -> Calibration:
    """Temperature and conformal threshold of a model, as the evaluation fits them, on all of val.

    Args:
        model: in evaluation mode, on `device`.
    """
    logits, _ = Eye(model, recipe).look(val.images.cpu().numpy(), device=device)
    answers = Answers(val.labels.cpu().numpy(), weigh_logits(logits, None), np.arange(len(val)))
    # The evaluation's score is 1 - p. Without a threshold, as val is too small, every class is in the set.
    least = max(0.0, 1 - fit_threshold(answers))
    return Calibration(
        temperature=fit_temperature(answers),
        conformal=Conformal(coverage=COVERAGE, threshold=least),
        val_images=len(val),
    )


def write_fitted(spec: TrainingSpec) -> str:
    """Fit calibration and reference of a finished training into its work folder, unless they are there.

    Returns:
        A line on both, for a person.

    Raises:
        CheckpointError: the training has not ended.
        TrainingError: its images are gone, or the device is missing.
        ServingError: what was fitted before is damaged.
    """
    path = Path(spec.work) / REFERENCE
    if not (path.is_file() and path.with_name(CALIBRATION).is_file()):
        model = load_model(spec.work, spec.recipe)
        device = choose_device(spec.device, model, threads=spec.threads).name
        train, val = load_parts(spec)
        fitted = fit_calibration(model.to(device), spec.recipe, val, device=device)
        write_text(path.with_name(CALIBRATION), fitted.model_dump_json(indent=2) + "\n")
        save_reference(path, fit_reference(model, spec.recipe, train, val, device=device))
    found, calibrated = load_reference(path), read_calibration(path.with_name(CALIBRATION))
    return (
        f"logits are divided by {calibrated.temperature:.2f}; images farther than {found.threshold:.3f} from "
        f"{len(found.features):,} training images are refused, as {1 - QUANTILE:.0%} of {len(found.val):,} "
        "val images would be"
    )


def _choose(ids: Sequence[str]) -> list[int]:
    """Rows of distinct images, as many as are kept, in an order that only their ids decide."""
    first = {image_id: row for row, image_id in reversed(list(enumerate(ids)))}
    return [first[one] for one in sorted(first, key=lambda one: digest_bytes(one.encode()))[:MOST_IMAGES]]
