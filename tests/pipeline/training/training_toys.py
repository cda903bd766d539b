"""A toy collection: four classes told apart by where a bright blob lies, plain enough for seconds."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.tables import to_arrow

SIDE = 32


def draw_toy(label: int, generator: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """uint8 [side, side]: noise, and a blob in the quadrant of the label."""
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    centre = (side * (0.3 + 0.4 * (label % 2)), side * (0.3 + 0.4 * (label // 2)))
    centre = tuple(value + generator.normal(0, side / 20) for value in centre)
    blob = np.exp(-((across - centre[0]) ** 2 + (down - centre[1]) ** 2) / (2 * (side / 8) ** 2))
    return np.clip(90 + 110 * blob + generator.normal(0, 25, (side, side)), 0, 255).astype(np.uint8)


def write_toy(folder: Path, *, train: int = 24, val: int = 16, shuffled: bool = False) -> Path:
    """Write `train` + `val` images and their split table; returns the table's path."""
    generator = np.random.default_rng(7)
    rows = []
    for index in range(train + val):
        label = index % len(LABELS)
        buffer = io.BytesIO()
        Image.fromarray(draw_toy(label, generator)).save(buffer, "PNG")
        path = folder / "raw" / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
        shown = LABELS[generator.integers(len(LABELS))] if shuffled else LABELS[label]
        rows.append(
            {
                "image_id": hashlib.md5(buffer.getvalue()).hexdigest(),
                "collection": "toy",
                "path": path.name,
                "label": shown,
                "split": "train" if index < train else "val",
                "why": "toy",
                "picture_id": None,
                "copy_rank": None,
            }
        )
    table = folder / "split.parquet"
    pq.write_table(to_arrow("splits", pd.DataFrame(rows)), table)
    return table


def make_recipe(**changes: Any) -> Recipe:
    """A recipe of seconds; nested fields are replaced whole."""
    fields: dict[str, Any] = {
        "name": "toy",
        "title": "toy",
        "description": "toy",
        "source": "ours",
        "input": {"size": SIDE, "channels": 1, "normalise": "half"},
        "augment": {"brightness": 0.1},
        "model": {"name": "slim", "dropout": 0.2},
        "optimiser": {"name": "sgd", "lr": 0.05, "weight_decay": 0.0005},
        "schedule": {"name": "cosine", "warmup_epochs": 0.5},
        "stopping": {"epochs": 4},
        "batch_size": 4,
        "ema": 0.8,
    }
    return Recipe.model_validate(fields | changes)
