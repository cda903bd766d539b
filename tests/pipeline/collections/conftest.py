"""Small collections in a temporary folder."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.catalog import Collection

MakeCollection = Callable[..., Collection]
MakeMatlab = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes]], Path]


@pytest.fixture
def make_collection() -> MakeCollection:
    def make(name: str = "sample", **changes: Any) -> Collection:
        fields: dict[str, Any] = {
            "name": name,
            "title": "Sample",
            "description": "for tests",
            "source": {"manual": {"url": "https://example.org", "instructions": "none"}},
            "licence": {"stated": "CC0", "redistribute": "yes"},
            "citation": "none",
            "layout": {
                "reader": "class_folders",
                "folders": [{"path": "Training", "split": "train"}, {"path": "Testing", "split": "test"}],
            },
            "labels": {"glioma": "glioma", "notumor": "no_tumor"},
        }
        return Collection.model_validate(fields | changes)

    return make


@pytest.fixture
def make_matlab() -> MakeMatlab:
    def make(label: float | None = 2, pid: str | None = "MR029209E", **fields: Any) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w", userblock_size=512) as file:
            group = file.create_group("cjdata")
            group["image"] = fields.pop("image", np.arange(60, dtype=np.int16).reshape(6, 10))
            if label is not None:
                group["label"] = [[float(label)]]
            if pid is not None:
                group["PID"] = np.array([[ord(code)] for code in pid], np.uint16)
            for name, values in fields.items():
                group[name] = values
        return stream.getvalue()

    return make


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    def write(files: Mapping[str, bytes]) -> Path:
        root = tmp_path / "raw"
        root.mkdir(exist_ok=True)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return write
