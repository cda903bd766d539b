"""What a trained model says of the images that it was not trained on, in two tables that are never mixed.

`validations` holds the val part, clean: temperatures and thresholds are fitted on it. `predictions` holds the
test part, clean and degraded: scores are counted on it, and on nothing else.
"""

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
from pipeline.labels import LABELS, Split
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
    validations: str = Field(description="path of the Parquet file of the val part, written whole")
    output: str = Field(description="path of the Parquet file of the test part, written last and whole")
    device: str = Field("cpu", description="cpu, cuda, …, as the training chose")
    threads: int = Field(1, ge=1, description="CPU threads; another number gives other last bits")
    workers: int = Field(1, ge=1, description="threads that decode images; changes no result")


def predict_split(spec: PredictionSpec) -> dict[str, int]:
    """Predict every val and test row that the recipe uses, and the variants of the test rows.

    Deterministic for one machine, number of threads and torch. Each file is written whole or not at all, that
    of the test part last.

    Returns:
        Rows written for `val` and for `test`.

    Raises:
        TrainingError: the recipe's collections have no val or no test row under this protocol.
        CheckpointError: there are no weights in `spec.work`.
    """
    torch.set_num_threads(spec.threads)
    test, val = select_part(spec, "test"), select_part(spec, "val")
    model = load_model(spec.work, spec.recipe).to(spec.device)
    validations = _write("validations", [_predict_clean(spec, model, val)], spec.validations)
    frames = [_predict_clean(spec, model, test)]
    if spec.variants:
        frames += _predict_variants(spec, model, test)
    return {"val": validations, "test": _write("predictions", frames, spec.output)}


def select_part(spec: PredictionSpec, part: Split) -> pd.DataFrame:
    """The rows of a part of the split that the recipe uses (see `select_used`), each with its group.

    Raises:
        TrainingError: there is none.
    """
    rows = from_arrow("splits", pq.read_table(spec.split))
    wanted = spec.recipe.data.collections or tuple(sorted(rows["collection"].unique()))
    rows = select_used(rows, spec.recipe.data, (part,), protocol=spec.protocol)
    if rows.empty:
        raise TrainingError(
            f"recipe {spec.recipe.name!r} under {spec.protocol!r} has no {part} image in "
            f"{', '.join(wanted)}; name other collections in data.collections, or bring them in"
        )
    groups = from_arrow("groups", pq.read_table(spec.groups))[["image_id", "group_id"]]
    joined = rows.merge(groups, on="image_id", how="left", validate="many_to_one")
    return joined.sort_values(["collection", "path"], ignore_index=True)


def _write(table: str, frames: Sequence[pd.DataFrame], path: str) -> int:
    arrow = to_arrow(table, pd.concat(frames, ignore_index=True))
    with replacing_file(Path(path)) as temporary:
        pq.write_table(arrow, temporary)
    return int(arrow.num_rows)


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
