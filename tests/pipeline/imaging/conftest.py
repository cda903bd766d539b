"""Fixtures of the imaging room: a folder of small pictures, and slices to degrade."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray


def draw_head(seed: int, size: int) -> NDArray[np.uint8]:
    """A skull, a brain with texture and two ventricles: uint8 [size, size]."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((256, 256), np.uint8)
    cv2.ellipse(canvas, (128, 128), (92 + seed % 9, 112), 0, 0, 360, 220, 6)
    cv2.ellipse(canvas, (128, 128), (80, 100), 0, 0, 360, 110, -1)
    cv2.ellipse(canvas, (115, 128), (8, 30), 10, 0, 360, 40, -1)
    cv2.ellipse(canvas, (141, 128), (8, 30), -10, 0, 360, 40, -1)
    x, y = rng.integers(80, 170, 2).tolist()
    cv2.circle(canvas, (x, y), 14, 190, -1)
    texture = rng.normal(0, 8, canvas.shape) * (canvas > 0)
    textured = np.clip(canvas + texture, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(textured, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture
def make_heads() -> Callable[..., NDArray[np.uint8]]:
    """`make_heads(count, size)` -> uint8 [count, size, size]."""
    return lambda count, size=64: np.stack([draw_head(seed, size) for seed in range(count)])


@pytest.fixture
def make_batch(make_heads: Callable[..., NDArray[np.uint8]]) -> Callable[..., torch.Tensor]:
    """`make_batch(count, size)` -> float32 [count, 1, size, size] in [0, 1]."""
    return lambda count, size=64: torch.from_numpy(make_heads(count, size)).float().div(255)[:, None]


@pytest.fixture
def collection(tmp_path: Path, make_heads: Callable[..., NDArray[np.uint8]]) -> tuple[pd.DataFrame, Path]:
    """Rows (image_id, collection, path) of twelve PNG files under `shelf`, and the folder of `shelf`."""
    folder = tmp_path / "shelf"
    rows = []
    for index, head in enumerate(make_heads(12, 80)):
        path = f"{'ab'[index % 2]}/{index}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", head)[1].tobytes()
        (folder / path).write_bytes(data)
        rows.append((hashlib.md5(data, usedforsecurity=False).hexdigest(), "shelf", path))
    return pd.DataFrame(rows, columns=["image_id", "collection", "path"]), folder
