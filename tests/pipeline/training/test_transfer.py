"""Training that starts from another collection's checkpoint, on phantoms: what it was given helps."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from training_toys import make_recipe

from pipeline.phantoms import generate
from pipeline.phantoms.key import Key
from pipeline.tables import to_arrow
from pipeline.training.inference import load_model
from pipeline.training.loop import train
from pipeline.training.spec import SilentReporter, TrainingResult, TrainingSpec
from pipeline.training.weights import read_weights

GIVING, TAKING = "masoudnickparvar", "sartajbhuvaji"
SIZE = 48


def list_rows(key: Key, collection: str, without: set[str]) -> pd.DataFrame:
    """One file a picture of a collection, every third picture in val; pictures `without` left out."""
    files = [file for file in key.images(collection) if file.picture and file.label and not file.contradicts]
    first = {file.picture: file for file in reversed(files) if file.picture not in without}
    rows = [
        {
            "image_id": file.md5,
            "collection": collection,
            "path": file.path,
            "label": file.label,
            "split": "val" if index % 3 == 0 else "train",
            "why": "phantom",
            "picture_id": None,
            "copy_rank": None,
        }
        for index, (_, file) in enumerate(sorted(first.items()))
    ]
    return pd.DataFrame(rows).drop_duplicates("image_id")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom collections that share no picture, each with its split table."""
    root = tmp_path_factory.mktemp("transfer")
    key = generate(root / "raw", seed=3, scale=0.5, workers=1)
    taken = {str(file.picture) for file in key.images(TAKING)}
    for collection, without in ((GIVING, taken), (TAKING, set())):
        table = to_arrow("splits", list_rows(key, collection, without))
        pq.write_table(table, root / f"{collection}.parquet")
    return root


def run(root: Path, collection: str, name: str, **changes: Any) -> tuple[TrainingSpec, TrainingResult]:
    fields: dict[str, Any] = {
        "input": {"size": SIZE, "channels": 1, "normalise": "half"},
        "augment": {"hflip": 0.5, "brightness": 0.2, "contrast": 0.2},
        "optimiser": {"name": "adamw", "lr": 0.002, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "batch_size": 16,
        "ema": None,
    }
    spec = TrainingSpec(
        recipe=make_recipe(**fields | changes),
        protocol="stratified",
        seed=0,
        split=str(root / f"{collection}.parquet"),
        folders={collection: str(root / "raw" / collection)},
        cache=str(root / "cache"),
        work=str(root / name),
        device="cpu",
        data_digest="d" * 64,
        model_id=name,
    )
    return spec, train(spec, SilentReporter())


@pytest.mark.slow
def test_a_checkpoint_of_one_collection_helps_on_another(phantoms: Path) -> None:
    given, _ = run(phantoms, GIVING, "given", stopping={"epochs": 14, "keep": "last"})
    checkpoint = f"{given.work}/best.safetensors"
    short: dict[str, Any] = {"stopping": {"epochs": 3, "keep": "last"}}
    told = {
        (): f"68 of 68 tensors from {checkpoint}; none is random",
        (32,): f"66 of 70 tensors from {checkpoint}; random: head.0.weight; head.0.bias; head.3.weight "
        "and 1 more; not used: head.1.bias; head.1.weight",
    }
    for head, report in told.items():
        model = {"name": "slim", "dropout": 0.2, "head": head}
        _, scratch = run(phantoms, TAKING, f"scratch-{len(head)}", model=model, **short)
        model |= {"weights": checkpoint}
        _, helped = run(phantoms, TAKING, f"helped-{len(head)}", model=model, **short)
        assert scratch.why["weights"] == "random weights"
        assert helped.why["weights"] == report
        # Three epochs on 87 phantoms: from random weights chance, from the other collection's far above.
        assert helped.val["macro_f1"] > scratch.val["macro_f1"] + 0.2
        assert helped.val["loss"] < scratch.val["loss"]
    frozen = model | {"freeze": 1.0}
    spec, _ = run(phantoms, TAKING, "frozen", model=frozen, **short)
    kept, before = load_model(spec.work, spec.recipe).state_dict(), read_weights(checkpoint)
    features = [name for name in before if name.startswith("backbone.")]
    assert len(features) == 66
    assert all(torch.equal(kept[name], before[name]) for name in features)
