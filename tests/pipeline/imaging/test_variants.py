"""The variants table: complete, keyed by content, bounded, and readable by Hugging Face's datasets."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.catalog import load_catalog
from pipeline.digests import seed_for
from pipeline.errors import TableError
from pipeline.imaging import variants as variants_module
from pipeline.imaging.cache import ImageCache, open_cache
from pipeline.imaging.degrade import apply_kind, degrade
from pipeline.imaging.variants import FRAME_ROWS, choose_images, make_variants, render_variants
from pipeline.labels import LABELS
from pipeline.tables import find_table, from_arrow, to_arrow

KINDS = {
    name: kind
    for name, kind in load_catalog().degradations.items()
    if name in ("gaussian_noise", "gaussian_blur", "downsampling")
}


@pytest.fixture
def split(collection: tuple[pd.DataFrame, Path]) -> pd.DataFrame:
    """Twelve images: eight in test, two a label; two in train, one in val, one left out."""
    rows, _ = collection
    parts = ["test"] * 8 + ["train", "train", "val", "left_out"]
    labels = [*LABELS, *LABELS, *LABELS[:3], None]
    return rows.assign(label=labels, split=parts, why="drawn", picture_id=None, copy_rank=None)


@pytest.fixture
def cache(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> ImageCache:
    rows, folder = collection
    return open_cache(rows, {"shelf": folder}, size=32, root=tmp_path / "cache")


def all_rows(frames: Iterator[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)


def test_every_test_image_has_every_variant_once(split: pd.DataFrame, cache: ImageCache) -> None:
    frame = all_rows(make_variants(split, cache, KINDS, size=32))
    tested = split[split["split"] == "test"].set_index("image_id")["label"]
    expected = {
        (image_id, kind, severity) for image_id in tested.index for kind in KINDS for severity in range(1, 6)
    }
    assert len(frame) == 8 * 3 * 5
    assert set(zip(frame["image_id"], frame["degradation"], frame["severity"], strict=True)) == expected
    assert (frame["label"] == frame["image_id"].map(tested)).all()
    assert frame.equals(frame.sort_values(list(find_table("variants").key), ignore_index=True))


def test_each_worker_degrades_with_one_thread_of_torch(
    split: pd.DataFrame, cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watch(images: torch.Tensor, *arguments: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return apply_kind(images, *arguments)

    monkeypatch.setattr(variants_module, "apply_kind", watch)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        all_rows(make_variants(split, cache, KINDS, size=32, workers=2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen and set(seen) == {1}


def test_a_picture_is_the_degraded_image_under_its_seed(split: pd.DataFrame, cache: ImageCache) -> None:
    frame = all_rows(make_variants(split, cache, KINDS, size=32))
    for row in frame.sample(20, random_state=1).itertuples():
        assert row.seed == seed_for("variant", row.image_id, row.degradation, row.severity)
        assert row.value == KINDS[row.degradation].severities[row.severity - 1]
        clean = torch.from_numpy(cache.read([row.image_id])).float().div(255)[:, None]
        expected = degrade(clean, KINDS[row.degradation], row.severity, [row.seed])[0, 0] * 255
        found = cv2.imdecode(np.frombuffer(row.image["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert (found.dtype, found.shape) == (np.uint8, (32, 32))
        assert np.abs(found - expected.numpy()).max() <= 0.5


def test_kinds_that_are_not_stored_have_rows_without_pictures(split: pd.DataFrame, cache: ImageCache) -> None:
    mixed = {
        name: kind.model_copy(update={"stored": name == "gaussian_blur"}) for name, kind in KINDS.items()
    }
    whole = all_rows(make_variants(split, cache, KINDS, size=32))
    frame = all_rows(make_variants(split, cache, mixed, size=32))
    assert frame.drop(columns="image").equals(whole.drop(columns="image"))
    assert frame["image"].notna().equals(frame["degradation"] == "gaussian_blur")
    assert set(to_arrow("variants", frame)["image"].is_null().to_pylist()) == {True, False}


def test_a_row_without_a_picture_gives_the_pixels_of_the_stored_one(
    split: pd.DataFrame, cache: ImageCache
) -> None:
    catalog = load_catalog().degradations
    everything = {name: kind.model_copy(update={"stored": True}) for name, kind in catalog.items()}
    frame = all_rows(make_variants(split, cache, everything, size=32))
    assert len(frame) == 8 * 5 * len(catalog)
    for (name, value), rows in frame.groupby(["degradation", "value"]):
        made = render_variants(
            list(rows["image_id"])[::-1], cache, str(name), float(value), list(rows["seed"])[::-1]
        )
        for plane, cell in zip(made[::-1], rows["image"], strict=True):
            stored = cv2.imdecode(np.frombuffer(cell["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(plane, stored)


def test_the_catalog_stores_few_kinds() -> None:
    # A picture of 224 pixels takes some 28 kB: all kinds of 1,900 images would be gigabytes.
    assert sum(kind.stored for kind in load_catalog().degradations.values()) == 3


def test_row_order_changes_no_byte(split: pd.DataFrame, cache: ImageCache) -> None:
    straight = all_rows(make_variants(split, cache, KINDS, size=32))
    shuffled = all_rows(make_variants(split.sample(frac=1, random_state=2), cache, KINDS, size=32))
    assert straight.equals(shuffled)


def test_frames_are_bounded_and_change_nothing(split: pd.DataFrame, cache: ImageCache, monkeypatch) -> None:
    whole = all_rows(make_variants(split, cache, KINDS, size=32))
    for bound in (1, 7, 16, 31):
        monkeypatch.setattr(variants_module, "FRAME_ROWS", bound)
        frames = list(make_variants(split, cache, KINDS, size=32))
        assert max(map(len, frames)) <= bound
        assert all_rows(iter(frames)).equals(whole)
    assert FRAME_ROWS == 512


def test_a_limit_takes_the_same_images_whatever_else_there_is(split: pd.DataFrame) -> None:
    one = choose_images(split, limit=1)
    assert sorted(one) == sorted(LABELS)
    without = split[~split["image_id"].isin(choose_images(split).index.difference(one.index)[:2])]
    assert choose_images(without, limit=1).equals(one)
    assert choose_images(split.sample(frac=1, random_state=5), limit=1).equals(one)
    assert set(one.index) <= set(choose_images(split, limit=2).index)
    assert choose_images(split, limit=99).equals(choose_images(split))


def test_without_test_images_or_kinds_there_is_no_row(split: pd.DataFrame, cache: ImageCache) -> None:
    assert list(make_variants(split[split["split"] != "test"], cache, KINDS, size=32)) == []
    assert sum(map(len, make_variants(split, cache, {}, size=32))) == 0


def test_another_size_is_refused(split: pd.DataFrame, cache: ImageCache) -> None:
    with pytest.raises(TableError, match="holds 32 pixels a side and variants of 64"):
        list(make_variants(split, cache, KINDS, size=64))


def test_an_image_outside_the_cache_is_refused(split: pd.DataFrame, cache: ImageCache) -> None:
    stranger = split.iloc[[0]].assign(image_id="0" * 32)
    with pytest.raises(TableError, match="not in the cache"):
        list(make_variants(pd.concat([split, stranger]), cache, KINDS, size=32))


def test_a_test_image_needs_one_label(split: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="1 test images have no label"):
        choose_images(split.assign(label=[None, *split["label"][1:]]))
    twin = split.iloc[[0]].assign(label="pituitary", path="other.png")
    with pytest.raises(TableError, match="1 test images have two labels"):
        choose_images(pd.concat([split, twin]))


def test_the_table_survives_parquet(split: pd.DataFrame, cache: ImageCache, tmp_path: Path) -> None:
    frame = all_rows(make_variants(split, cache, KINDS, size=32))
    pq.write_table(to_arrow("variants", frame), tmp_path / "variants.parquet")
    read = from_arrow("variants", pq.read_table(tmp_path / "variants.parquet"))
    assert read[["image_id", "degradation", "severity", "seed"]].equals(
        frame[["image_id", "degradation", "severity", "seed"]].astype(
            read.dtypes[["image_id", "degradation"]]
        )
    )
    assert [value["bytes"] for value in read["image"]] == [value["bytes"] for value in frame["image"]]


LOAD = """
import json, sys
import datasets, numpy
shelf = datasets.load_dataset("parquet", data_files=sys.argv[1], split="train")
row = shelf[0]
print(json.dumps({
    "rows": len(shelf), "features": {name: repr(value) for name, value in shelf.features.items()},
    "kind": type(row["image"]).__module__, "mode": row["image"].mode, "size": row["image"].size,
    "sum": int(numpy.asarray(row["image"]).sum()), "seed": row["seed"],
    "key": [row["image_id"], row["degradation"], row["severity"]],
}))
"""


@pytest.mark.slow
def test_hugging_face_shows_the_pictures(split: pd.DataFrame, cache: ImageCache, tmp_path: Path) -> None:
    frames = make_variants(split, cache, KINDS, size=32)
    tables = [to_arrow("variants", frame) for frame in frames]
    path = tmp_path / "variants.parquet"
    pq.write_table(pa.concat_tables(tables), path)
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_DATASETS_CACHE": str(tmp_path / "hub/datasets"),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    first = tables[0].slice(0, 1).to_pylist()[0]
    pixels = cv2.imdecode(np.frombuffer(first["image"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert found["rows"] == 120
    assert found["features"]["image"].startswith("Image(")
    assert found["features"]["severity"] == "Value('int64')"
    assert found["features"]["label"] == "Value('string')"
    assert (found["kind"].split(".")[0], found["mode"], found["size"]) == ("PIL", "L", [32, 32])
    assert found["sum"] == int(pixels.sum())
    assert found["key"] == [first["image_id"], first["degradation"], first["severity"]]
    assert found["seed"] == first["seed"]
