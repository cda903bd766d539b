"""Predicting the test part of a split with a trained model, clean and degraded: the `predictions` table."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from pipeline.atomic import replacing_file
from pipeline.errors import TrainingError
from pipeline.imaging.cache import ImageCache, open_cache
from pipeline.imaging.decode import resize_grey
from pipeline.imaging.variants import render_variants
from pipeline.labels import LABELS
from pipeline.recipe import Recipe, Strict
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.inference import load_model, predict
from pipeline.training.selection import select_used

CLEAN = "clean"
BATCH_ROWS = 1024


class PredictionSpec(Strict):
    """Everything that a prediction process needs to know; it travels as JSON."""

    recipe: Recipe
    protocol: str
    seed: int
    model_id: str
    split: str = Field(description="path of the `splits` table, a Parquet file")
    groups: str = Field(description="path of the `groups` table, a Parquet file")
    variants: str = Field("", description="path of the `variants` table; empty = clean images only")
    variants_size: int = Field(224, description="side of the images that the variants are made from, pixels")
    folders: dict[str, str] = Field(description="collection -> its raw folder")
    cache: str = Field(description="folder of the decoded images")
    work: str = Field(description="folder of the training, which holds best.safetensors")
    output: str = Field(description="path of the Parquet file that is written, last and whole")
    device: str = Field("cpu", description="cpu, cuda, …, as the training chose")
    threads: int = Field(1, ge=1, description="CPU threads; another number gives other last bits")
    workers: int = Field(1, ge=1, description="threads that decode images; changes no result")


def predict_split(spec: PredictionSpec) -> int:
    """Predict every test row that the recipe uses, and its variants; returns the number of rows.

    Deterministic for one machine, number of threads and torch. Writes `spec.output` whole or not at all.

    Raises:
        TrainingError: the recipe's collections have no test row under this protocol.
        CheckpointError: there are no weights in `spec.work`.
    """
    torch.set_num_threads(spec.threads)
    rows = select_test_rows(spec)
    model = load_model(spec.work, spec.recipe).to(spec.device)
    frames = [_predict_clean(spec, model, rows)]
    if spec.variants:
        frames += _predict_variants(spec, model, rows)
    table = to_arrow("predictions", pd.concat(frames, ignore_index=True))
    with replacing_file(Path(spec.output)) as temporary:
        pq.write_table(table, temporary)
    return int(table.num_rows)


def select_test_rows(spec: PredictionSpec) -> pd.DataFrame:
    """The test rows of the split that the recipe uses (see `select_used`), each with its group.

    Raises:
        TrainingError: there is none.
    """
    rows = from_arrow("splits", pq.read_table(spec.split))
    wanted = spec.recipe.data.collections or tuple(sorted(rows["collection"].unique()))
    rows = select_used(rows, spec.recipe.data, ("test",), protocol=spec.protocol)
    if rows.empty:
        raise TrainingError(
            f"recipe {spec.recipe.name!r} under {spec.protocol!r} has no test image in {', '.join(wanted)}; "
            "name other collections in data.collections, or bring them in"
        )
    groups = from_arrow("groups", pq.read_table(spec.groups))[["image_id", "group_id"]]
    joined = rows.merge(groups, on="image_id", how="left", validate="many_to_one")
    return joined.sort_values(["collection", "path"], ignore_index=True)


def _predict_clean(spec: PredictionSpec, model: torch.nn.Module, rows: pd.DataFrame) -> pd.DataFrame:
    cache = _open_cache(spec, rows, spec.recipe.input.size)
    images = np.ascontiguousarray(cache.pixels[cache.rows_of(list(rows["image_id"]))])
    return _tabulate(spec, rows, [CLEAN] * len(rows), predict(model, images, spec.recipe, device=spec.device))


def _predict_variants(
    spec: PredictionSpec, model: torch.nn.Module, rows: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    by_image = rows.set_index("image_id")
    cache = _open_cache(spec, rows, spec.variants_size)
    for batch in pq.ParquetFile(spec.variants).iter_batches(BATCH_ROWS):
        frame = batch.to_pandas()
        frame = frame[frame["image_id"].isin(by_image.index)]
        if frame.empty:
            continue
        images = _read_variants(frame, cache, spec.recipe.input.size)
        names = [f"{row.degradation}:{row.severity}" for row in frame.itertuples()]
        meta = by_image.loc[frame["image_id"]].reset_index()
        yield _tabulate(spec, meta, names, predict(model, images, spec.recipe, device=spec.device))


def _read_variants(frame: pd.DataFrame, cache: ImageCache, size: int) -> NDArray[np.uint8]:
    """Pixels of the rows of `variants`, decoded or made from their seeds, which gives the same."""
    images = np.empty((len(frame), size, size), np.uint8)
    stored = frame["image"].notna().to_numpy()
    for row, cell in zip(np.flatnonzero(stored), frame.loc[stored, "image"], strict=True):
        images[row] = resize_grey(np.asarray(Image.open(io.BytesIO(cell["bytes"]))), size)
    numbered = frame.assign(row=np.arange(len(frame)))[~stored]
    for _, part in numbered.groupby(["degradation", "value"]):
        name, value = part["degradation"].iloc[0], float(part["value"].iloc[0])
        planes = render_variants(list(part["image_id"]), cache, name, value, part["seed"].tolist())
        images[part["row"]] = [resize_grey(plane, size) for plane in planes]
    return images


def _open_cache(spec: PredictionSpec, rows: pd.DataFrame, size: int) -> ImageCache:
    folders = {name: Path(folder) for name, folder in spec.folders.items()}
    return open_cache(rows, folders, size=size, root=Path(spec.cache), workers=spec.workers)


def _tabulate(
    spec: PredictionSpec, rows: pd.DataFrame, variants: Sequence[str], probabilities: np.ndarray
) -> pd.DataFrame:
    frame = rows[["image_id", "collection", "path", "label", "group_id"]].assign(
        model_id=spec.model_id,
        recipe=spec.recipe.name,
        protocol=spec.protocol,
        seed=spec.seed,
        variant=list(variants),
    )
    return frame.assign(**{f"p_{label}": probabilities[:, index] for index, label in enumerate(LABELS)})
