"""The reference of a trained model: which training images it keeps, and how far val lies from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.digests import digest_bytes
from pipeline.recipe import Recipe
from pipeline.serving.distance import (
    QUANTILE,
    REFERENCE,
    Eye,
    Reference,
    Ruler,
    load_reference,
    save_reference,
)
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


def write_reference(spec: TrainingSpec) -> str:
    """Fit the reference of a finished training into its work folder, unless it is there; says what it is.

    Raises:
        CheckpointError: the training has not ended.
        TrainingError: its images are gone, or the device is missing.
    """
    path = Path(spec.work) / REFERENCE
    if not path.is_file():
        model = load_model(spec.work, spec.recipe)
        device = choose_device(spec.device, model, threads=spec.threads).name
        parts = load_parts(spec)
        save_reference(path, fit_reference(model.to(device), spec.recipe, *parts, device=device))
    found = load_reference(path)
    return (
        f"images farther than {found.threshold:.3f} from {len(found.features):,} training images are "
        f"refused, as {1 - QUANTILE:.0%} of {len(found.val):,} val images would be"
    )


def _choose(ids: Sequence[str]) -> list[int]:
    """Rows of distinct images, as many as are kept, in an order that only their ids decide."""
    first = {image_id: row for row, image_id in reversed(list(enumerate(ids)))}
    return [first[one] for one in sorted(first, key=lambda one: digest_bytes(one.encode()))[:MOST_IMAGES]]
