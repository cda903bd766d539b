"""Predictions: every test row once, its variants once each, the same bytes each time."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from training_toys import draw_toy, make_recipe

from pipeline.catalog import load_catalog
from pipeline.errors import CheckpointError, TrainingError
from pipeline.imaging.cache import open_cache
from pipeline.imaging.variants import make_variants
from pipeline.labels import LABELS
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.checkpoints import write_best
from pipeline.training.models import build_model
from pipeline.training.prediction import PredictionSpec, predict_split

RECIPE = make_recipe()


@pytest.fixture
def spec(toy, tmp_path) -> PredictionSpec:
    """Val rows of the toy stand in as test rows, train rows as val; weights are the untrained ones."""
    rows = from_arrow("splits", pq.read_table(toy / "split.parquet"))
    rows = rows.assign(split=rows["split"].map({"val": "test", "train": "val"}))
    pq.write_table(to_arrow("splits", rows), tmp_path / "split.parquet")
    groups = rows[["image_id"]].assign(group_id=rows["image_id"], safety="image")
    pq.write_table(to_arrow("groups", groups), tmp_path / "groups.parquet")
    (tmp_path / "work").mkdir()
    write_best(tmp_path / "work", build_model(RECIPE))
    return PredictionSpec(
        recipe=RECIPE,
        protocol="stratified",
        seed=0,
        model_id="m",
        split=str(tmp_path / "split.parquet"),
        groups=str(tmp_path / "groups.parquet"),
        folders={"toy": str(toy / "raw")},
        cache=str(tmp_path / "cache"),
        work=str(tmp_path / "work"),
        validations=str(tmp_path / "val.parquet"),
        output=str(tmp_path / "out.parquet"),
    )


def read(spec: PredictionSpec) -> pd.DataFrame:
    return from_arrow("predictions", pq.read_table(spec.output))


def write_variants(path: Path, image_ids: list[str]) -> None:
    rows = []
    for image_id in image_ids:
        buffer = io.BytesIO()
        Image.fromarray(draw_toy(0, np.random.default_rng(1), side=48)).save(buffer, "PNG")
        cell = {"bytes": buffer.getvalue(), "path": None}
        rows += [
            {
                "image_id": image_id,
                "label": "glioma",
                "degradation": "blur",
                "severity": n,
                "value": float(n),
                "seed": n,
                "image": cell,
            }
            for n in (1, 2)
        ]
    pq.write_table(to_arrow("variants", pd.DataFrame(rows)), path)


def test_every_test_row_once_with_probabilities_that_sum_to_one(spec):
    assert predict_split(spec)["test"] == 16
    found = read(spec)
    assert set(found["variant"]) == {"clean"}
    assert np.allclose(found[[f"p_{label}" for label in LABELS]].sum(axis=1), 1)
    assert found["group_id"].equals(found["image_id"])


def test_the_val_part_has_a_table_of_its_own_and_shares_no_row_with_the_test_part(spec):
    split = from_arrow("splits", pq.read_table(spec.split))
    written = predict_split(spec)
    val, test = from_arrow("validations", pq.read_table(spec.validations)), read(spec)
    assert set(val["path"]) == set(split.loc[split["split"] == "val", "path"])
    assert set(test["path"]) == set(split.loc[split["split"] == "test", "path"])
    assert written == {"val": len(val), "test": len(test)}
    assert set(val["variant"]) == {"clean"}


def test_no_val_row_is_an_error_before_anything_is_written(spec):
    split = from_arrow("splits", pq.read_table(spec.split))
    pq.write_table(to_arrow("splits", split[split["split"] == "test"]), spec.split)
    with pytest.raises(TrainingError, match="has no val image in toy; name other collections"):
        predict_split(spec)
    assert not Path(spec.validations).exists()


def test_a_failure_in_the_test_part_leaves_its_old_table_and_a_whole_val_table(spec, tmp_path):
    predict_split(spec)
    before = Path(spec.output).read_bytes()
    (tmp_path / "variants.parquet").write_bytes(b"broken")
    with pytest.raises(Exception, match=r"[Pp]arquet"):
        predict_split(spec.model_copy(update={"variants": str(tmp_path / "variants.parquet")}))
    assert Path(spec.output).read_bytes() == before
    assert pq.read_table(spec.validations).num_rows > 0


def test_the_same_bytes_each_time(spec):
    predict_split(spec)
    first = [Path(name).read_bytes() for name in (spec.validations, spec.output)]
    predict_split(spec)
    assert [Path(name).read_bytes() for name in (spec.validations, spec.output)] == first


def test_variants_of_test_rows_are_predicted_and_others_left_aside(spec, tmp_path):
    predict_split(spec)
    known = list(read(spec)["image_id"][:3])
    write_variants(tmp_path / "variants.parquet", [*known, "of another recipe"])
    again = spec.model_copy(update={"variants": str(tmp_path / "variants.parquet")})
    assert predict_split(again)["test"] == 16 + 3 * 2
    found = read(again)
    assert set(found["variant"]) == {"clean", "blur:1", "blur:2"}
    assert set(found.loc[found["variant"] != "clean", "image_id"]) == set(known)


def test_variants_without_pictures_are_made_from_their_seeds_and_predicted_alike(spec, tmp_path):
    split = from_arrow("splits", pq.read_table(spec.split))
    cache = open_cache(split, {"toy": Path(spec.folders["toy"])}, size=48, root=Path(spec.cache))
    catalog = load_catalog().degradations
    found = {}
    for stored in (True, False):
        kinds = {name: kind.model_copy(update={"stored": stored}) for name, kind in catalog.items()}
        frame = pd.concat(make_variants(split, cache, kinds, size=48), ignore_index=True)
        assert frame["image"].notna().all() == stored
        pq.write_table(to_arrow("variants", frame), tmp_path / "variants.parquet")
        changes = {"variants": str(tmp_path / "variants.parquet"), "variants_size": 48}
        assert predict_split(spec.model_copy(update=changes))["test"] == 16 * (1 + 5 * len(catalog))
        found[stored] = read(spec)
    assert found[True].equals(found[False])


def test_one_copy_of_each_picture_is_tested_unless_the_recipe_takes_all(spec, tmp_path):
    rows = from_arrow("splits", pq.read_table(spec.split)).sort_values(["split", "image_id"])
    pairs = rows.assign(
        picture_id=[f"picture {index // 2}" for index in range(len(rows))],
        copy_rank=pd.array([index % 2 for index in range(len(rows))], "Int64"),
    )
    pq.write_table(to_arrow("splits", pairs), tmp_path / "split.parquet")
    assert predict_split(spec)["test"] == 8
    first = pairs[(pairs["split"] == "test") & (pairs["copy_rank"] == 0)]
    assert set(read(spec)["image_id"]) == set(first["image_id"])
    everything = make_recipe(data={"copies": "all"})
    assert predict_split(spec.model_copy(update={"recipe": everything}))["test"] == 16


def test_no_test_row_is_an_error_that_names_the_collections(spec):
    other = make_recipe(data={"collections": ["elsewhere"]})
    with pytest.raises(TrainingError, match="no test image in elsewhere"):
        predict_split(spec.model_copy(update={"recipe": other}))


def test_missing_weights_are_an_error_and_nothing_is_written(spec):
    (Path(spec.work) / "best.safetensors").unlink()
    with pytest.raises(CheckpointError, match="train recipe 'toy' first"):
        predict_split(spec)
    assert not Path(spec.output).exists()
