"""The graph by command: what is stale is run once, and a failure is told in the step's own words."""

import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
from PIL import Image

from assets.partitions import grid_key, training_grid
from assets.raw import raw_assets
from assets.trainings import is_trained, name_models, specify_all
from commands.graph import Graph, RunFailedError, describe_failure
from pipeline.catalog import load_catalog
from pipeline.errors import TableError
from pipeline.tables import find_table
from resources.instance import POOL, WANTS
from resources.lake import Lake
from resources.raw import RawStore
from resources.trainer import Trainer

CATALOG = load_catalog()
SPLIT = {"image_id": ["a"], "collection": ["c"], "path": ["p"], "label": ["glioma"], "split": ["test"]}


@pytest.fixture
def make_graph(store):
    """Graphs of the given assets, all in one job named `work`, on an instance that forgets."""
    with dg.DagsterInstance.ephemeral() as instance:

        def make(*assets: dg.AssetsDefinition, **resources: object) -> Graph:
            given = {"lake": Lake(home=store.home), "raw_store": store, "trainer": Trainer(), **resources}
            work = dg.define_asset_job("work", dg.AssetSelection.assets(*assets))
            defs = dg.Definitions(
                assets=list(assets),
                jobs=[work],
                executor=dg.in_process_executor,
                resources=given,
                loggers={"console": quiet},
            )
            return Graph(defs, instance, given, "make work")

        yield make


@dg.logger({"log_level": dg.Field(str), "label": dg.Field(str)})
def quiet(context):
    import logging

    return logging.Logger("quiet", level=logging.CRITICAL)


def test_a_failing_job_speaks_the_words_of_the_step_and_not_of_what_lies_below(make_graph):
    @dg.asset
    def table() -> None:
        try:
            Path("/nowhere/at/all").read_bytes()
        except OSError as error:
            raise TableError("the table is damaged; restore it") from error

    with pytest.raises(RunFailedError) as caught:
        make_graph(table).refresh("work")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("work failed (run ")
    assert lines[1] == "  table: TableError: the table is damaged; restore it"
    assert lines[2].startswith("Mend the cause")
    assert "nowhere" not in str(caught.value)


def test_a_refused_payload_speaks_without_stacks(make_graph):
    @dg.asset
    def model() -> None:
        raise dg.Failure("the process for train ended with exit code 2", allow_retries=False)

    with pytest.raises(RunFailedError, match=r"model: .*ended with exit code 2"):
        make_graph(model).refresh("work")


def test_a_run_that_reaches_no_step_says_why(make_graph):
    class Broken(dg.ConfigurableResource):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            raise TableError("the resource is broken")

    @dg.asset
    def table(broken: Broken) -> None:
        raise AssertionError("not reached")

    with pytest.raises(RunFailedError, match="the resource is broken"):
        make_graph(table, broken=Broken()).refresh("work")


def test_a_run_that_claims_a_slot_waits_for_one_and_is_marked(make_graph, monkeypatch, capsys):
    asked, steps = [], []

    @contextmanager
    def take_turn(instance, tell):
        asked.append(instance)
        tell("waiting for another")
        steps.append("begin")
        yield
        steps.append("end")

    monkeypatch.setattr("commands.graph.take_turn", take_turn)

    @dg.asset(pool=POOL)
    def examination() -> None:
        steps.append("run")

    @dg.asset
    def table() -> None:
        pass

    graph = make_graph(examination)
    graph.refresh("work", label="cnn3 patient")
    assert asked == [graph.instance]
    assert steps == ["begin", "run", "end"]
    assert capsys.readouterr().out == "  cnn3 patient: waiting for another\n"
    make_graph(table).refresh("work")
    assert len(asked) == 1
    marks = [run.tags.get(WANTS) for run in graph.instance.get_runs()]
    assert marks == [None, POOL], "the newest first"


def test_an_interrupted_run_is_an_interrupt(make_graph):
    @dg.asset
    def table() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_graph(table).refresh("work")


def write_image(store: RawStore, name: str) -> Path:
    folder = store.folder(CATALOG.collections["sartajbhuvaji"]) / "Training" / "no_tumor"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 64), 9).save(folder / name)
    return folder


