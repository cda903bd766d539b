"""Trainings: named by content, and unfinished ones say so."""

import json
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.answered import find_predictions, tell_earlier
from assets.evaluation import digest_leaderboard, leaderboard
from assets.predictions import predict_one, record_opening
from assets.training import describe_params, describe_run
from assets.trainings import (
    choose_degradations,
    identify_recipe,
    is_fitted,
    is_trained,
    judge,
    name_models,
    read_result,
    require_weights_of,
    run_key,
    select_rows,
    specify_all,
)
from pipeline.catalog import load_catalog
from pipeline.errors import TableError, TrainingError, WeightsError
from pipeline.labels import LABELS
from pipeline.recipe import AugmentSpec, PretrainingSpec
from resources.ledgers import read_rows
from resources.trainer import Trainer

RESULT = {
    "model_id": "m",
    "recipe": "cnn3",
    "protocol": "patient",
    "seed": 0,
    "identity": "i",
    "best_epoch": 1,
    "epochs": 1,
    "monitor": "val_loss",
    "monitor_value": 0.5,
    "val": {"loss": 0.5, "accuracy": 0.5, "macro_f1": 0.25},
    "parameters": 1,
    "trainable_parameters": 1,
    "n_train": 1,
    "n_val": 1,
    "device": "cpu",
    "precision": "fp32",
    "why": {},
    "seconds": 1.0,
}


@pytest.fixture
def specify(curated):
    lake, store = curated

    def make(recipe: str = "resnet18d", protocol: str = "patient", **trainer: object):
        return specify_all(store.catalog.recipes[recipe], protocol, lake, store, Trainer(**trainer))

    return make


def test_a_model_depends_on_the_degradations_that_its_recipe_trains_on(curated):
    catalog = curated[1].catalog
    recipe = catalog.recipes["demo_careful"]

    def choose(**augment: object) -> list[str]:
        spec = recipe.augment.model_copy(update=augment)
        return list(choose_degradations(recipe.model_copy(update={"augment": spec}), catalog.degradations))

    assert choose(degrade=0.0) == []
    assert choose(degrade=0.5, degradations=("jpeg", "gaussian_blur")) == ["jpeg", "gaussian_blur"]
    assert choose(degrade=0.5, degradations=()) == sorted(catalog.degradations)

    views = AugmentSpec(degrade=0.5, degradations=("rician_noise", "jpeg"))
    recipe = recipe.model_copy(update={"pretraining": PretrainingSpec(epochs=1, augment=views)})
    assert choose(degrade=0.0) == ["rician_noise", "jpeg"]
    assert choose(degrade=0.5, degradations=("jpeg",)) == ["jpeg", "rician_noise"]


def finish(spec) -> None:
    Path(spec.work).mkdir(parents=True)
    (Path(spec.work) / "result.json").write_text(json.dumps(RESULT))


def test_a_model_is_named_by_data_and_recipe_and_not_by_the_machine(specify):
    names = {
        name_models(specify(threads=threads, device=device)) for threads, device in [(1, "auto"), (4, "cpu")]
    }
    assert len(names) == 1
    assert name_models(specify(protocol="stratified")) not in names
    assert name_models(specify("cnn4_299")) not in names


def test_a_model_that_learns_boxes_depends_on_them_and_no_other_does(curated):
    lake, store = curated
    plain = store.catalog.recipes["slim64"]
    recipes = [plain, plain.model_copy(update={"loss": plain.loss.model_copy(update={"box": 1.0})})]

    def specify_both():
        return [specify_all(recipe, "patient", lake, store, Trainer())[0] for recipe in recipes]

    before = specify_both()
    assert [spec.patients for spec in before] == ["", str(lake.path("patients"))]
    split, patients = lake.read("splits/patient"), lake.read("patients").set_index("image_id")
    chosen = {name: split.loc[split["split"] == name, "image_id"].iloc[0] for name in ("train", "test")}
    found = {}
    for name, image_id in chosen.items():
        changed = patients.copy()
        changed.loc[image_id, ["box_x", "box_y", "box_w", "box_h"]] = [0.5, 0.5, 0.11, 0.12]
        lake.write("patients", changed.reset_index(), inputs=name, code="c")
        found[name] = [spec.model_id for spec in specify_both()]
    assert found["test"] == [spec.model_id for spec in before]
    assert found["train"][0] == before[0].model_id and found["train"][1] != before[1].model_id


