"""The assets that put recipes beside one another: from the predictions in the lake to a table, once."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.evaluation import comparisons, digest_comparisons
from assets.report_sources import measure_one
from assets.robustness import JUDGE, digest_robustness, find_answered, robustness
from pipeline.evaluation.robustness import REFERENCE
from pipeline.labels import LABELS
from pipeline.tables import find_table
from resources.lake import Lake


def answer(recipe: str, seed: int = 0, *, variants: tuple[str, ...] = ("clean",), part: str = "test"):
    """Made-up answers to forty images in twenty groups; another seed is another model."""
    random = np.random.default_rng([seed, len(recipe)])
    frames = []
    for variant in variants:
        truth = np.arange(40) % 4
        scores = random.dirichlet(np.ones(4), 40) * 0.6
        scores[np.arange(40), truth] += 0.4
        frame = pd.DataFrame({"image_id": [f"{part}{index}" for index in range(40)]})
        frame = frame.assign(path=frame["image_id"], collection="masoudnickparvar", variant=variant)
        frame = frame.assign(
            label=[LABELS[code] for code in truth], group_id=[f"g{i // 2}" for i in range(40)]
        )
        frame = frame.assign(model_id=f"{recipe}{seed}", recipe=recipe, protocol="patient", seed=seed)
        frames.append(frame.assign(**{f"p_{label}": scores[:, code] for code, label in enumerate(LABELS)}))
    return pd.concat(frames, ignore_index=True)


POOR = ("clean", "jpeg:1", "jpeg:2")


def write(lake: Lake, recipe: str, *seeds: int, val: bool = True) -> None:
    tested = pd.concat([answer(recipe, seed, variants=POOR) for seed in seeds])
    lake.write(f"predictions/patient/{recipe}", tested, inputs="i", code="c")
    if val:
        validated = pd.concat([answer(recipe, seed, part="val") for seed in seeds])
        lake.write(f"validations/patient/{recipe}", validated, inputs="i", code="c")


@pytest.fixture
def lake(store) -> Lake:
    """A lake whose test part of `patient` are the forty images."""
    lake, rows = Lake(home=store.home), answer("cnn3")
    groups = rows[["image_id", "group_id"]].assign(picture_id=rows["image_id"], patient_id=None, safety="s")
    split = rows[["image_id", "collection", "path", "label"]].assign(split="test", why="w", copy_rank=0)
    split = split.assign(collection="masoudnickparvar", picture_id=rows["image_id"])
    for name, frame in (("groups", groups), ("splits/patient", split)):
        lake.write(name, frame[find_table(name).names], inputs="i", code="c")
    return lake


def run(asset: dg.AssetsDefinition, lake: Lake, store) -> dg.AssetMaterialization:
    done = dg.materialize([asset], resources={"lake": lake, "raw_store": store})
    [made] = done.asset_materializations_for_node(asset.key.path[-1])
    return made


def test_every_model_is_measured_against_the_first_seed_of_the_reference(lake, store):
    write(lake, "cnn3", 1, 0)
    write(lake, "slim64", 0)
    text = run(robustness, lake, store).metadata["models"].value
    frame = lake.read("robustness")
    errors = frame[(frame["metric"] == "corruption_error") & (frame["degradation"] == "all")]
    errors = errors.set_index("model_id")["value"]
    assert set(errors.index) == {"cnn30", "cnn31", "slim640"}
    assert errors["cnn30"] == 1 != errors["cnn31"]
    assert text.count("mCE") == text.count("breaks first") == 3


def test_a_models_own_report_says_what_the_table_says(lake, store):
    write(lake, "cnn3", 1, 0)
    write(lake, "slim64", 0)
    run(robustness, lake, store)
    frame = lake.read("robustness")
    answers, validated = (lake.read(f"{table}/patient/slim64") for table in ("predictions", "validations"))
    own = measure_one(lake, answers, validated, "patient")
    told = frame[frame["model_id"] == "slim640"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, told)
    assert "corruption_error" in set(own["metric"])


def test_the_judge_is_the_reference_of_the_pipeline():
    assert f"predictions/patient/{REFERENCE}" == JUDGE


def test_it_is_measured_once_and_again_when_answers_change(lake, store):
    write(lake, "cnn3", 0)
    run(robustness, lake, store)
    written, digest = lake.path("robustness").stat().st_mtime_ns, digest_robustness(lake, store)
    run(robustness, lake, store)
    assert lake.path("robustness").stat().st_mtime_ns == written
    write(lake, "slim64", 0)
    assert digest_robustness(lake, store) != digest


def test_predictions_without_val_answers_are_left_aside(lake, store):
    write(lake, "cnn3", 0, val=False)
    assert find_answered(lake, store) == []
    assert run(robustness, lake, store).metadata["models"].value == "no model under `patient` yet"
    assert lake.read("robustness").empty


def test_two_recipes_are_compared_once_and_told_by_protocol(lake, store):
    write(lake, "cnn3", 0)
    write(lake, "slim64", 0)
    made = run(comparisons, lake, store)
    [row] = lake.read("comparisons").to_dict("records")
    assert {row["first"], row["second"]} == {"cnn3", "slim64"}
    assert f"{row['difference']:+.3f}" in made.metadata["patient"].value
    written, digest = lake.path("comparisons").stat().st_mtime_ns, digest_comparisons(lake, store)
    run(comparisons, lake, store)
    assert lake.path("comparisons").stat().st_mtime_ns == written
    write(lake, "cnn3", 0, 1)
    assert digest_comparisons(lake, store) != digest


def test_one_recipe_alone_makes_no_comparison(lake, store):
    write(lake, "cnn3", 0)
    run(comparisons, lake, store)
    assert lake.read("comparisons").empty
