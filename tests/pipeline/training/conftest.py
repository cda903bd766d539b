"""Fixtures of the training tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_toys import make_recipe, write_toy

from pipeline.training.spec import TrainingSpec


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Threads that spin beside other processes cost more than the work of these tests.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the toy collection: `raw/`, `split.parquet`, `cache/`."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    return folder


@pytest.fixture
def make_spec(toy: Path, tmp_path: Path) -> Callable[..., TrainingSpec]:
    """Specs on the toy collection; keyword arguments replace fields."""

    def make(**changes: Any) -> TrainingSpec:
        fields: dict[str, Any] = {
            "recipe": make_recipe(),
            "protocol": "stratified",
            "seed": 0,
            "split": str(toy / "split.parquet"),
            "folders": {"toy": str(toy / "raw")},
            "cache": str(toy / "cache"),
            "work": str(tmp_path / "work"),
            "device": "cpu",
            "data_digest": "d" * 64,
            "model_id": "m" * 16,
        }
        return TrainingSpec.model_validate(fields | changes)

    return make