def test_the_settings_can_say_how_many_seeds(specify):
    assert [spec.seed for spec in specify()] == [0]
    assert [spec.seed for spec in specify(seeds=3)] == [0, 1, 2]
    assert len({spec.model_id for spec in specify(seeds=3)}) == 3
    assert specify(seeds=3)[0] == specify()[0]


def test_a_model_depends_on_the_degradations_that_its_recipe_names(specify):
    def chosen(recipe: str) -> list[str]:
        return list(specify(recipe)[0].degradations)

    assert chosen("vgg16_baseline_degraded") == ["gaussian_noise", "gaussian_blur", "downsampling"]
    assert chosen("vgg16_baseline") == []


def test_a_model_is_named_by_what_its_weights_file_holds_and_not_by_its_place(tmp_path):
    recipe = load_catalog().recipes["resnet18d"]

    def name(path: Path) -> object:
        model = recipe.model.model_copy(update={"weights": str(path)})
        return identify_recipe(recipe.model_copy(update={"model": model}))

    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    assert name(first) == name(second)
    second.write_bytes(b"another")
    assert name(first) != name(second)


def test_weights_that_are_not_to_be_had_are_refused_unless_training_has_begun(specify, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    specs = specify("mobilenet_640", weights=str(tmp_path))
    with pytest.raises(WeightsError, match=f"put the file here as {tmp_path}/mobilenetv1_100.safetensors"):
        require_weights_of(specs)
    finish(specs[0])
    require_weights_of(specs)
    require_weights_of(specify("resnet18d"))


def test_prose_of_a_split_renames_no_model(curated, specify):
    lake, _store = curated
    before = name_models(specify())
    split = lake.read("splits/patient")
    lake.write("splits/patient", split.assign(why="other words"), inputs="i", code="c")
    assert name_models(specify()) == before
    moved = split["split"].where(split.index != 0, "left_out")
    lake.write("splits/patient", split.assign(split=moved), inputs="i", code="c")
    assert name_models(specify()) != before


def test_the_mlflow_run_is_told_what_stands_behind_the_score(specify):
    patient, published = specify()[0], specify(protocol="published")[0]
    assert "one to stand behind" in describe_run(patient, "passed")
    assert "Copies and patients cross" in describe_run(published, "leaks: 3 shared_md5")
    assert run_key(patient).startswith("resnet18d/patient/seed-0/")
    assert describe_params(patient)["input/size"] == "224"


def test_an_unfinished_or_damaged_training_says_what_to_do(specify, tmp_path):
    spec = specify()[0]
    assert not is_trained(spec)
    with pytest.raises(TrainingError, match="materialise the asset `model`"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(TrainingError, match="counts as unfinished"):
        read_result(tmp_path)


def test_a_training_without_calibration_or_reference_is_not_ready_to_be_packaged(specify):
    spec = specify()[0]
    assert not is_fitted(spec)
    Path(spec.work).mkdir(parents=True)
    Path(spec.work, "reference.safetensors").write_bytes(b"features")
    assert not is_fitted(spec)
    Path(spec.work, "calibration.json").write_bytes(b"temperature")
    assert is_fitted(spec)


def test_prediction_refuses_a_training_that_did_not_finish(curated, specify):
    lake, _store = curated
    with pytest.raises(TrainingError, match="counts as unfinished"):
        predict_one(None, specify()[0], lake, Trainer())
    assert read_rows(lake, "openings").empty


def test_an_opening_of_the_test_part_is_a_row_in_the_ledger(specify, curated):
    lake, _store = curated
    spec = specify()[0]
    for _ in range(2):
        record_opening(spec, lake)
    rows = read_rows(lake, "openings")
    assert rows["recipe"].tolist() == ["resnet18d"] * 2
    assert rows["model_id"].tolist() == [spec.model_id] * 2
    assert rows["images"].nunique() == 1
    assert rows["opened_at"].is_monotonic_increasing


def answer_test_part(lake, recipe) -> pd.DataFrame:
    """Answers to the test part of `patient` as it is now, all alike."""
    used = select_rows(lake.read("splits/patient"), recipe, "patient")
    test = used[used["split"] == "test"].merge(lake.read("groups"), on="image_id")
    named = {"model_id": "m", "recipe": recipe.name, "protocol": "patient", "seed": 0, "variant": "clean"}
    rows = test[["image_id", "collection", "path", "label", "group_id"]].assign(**named)
    return rows.assign(**{f"p_{label}": 0.25 for label in LABELS})


def test_predictions_of_recipes_that_left_the_catalog_are_not_ranked(curated):
    lake, store = curated
    frame = answer_test_part(lake, store.catalog.recipes["resnet18d"])
    assert len(frame)
    for recipe in ("resnet18d", "gone"):
        lake.write(f"predictions/patient/{recipe}", frame.assign(recipe=recipe), inputs="i", code="c")
    assert find_predictions(lake, store) == ["predictions/patient/resnet18d"]


def test_groups_under_other_names_are_the_same_groups(curated):
    lake, store = curated
    recipe = store.catalog.recipes["resnet18d"]
    lake.write("predictions/patient/resnet18d", answer_test_part(lake, recipe), inputs="i", code="c")
    groups = lake.read("groups")
    lake.write("groups", groups.assign(group_id="z" + groups["group_id"]), inputs="j", code="c")
    assert find_predictions(lake, store) == ["predictions/patient/resnet18d"]


@pytest.mark.parametrize("change", ["an image more", "another label", "another group"])
def test_answers_to_an_earlier_test_part_are_left_out_and_told(curated, change):
    lake, store = curated
    recipe = store.catalog.recipes["resnet18d"]
    lake.write("predictions/patient/resnet18d", answer_test_part(lake, recipe), inputs="i", code="c")
    assert tell_earlier(lake, store) == ""
    split, groups = lake.read("splits/patient"), lake.read("groups")
    tested = split.index[split["split"] == "test"][0]
    if change == "an image more":
        split.loc[split.index[split["split"] == "train"][0], "split"] = "test"
    elif change == "another label":
        split.loc[tested, "label"] = LABELS[LABELS.index(split.loc[tested, "label"]) - 1]
    else:
        here = groups["image_id"] == split.loc[tested, "image_id"]
        groups.loc[here, "group_id"] = groups.loc[~here, "group_id"].iloc[0]
    lake.write("splits/patient", split, inputs="j", code="c")
    lake.write("groups", groups, inputs="j", code="c")
    assert find_predictions(lake, store) == []
    told = tell_earlier(lake, store)
    assert "left out, since the test part has changed since they answered: resnet18d under patient" in told
    assert "make train RECIPE=resnet18d PROTOCOL=patient" in told
    with pytest.raises(
        TableError, match="there is nothing to rank; left out, since the test part has changed"
    ):
        dg.materialize([leaderboard], resources={"lake": lake, "raw_store": store})
    lake.write("predictions/patient/resnet18d", answer_test_part(lake, recipe), inputs="j", code="c")
    assert find_predictions(lake, store) == ["predictions/patient/resnet18d"]


def test_the_leaderboards_digest_follows_every_predictions_table(curated):
    lake, store = curated
    before = digest_leaderboard(lake, store)
    frame = answer_test_part(lake, store.catalog.recipes["resnet18d"])
    lake.write("predictions/patient/resnet18d", frame, inputs="i", code="c")
    added = digest_leaderboard(lake, store)
    assert added != before
    lake.write("predictions/patient/resnet18d", frame.assign(p_glioma=0.3), inputs="i", code="c")
    assert digest_leaderboard(lake, store) not in (before, added)
    assert digest_leaderboard(lake, store) == digest_leaderboard(lake, store)


def test_a_control_carries_its_name_as_verdict_and_is_neither_ranked_nor_released(curated, specify):
    lake, store = curated
    recipe = store.catalog.recipes["slim64_shuffled"]
    assert judge(recipe, "passed").startswith("control, labels shuffled")
    assert judge(store.catalog.recipes["slim64"], "passed") == "passed"
    spec = specify("slim64")[0]
    control = spec.model_copy(update={"recipe": recipe})
    assert "A control: it must score chance." in describe_run(control, judge(recipe, "passed"))
    for name in ("slim64", "slim64_shuffled"):
        frame = answer_test_part(lake, store.catalog.recipes[name])
        lake.write(f"predictions/patient/{name}", frame, inputs="i", code="c")
    assert find_predictions(lake, store) == ["predictions/patient/slim64"]
