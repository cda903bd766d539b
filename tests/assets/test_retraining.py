"""Retraining: what starts it is content, and each reason for doing nothing is said."""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from small_heads import draw_head

import definitions
from assets.candidates import digest_release
from assets.retraining import (
    alert_on_failure,
    find_due,
    look_at_raw,
    raw_data_changed,
    weekly_retraining,
)
from assets.trainings import specify_all
from pipeline.catalog import DEFAULT_CATALOG
from pipeline.tables import find_table
from resources.alerts import Alerts
from resources.trainer import Trainer

RECIPE = "resnet18d"
REPOSITORY = definitions.defs.get_repository_def()


@pytest.fixture
def world(curated, curated_once, make_store, tmp_path):
    """A curated store with raw folders of its own, and one recipe that is marked for retraining."""
    lake, _store = curated
    (tmp_path / "datasets").unlink()
    shutil.copytree(curated_once / "datasets", tmp_path / "datasets")
    shutil.copytree(DEFAULT_CATALOG, tmp_path / "catalog")
    mark(tmp_path, [RECIPE])
    with dg.DagsterInstance.ephemeral() as instance:
        store = make_store(tmp_path, catalog_root=str(tmp_path / "catalog"))
        yield SimpleNamespace(lake=lake, store=store, instance=instance, root=tmp_path)


def mark(root, recipes: list[str]) -> None:
    path = root / "catalog" / "promotion.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"retrain": recipes}))


def look(world, cursor: str | None = None):
    resources = {"lake": world.lake, "raw_store": world.store}
    with dg.build_sensor_context(
        world.instance, cursor=cursor, resources=resources, repository_def=REPOSITORY
    ) as context:
        return raw_data_changed.evaluate_tick(context)


def tick(world):
    resources = {"lake": world.lake, "raw_store": world.store, "trainer": Trainer()}
    monday = datetime(2026, 11, 23, 3, tzinfo=UTC)
    with dg.build_schedule_context(
        world.instance, monday, resources=resources, repository_def=REPOSITORY
    ) as context:
        return weekly_retraining.evaluate_tick(context)


def finish(world) -> None:
    """Let the marked recipe be trained and weighed on the present data."""
    [spec] = specify_all(world.store.catalog.recipes[RECIPE], "patient", world.lake, world.store, Trainer())
    Path(spec.work).mkdir(parents=True)
    (Path(spec.work) / "result.json").write_text("{}")
    digest = digest_release(world.lake, world.store, Trainer())
    world.lake.write("release", pd.DataFrame(columns=find_table("release").names), inputs=digest, code="c")


def add_image(world, collection: str = "masoudnickparvar", name: str = "new.png") -> None:
    folder = world.root / "datasets" / collection / "Training" / "glioma"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_head(np.random.default_rng(9))).save(folder / name)


def settle(world, cursor: str | None = None):
    """The second of two looks at the same files: the first waits until they stand still."""
    return look(world, look(world, cursor).cursor)


def test_the_sensor_says_that_nothing_changed_and_reads_no_byte_twice(world, monkeypatch):
    first = settle(world)
    assert "the bytes are those curated last" in first.skip_message
    monkeypatch.setattr("assets.retraining.look_at_raw", lambda *_: pytest.fail("bytes were read"))
    again = look(world, first.cursor)
    assert again.skip_message == "65 raw files, sizes and times as at the last look"


def test_touched_files_with_the_same_bytes_start_nothing(world):
    cursor = settle(world).cursor
    next((world.root / "datasets").rglob("*.png")).touch()
    assert "the bytes are those curated last" in settle(world, cursor).skip_message


def test_files_that_are_still_being_copied_are_not_read(world, monkeypatch):
    cursor = settle(world).cursor
    with monkeypatch.context() as patch:
        patch.setattr("assets.retraining.look_at_raw", lambda *_: pytest.fail("bytes were read"))
        for name in ("one.png", "two.png"):
            add_image(world, name=name)
            copying = look(world, cursor)
            assert copying.run_requests == []
            assert "read once they stand still" in copying.skip_message
            cursor = copying.cursor
    assert len(look(world, cursor).run_requests) == 1


def test_a_new_collection_starts_one_run_a_marked_recipe_and_only_once(world):
    cursor = settle(world).cursor
    add_image(world)
    cursor = look(world, cursor).cursor
    found = look(world, cursor)
    [request] = found.run_requests
    assert request.partition_key == f"patient|{RECIPE}"
    assert request.tags["falx/retrain"] == RECIPE
    assert "masoudnickparvar-came" in request.tags["falx/why"]
    assert look(world, cursor).run_requests[0].run_key == request.run_key, (
        "the same tick again is the same run"
    )
    assert look(world, found.cursor).run_requests == []