def test_a_collection_that_comes_goes_or_is_trusted_anew_is_noticed(make_graph, store):
    raw = next(asset for asset in raw_assets(CATALOG) if asset.key.path[-1] == "sartajbhuvaji")
    graph, name = make_graph(raw), "raw/sartajbhuvaji"

    def refresh() -> list[str]:
        made = graph.refresh("work").made
        assert graph.refresh("work").reused == [name]
        return made

    assert refresh() == [name], "absent"
    folder = write_image(store, "a.png")
    assert refresh() == [name], "came"
    write_image(store, "b.png")
    store.lock_path.unlink()
    assert refresh() == [name], "to be trusted anew"
    shutil.rmtree(folder.parents[1])
    assert refresh() == [name], "went"


def test_files_that_changed_behind_the_pin_stop_the_next_run(make_graph, store):
    raw = next(asset for asset in raw_assets(CATALOG) if asset.key.path[-1] == "sartajbhuvaji")
    graph, folder = make_graph(raw), write_image(store, "a.png")
    graph.refresh("work")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes() + b"more")
    with pytest.raises(RunFailedError, match="the bytes are not those"):
        graph.refresh("work")


def fake_model(trained: list[str]) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=training_grid(CATALOG))
    def model(
        context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore, trainer: Trainer
    ) -> dg.MaterializeResult:
        place = context.partition_key.keys_by_dimension
        recipe = raw_store.catalog.recipes[place["recipe"]]
        specs = specify_all(recipe, place["protocol"], lake, raw_store, trainer)
        for spec in specs:
            Path(spec.work).mkdir(parents=True, exist_ok=True)
            (Path(spec.work) / "result.json").write_text("{}")
            trained.append(spec.work)
        return dg.MaterializeResult(data_version=dg.DataVersion(name_models(specs)))

    return model


def test_a_leaderboard_of_other_predictions_is_stale(make_graph, monkeypatch):
    """Dagster does not look where 100 partitions or more lie upstream."""
    now = ["one"]
    monkeypatch.setattr("commands.graph.digest_leaderboard", lambda *_: now[0])

    @dg.asset
    def leaderboard(lake: Lake) -> None:
        lake.write(
            "leaderboard", pd.DataFrame(columns=find_table("leaderboard").names), inputs=now[0], code="1"
        )

    graph = make_graph(leaderboard)
    assert graph.refresh("work").made == ["leaderboard"]
    assert graph.refresh("work").made == []
    now[0] = "two"
    assert graph.refresh("work").made == ["leaderboard"]
    assert graph.refresh("work").made == []


def test_a_model_is_trained_again_if_it_would_be_another_or_its_files_are_gone(make_graph, store):
    import pandas as pd

    trained: list[str] = []
    graph = make_graph(fake_model(trained))
    split = pd.DataFrame(SPLIT | {"why": ["w"], "picture_id": [None], "copy_rank": [None]})
    graph.lake.write("splits/patient", split, inputs="i", code="c")
    key = grid_key("cnn3", "patient")
    assert graph.refresh("work", key).made == ["model"]
    assert graph.refresh("work", key).describe().endswith("1 assets reused, nothing materialised")
    Path(trained[-1], "result.json").unlink()
    assert graph.refresh("work", key).made == ["model"], "its files were gone"
    graph.lake.write("splits/patient", split.assign(collection="masoudnickparvar"), inputs="j", code="c")
    assert graph.refresh("work", key).made == ["model"], "its data changed"
    assert len(set(trained)) == 2
    assert graph.refresh("work", key, force=True).made == ["model"]
    specs = specify_all(CATALOG.recipes["cnn3"], "patient", graph.lake, store, graph.trainer)
    assert all(is_trained(spec) for spec in specs)


def test_a_failure_without_a_record_says_so():
    data = SimpleNamespace(error=None)
    event = SimpleNamespace(is_step_failure=True, step_failure_data=data)
    assert describe_failure(event) == "no error was recorded"


def test_only_a_run_that_is_over_counts_as_dead(make_graph):
    @dg.asset
    def table() -> None: ...

    graph = make_graph(table)
    graph.refresh("work")
    (over,) = graph.instance.get_runs()
    unfinished = graph.instance.create_run_for_job(
        graph.defs.resolve_job_def("work"), status=dg.DagsterRunStatus.STARTED
    )
    assert not graph.may_run(over.run_id)
    assert graph.may_run(unfinished.run_id)
    assert graph.may_run("a run of another instance")
