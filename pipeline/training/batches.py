"""The images of a training, in memory; which of them make a batch is a function of (seed, epoch) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pipeline.digests import seed_for
from pipeline.errors import TrainingError
from pipeline.imaging.cache import ImageCache, open_cache
from pipeline.labels import LABELS
from pipeline.tables import from_arrow
from pipeline.training.selection import select_used
from pipeline.training.spec import TrainingSpec

Floats = NDArray[np.float64]
BOX = ("box_x", "box_y", "box_w", "box_h")


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Args:
        images: uint8 [n, size, size], grey.
        labels: int64 [n], index into `LABELS`.
        image_ids: n of them; one can come twice, with the label of its file.
        boxes: float64 [n, 4], centre x, centre y, width and height of the tumour's box as fractions of the
            image, NaN where none is known; none where boxes are not learnt.
    """

    images: torch.Tensor
    labels: torch.Tensor
    image_ids: tuple[str, ...]
    boxes: Floats | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: str) -> "Part":
        """The same images, held on a device: one copy, not one a batch.

        Raises:
            TrainingError: the device's memory does not hold them.
        """
        try:
            return replace(self, images=self.images.to(device), labels=self.labels.to(device))
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"{len(self):,} images, {self.images.numel() / 1e9:.1f} GB, do not fit the memory of "
                f"{device}; end what else runs there, set FALX_DEVICE=cpu, or copy the recipe with a smaller "
                "input.size"
            ) from error


def load_parts(spec: TrainingSpec) -> tuple[Part, Part]:
    """The train and the val part of a training, in an order that depends on content alone.

    Of a control the training part has its labels in another order, drawn from the seed; val keeps its own.

    Raises:
        TrainingError: the split table is missing, a part is empty, or train lacks a class.
        SourceError: a raw file is no longer the one that the table names.
    """
    rows = select_rows(spec)
    folders = {name: Path(folder) for name, folder in spec.folders.items()}
    size, root = spec.recipe.input.size, Path(spec.cache)
    cache = open_cache(rows, folders, size=size, root=root, workers=spec.workers)
    train, val = (_take_part(rows[rows["split"] == name], cache) for name in ("train", "val"))
    if spec.recipe.loss.box:
        train = replace(train, boxes=read_boxes(spec, train.image_ids))
    return (shuffle_labels(train, spec.seed) if spec.recipe.is_control else train), val


def read_boxes(spec: TrainingSpec, image_ids: Sequence[str]) -> Floats:
    """The tumour's box in each image, float64 [n, 4] (see `Part`), from the `patients` table.

    A network sees the whole image, squeezed to a square, so fractions stay what they are.

    Raises:
        TrainingError: the table is missing, or knows a box in none of the images.
    """
    path = Path(spec.patients)
    if not path.is_file():
        raise TrainingError(f"loss.box: no patients table at {path}; materialise patients first")
    table = from_arrow("patients", pq.read_table(path)).set_index("image_id")[list(BOX)]
    boxes: Floats = table.reindex(list(image_ids)).to_numpy(np.float64)
    if np.isnan(boxes).any(axis=1).all():
        raise TrainingError(
            f"loss.box: no box is known in the {len(boxes):,} training images of recipe "
            f"{spec.recipe.name!r}; bring in the reference collection, or leave loss.box out"
        )
    return boxes


def shuffle_labels(part: Part, seed: int) -> Part:
    """The same images and the same labels, each image with the label of one that was drawn for it."""
    generator = torch.Generator().manual_seed(seed_for(seed, "labels"))
    return replace(part, labels=part.labels[torch.randperm(len(part), generator=generator)])


def _take_part(rows: pd.DataFrame, cache: ImageCache) -> Part:
    ids = tuple(rows["image_id"])
    labels = torch.tensor([LABELS.index(label) for label in rows["label"]])
    return Part(torch.from_numpy(cache.read(ids)), labels, ids)


def select_rows(spec: TrainingSpec) -> pd.DataFrame:
    """The rows of the split table that are trained on or validated on, sorted by image, label and place.

    One copy of each picture, unless the recipe takes all (see `select_used`).

    Raises:
        TrainingError: the table is missing, a part is empty, or train lacks a class.
    """
    path = Path(spec.split)
    if not path.is_file():
        raise TrainingError(f"there is no split table at {path}; materialise splits/{spec.protocol} first")
    rows = from_arrow("splits", pq.read_table(path))
    wanted = spec.recipe.data.collections or tuple(sorted(rows["collection"].unique()))
    rows = select_used(rows, spec.recipe.data, ("train", "val"), protocol=spec.protocol)
    _check_rows(rows, spec, wanted)
    return rows.sort_values(["image_id", "label", "collection", "path"], ignore_index=True)


def _check_rows(rows: pd.DataFrame, spec: TrainingSpec, wanted: tuple[str, ...]) -> None:
    where = f"recipe {spec.recipe.name!r} under {spec.protocol!r} (collections: {', '.join(wanted)})"
    fix = "add collections to data.collections or to the profile, or split again"
    for name in ("train", "val"):
        if not (rows["split"] == name).any():
            raise TrainingError(f"{where} has no {name} image; {fix}")
    found = set(rows.loc[rows["split"] == "train", "label"])
    missing = [label for label in LABELS if label not in found]
    if missing:
        raise TrainingError(f"{where} has no train image of {', '.join(missing)}; {fix}")


def order_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Indices of each batch of an epoch: every image once, shuffled by (seed, epoch).

    The batches are as few as `batch_size` allows and as even as can be, so that no last batch is too small
    for batch norm.
    """
    generator = torch.Generator().manual_seed(seed_for(seed, "order", epoch))
    order = torch.randperm(count, generator=generator).numpy()
    yield from np.array_split(order, -(-count // batch_size))


def weigh_classes(labels: torch.Tensor) -> torch.Tensor:
    """float32 [4]: n / (classes × n of the class), scikit-learn's `balanced`; every class must occur."""
    counts = torch.bincount(labels, minlength=len(LABELS))
    return (len(labels) / (len(LABELS) * counts)).float()