def test_a_cursor_that_other_code_wrote_is_read_as_far_as_it_goes(world):
    cursor = json.dumps({"sign": "an older word", "launches": 3})
    add_image(world)
    [request] = settle(world, cursor).run_requests
    assert request.run_key.startswith("4-")


def test_a_run_that_pins_what_it_reads_is_not_asked_for_again(world):
    """The run that was asked for writes the lock file before anything is curated."""
    from pipeline.lock import measure_folder, trust_or_verify

    cursor = settle(world).cursor
    add_image(world)
    asked = settle(world, cursor)
    assert len(asked.run_requests) == 1
    collection = world.store.catalog.collections["masoudnickparvar"]
    entry = measure_folder(world.store.folder(collection), collection)
    trust_or_verify(world.store.lock_path, "masoudnickparvar", entry)
    again = settle(world, asked.cursor)
    assert again.run_requests == []
    assert "asked for already" in again.skip_message


def test_data_that_comes_goes_and_comes_again_is_new_work_each_time(world):
    cursor, keys = settle(world).cursor, []
    place = world.root / "datasets" / "masoudnickparvar"
    for _ in range(2):
        add_image(world)
        found = settle(world, cursor)
        keys.append(found.run_requests[0].run_key)
        shutil.rmtree(place)
        gone = settle(world, found.cursor)
        assert "the bytes are those curated last" in gone.skip_message
        cursor = gone.cursor
    assert len(set(keys)) == 2


def test_bytes_that_nobody_trusts_start_nothing(world):
    cursor = settle(world).cursor
    add_image(world, "sartajbhuvaji")
    words = "sartajbhuvaji: other bytes than the lock file pins.*make trust COLLECTION=sartajbhuvaji"
    for skipped in (settle(world, cursor), tick(world)):
        assert not getattr(skipped, "run_requests", [])
        assert re.search(words, skipped.skip_message)


def test_once_a_person_trusts_them_the_run_starts(world):
    from pipeline.lock import forget, measure_folder, trust_or_verify

    cursor = settle(world).cursor
    add_image(world, "sartajbhuvaji")
    refused = settle(world, cursor)
    collection = world.store.catalog.collections["sartajbhuvaji"]
    entry = measure_folder(world.store.folder(collection), collection)
    forget(world.store.lock_path, "sartajbhuvaji")
    trust_or_verify(world.store.lock_path, "sartajbhuvaji", entry)
    assert len(settle(world, refused.cursor).run_requests) == 1
    assert look_at_raw(world.lake, world.store).changed == ("sartajbhuvaji has other bytes",)


def test_a_collection_that_went_is_a_change(world):
    shutil.rmtree(world.root / "datasets" / "sartajbhuvaji")
    assert look_at_raw(world.lake, world.store).changed == ("sartajbhuvaji went",)


def test_the_schedule_trains_what_is_not_trained_and_then_does_nothing(world):
    assert find_due(world.lake, world.store, Trainer()) == {RECIPE: "not trained on the present data"}
    [request] = tick(world).run_requests
    assert request.run_key == f"2026-W48/{RECIPE}"
    finish(world)
    assert tick(world).skip_message == f"raw data unchanged, and {RECIPE} trained on it: nothing to do"
    world.lake.forget("release")
    assert find_due(world.lake, world.store, Trainer()) == {
        RECIPE: "trained, but not weighed against the champion"
    }
    world.lake.forget("splits/patient")
    assert find_due(world.lake, world.store, Trainer()) == {RECIPE: "nothing is curated yet"}


def test_the_schedule_sees_new_raw_data_too(world):
    finish(world)
    add_image(world)
    assert len(tick(world).run_requests) == 1


def test_without_a_marked_recipe_both_say_so(world):
    mark(world.root, ["demo_plain"])
    words = "no recipe that promotion.yaml marks is meant for profile folder"
    assert settle(world).skip_message == tick(world).skip_message == words


@pytest.fixture
def failed_run():
    """A run that failed in a step, and the event that says so."""

    @dg.op
    def train() -> None:
        raise ValueError("the split leaks")

    @dg.job
    def retrain() -> None:
        train()

    with dg.DagsterInstance.ephemeral() as instance:
        result = retrain.execute_in_process(instance=instance, raise_on_error=False)
        yield instance, result


def test_a_failed_run_is_an_alert_in_the_steps_own_words(failed_run, tmp_path):
    instance, result = failed_run
    alerts = Alerts(home=str(tmp_path))
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failure",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
        resources={"alerts": alerts},
    ).for_run_failure()
    alert_on_failure(context)
    [line] = [json.loads(line) for line in alerts.path.read_text().splitlines()]
    assert line["job"] == "retrain"
    assert line["outcome"] == "written"
    assert line["text"].startswith(f"Falx: retrain failed (run {result.run_id[:8]}): train: ")
    assert "the split leaks" in line["text"]
