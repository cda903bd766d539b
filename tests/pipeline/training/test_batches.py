"""The images of a training, and the order in which they come."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from training_toys import make_recipe

from pipeline.errors import TrainingError
from pipeline.labels import LABELS
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.batches import load_parts, order_batches, select_rows, weigh_classes
from pipeline.training.spec import TrainingSpec

MakeSpec = Callable[..., TrainingSpec]


def _rewrite(spec: TrainingSpec, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    rows = change(from_arrow("splits", pq.read_table(spec.split)))
    path = folder / "changed.parquet"
    pq.write_table(to_arrow("splits", rows), path)
    return str(path)


def test_parts_hold_the_pixels_of_their_files_under_their_labels(make_spec: MakeSpec) -> None:
    spec = make_spec()
    rows = select_rows(spec)
    for part, name, count in zip(load_parts(spec), ("train", "val"), (24, 16), strict=True):
        of_part = rows[rows["split"] == name].reset_index()
        assert len(part) == count
        assert part.images.shape == (count, 32, 32) and part.images.dtype == torch.uint8
        for index, row in of_part.iterrows():
            pixels = np.asarray(Image.open(Path(spec.folders["toy"]) / row["path"]))
            assert np.array_equal(part.images[index].numpy(), pixels)
            assert LABELS[part.labels[index]] == row["label"]
            assert part.image_ids[index] == row["image_id"]


def test_the_order_of_the_table_changes_nothing(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    reversed_table = _rewrite(spec, tmp_path, lambda rows: rows.iloc[::-1])
    first, second = load_parts(spec)[0], load_parts(make_spec(split=reversed_table))[0]
    assert first.image_ids == second.image_ids
    assert torch.equal(first.images, second.images)


def test_a_file_level_split_may_repeat_an_image(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    copy = Path(spec.folders["toy"]) / "copy.png"

    def repeat(rows: pd.DataFrame) -> pd.DataFrame:
        again = rows[rows["split"] == "train"].head(1).assign(path=copy.name)
        return pd.concat([rows, again])

    train, _ = load_parts(make_spec(split=_rewrite(spec, tmp_path, repeat)))
    assert len(train) == 25 and len(set(train.image_ids)) == 24


def test_rows_left_out_and_other_collections_stay_away(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        foreign = rows.assign(collection="other")
        left = rows.head(1).assign(path="x.png", split="left_out", label=None)
        return pd.concat([rows, foreign, left])

    recipe = make_recipe(data={"collections": ["toy"]})
    rows = select_rows(make_spec(recipe=recipe, split=_rewrite(spec, tmp_path, change)))
    assert len(rows) == 40 and set(rows["collection"]) == {"toy"}


def _say_copies(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in pairs: every second one is a copy of the one before, in its split."""
    pictures = [f"picture {index // 2}" for index in range(len(rows))]
    ranks = pd.array([index % 2 for index in range(len(rows))], "Int64")
    ordered = rows.sort_values(["split", "label", "image_id"], ignore_index=True)
    return ordered.assign(picture_id=pictures, copy_rank=ranks)


def test_one_copy_of_each_picture_is_trained_on_unless_the_recipe_takes_all(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    table = _rewrite(make_spec(), tmp_path, _say_copies)
    rows = select_rows(make_spec(split=table))
    assert len(rows) == 20 and (rows["copy_rank"] == 0).all()
    assert not rows["picture_id"].duplicated().any()
    everything = make_recipe(data={"copies": "all"})
    assert len(select_rows(make_spec(split=table, recipe=everything))) == 40


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_empty_part_is_refused(make_spec: MakeSpec, tmp_path: Path, part: str) -> None:
    table = _rewrite(make_spec(), tmp_path, lambda rows: rows[rows["split"] != part])
    with pytest.raises(TrainingError, match=f"'toy' under 'stratified' .* has no {part} image; add"):
        load_parts(make_spec(split=table))


def test_a_class_missing_in_train_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    def drop(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[(rows["split"] == "val") | ~rows["label"].isin(["glioma", "no_tumor"])]

    with pytest.raises(TrainingError, match="has no train image of glioma, no_tumor; add collections"):
        load_parts(make_spec(split=_rewrite(make_spec(), tmp_path, drop)))


def test_a_missing_table_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no split table at .*; materialise splits/stratified first"):
        load_parts(make_spec(split=str(tmp_path / "none.parquet")))


@given(st.integers(1, 500), st.integers(1, 64), st.integers(0, 9), st.integers(1, 9))
def test_an_epoch_has_every_image_once_in_even_batches(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = list(order_batches(count, batch_size, seed=seed, epoch=epoch))
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(list(order_batches(20, 8, seed=seed, epoch=epoch))).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)
    assert order(0, 1)[:6] == [18, 0, 5, 3, 4, 7]


def test_class_weights_are_scikit_learns_balanced() -> None:
    weights = weigh_classes(torch.tensor([0] * 4 + [1] * 2 + [2] + [3]))
    assert weights.tolist() == [0.5, 1.0, 2.0, 2.0]


def test_a_control_has_its_own_labels_in_another_order_and_val_keeps_the_truth(make_spec: MakeSpec) -> None:
    recipe = make_recipe(data={"labels": "shuffled"})
    true, control = load_parts(make_spec()), load_parts(make_spec(recipe=recipe))
    again, other = load_parts(make_spec(recipe=recipe)), load_parts(make_spec(recipe=recipe, seed=1))
    assert torch.equal(control[1].labels, true[1].labels)
    assert torch.equal(control[0].images, true[0].images)
    assert torch.equal(control[0].labels.bincount(), true[0].labels.bincount())
    kept = (control[0].labels == true[0].labels).float().mean()
    assert kept < 0.6
    assert torch.equal(again[0].labels, control[0].labels)
    assert not torch.equal(other[0].labels, control[0].labels)
