"""The asset that pools five folds: all five, or a clear refusal."""

import dagster as dg
import pandas as pd
import pytest

from assets.pooled import list_fold_predictions, pooled
from pipeline.errors import TableError
from pipeline.labels import LABELS
from resources.lake import Lake


def write_fold(lake: Lake, recipe: str, fold: int) -> None:
    rows = [
        {
            "model_id": f"{recipe}{fold}",
            "recipe": recipe,
            "protocol": f"fold:{fold}",
            "seed": 0,
            "image_id": f"{fold}{index}",
            "collection": "c",
            "path": f"{fold}/{index}",
            "variant": "clean",
            "label": label,
            "group_id": f"g{fold}{index}",
            **{f"p_{name}": 0.7 if name == label else 0.1 for name in LABELS},
        }
        for index, label in enumerate(LABELS)
    ]
    lake.write(f"predictions/fold/{fold}/{recipe}", pd.DataFrame(rows), inputs="i", code="c")


@pytest.fixture
def materialise(store):
    lake = Lake(home=store.home)

    def run(**options):
        return dg.materialize([pooled], resources={"lake": lake, "raw_store": store}, **options)

    return lake, run


def test_five_folds_are_pooled_once_and_then_reused(materialise):
    lake, run = materialise
    for fold in range(1, 6):
        write_fold(lake, "cnn3", fold)
    write_fold(lake, "slim64", 2)
    whole, partial = list_fold_predictions(lake, ["cnn3", "slim64", "resnet18d"])
    assert list(whole) == ["cnn3"]
    assert partial == ["slim64 lacks fold:1, fold:3, fold:4, fold:5"]
    [first] = run().asset_materializations_for_node("pooled")
    assert first.metadata["cnn3 macro-F1"].value == 1.0
    assert first.metadata["cnn3 macro-F1, three classes"].value == 1.0
    frame = lake.read("pooled")
    assert set(frame["recipe"]) == {"cnn3"}
    counted = frame[frame["class"] == "all"].groupby("subset")[["n", "groups"]].max()
    assert counted.loc["all"].tolist() == [20, 20] and counted.loc["three_class"].tolist() == [15, 15]
    written = lake.path("pooled").stat().st_mtime_ns
    assert run().success
    assert lake.path("pooled").stat().st_mtime_ns == written


def test_without_all_five_it_says_which_are_missing(materialise):
    lake, run = materialise
    write_fold(lake, "cnn3", 1)
    with pytest.raises(
        TableError, match=r"cnn3 lacks fold:2, fold:3, fold:4, fold:5\. Run make folds RECIPE="
    ):
        run()
