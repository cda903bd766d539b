"""Runs: one a key, with the state that is true; and what is logged, read back from a real server."""

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from pipeline.errors import TrackingError
from resources.runs import KEY
from resources.tracking import Connection, Tracking


def status(connection: Connection, run_id: str) -> str:
    return str(connection.client.get_run(run_id).info.status)


def hold(connection: Connection, failure: BaseException | None, key: str = "k") -> str:
    with connection.run(key, "name") as run:
        if failure is not None:
            raise failure
    return run.run_id


def find_runs(connection: Connection) -> list[str]:
    return [run.info.run_id for run in connection.client.search_runs([connection.experiment_id])]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ValueError("no"), "FAILED"),
        (SystemExit(3), "FAILED"),
        (DagsterExecutionInterruptedError(), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_a_run_ends_as_its_block_ended(connection: Connection, failure: BaseException, expected: str):
    with pytest.raises(type(failure)):
        hold(connection, failure)
    (run_id,) = find_runs(connection)
    assert status(connection, run_id) == expected
    assert hold(connection, None) == run_id
    assert status(connection, run_id) == "FINISHED"
    assert find_runs(connection) == [run_id]


def test_control_c_marks_the_run_killed(connection: Connection):
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt), connection.run("k", "name") as run:
        assert status(connection, run.run_id) == "RUNNING"
        signal.raise_signal(signal.SIGINT)
    assert status(connection, run.run_id) == "KILLED"


def test_a_finished_run_is_found_and_left_as_it_is(connection: Connection):
    run_id = hold(connection, None)
    again = connection.open_run("k", "another name")
    assert (again.run_id, again.finished, again.resumed) == (run_id, True, True)
    with pytest.raises(ValueError, match="no"):
        hold(connection, ValueError("no"))
    assert status(connection, run_id) == "FINISHED"
    assert connection.client.get_run(run_id).info.run_name == "name"


def test_another_key_is_another_run(connection: Connection):
    assert hold(connection, None, "a") != hold(connection, None, "b")


def test_a_crash_right_after_creation_leaves_one_run(connection: Connection):
    """Tags are given at creation: what is torn off is found by its key, and its params are made up for."""
    torn = connection.client.create_run(connection.experiment_id, tags={KEY: "k"}).info.run_id
    opened = connection.open_run("k", "name", params={"a": 1}, tags={"gate": "passed"})
    assert opened == (torn, False, True)
    run = connection.client.get_run(torn)
    assert (run.info.run_name, run.data.params, run.data.tags["gate"]) == ("name", {"a": "1"}, "passed")


def test_params_keep_their_first_value(connection: Connection):
    first = connection.open_run("k", "name", params={"device": "cpu", "size": 64})
    connection.close_run(first.run_id, "FAILED")
    connection.open_run("k", "name", params={"device": "cuda", "more": [1, "é"]})
    params = connection.client.get_run(first.run_id).data.params
    assert params == {"device": "cpu", "size": "64", "more": '[1, "é"]'}


def test_many_params_arrive(connection: Connection):
    params = {f"group/{number}": number for number in range(230)}
    run_id = connection.open_run("k", "name", params=params).run_id
    assert len(connection.client.get_run(run_id).data.params) == 230


def test_a_param_that_mlflow_would_cut_is_refused(connection: Connection):
    connection.open_run("fits", "name", params={"long": "x" * 6000})
    with pytest.raises(TrackingError, match=r"long are longer than the 6000"):
        connection.open_run("k", "name", params={"long": "x" * 6001, "short": "x"})
    assert len(find_runs(connection)) == 1


def test_a_key_that_cannot_be_searched_is_refused(connection: Connection):
    with pytest.raises(TrackingError, match="quote"):
        connection.open_run("it's", "name")


def test_eight_at_once_open_one_run(connection: Connection):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: connection.open_run("k", "name").run_id, range(8)))
    assert len(set(opened)) == 1
    assert find_runs(connection) == opened[:1]


def test_the_page_says_who_what_and_why(connection: Connection):
    run_id = connection.open_run("k", "cnn3-patient-s0", description="**Gate:** passed").run_id
    run = connection.client.get_run(run_id)
    assert run.info.run_name == "cnn3-patient-s0"
    assert run.data.tags["mlflow.note.content"] == "**Gate:** passed"
    assert run.data.tags["mlflow.user"]
    assert run.data.tags["mlflow.source.name"] == "falx"


def test_the_experiment_has_a_note_and_is_made_once(connection: Connection, tmp_path: Path):
    other = Connection(connection.uri, tmp_path, experiment=connection.experiment)
    with ThreadPoolExecutor(2) as pool:
        ids = list(pool.map(lambda one: one.experiment_id, (connection, other)))
    assert ids[0] == ids[1]
    assert "`patient`" in connection.client.get_experiment(ids[0]).tags["mlflow.note.content"]


def test_a_deleted_experiment_is_named(connection: Connection, tmp_path: Path):
    connection.client.delete_experiment(connection.experiment_id)
    again = Connection(connection.uri, tmp_path, experiment=connection.experiment)
    with pytest.raises(TrackingError, match=r"was deleted .* restore -x \d+"):
        again.open_run("k", "name")


def test_an_epoch_is_logged_once(connection: Connection):
    run_id = connection.open_run("k", "name").run_id
    for value in (0.5, 0.7):
        connection.log_epoch(run_id, 1, {"train/loss": value, "val/loss": value})
    connection.log_epoch(run_id, 2, {})
    history = connection.client.get_metric_history(run_id, "val/loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5)]


def make_split() -> pd.DataFrame:
    splits = ["train"] * 4 + ["val"] * 2 + ["test", "left_out"]
    labels = ["glioma", "glioma", "no_tumor", "pituitary"] * 2
    return pd.DataFrame({"image_id": [f"{n:032x}" for n in range(8)], "split": splits, "label": labels})


def test_train_val_and_test_are_logged_as_datasets(connection: Connection):
    run_id = connection.open_run("k", "name").run_id
    digest = "0123456789abcdef" * 2
    for _ in range(2):
        names = connection.log_data(
            run_id, make_split(), name="patient", digest=digest, source="lake/x.parquet"
        )
    assert names == ["patient-train", "patient-val", "patient-test"]
    inputs = connection.client.get_run(run_id).inputs.dataset_inputs
    found = {one.tags[0].value: one.dataset for one in inputs}
    assert {part: (one.name, one.digest) for part, one in found.items()} == {
        "train": ("patient-train", digest),
        "val": ("patient-val", digest),
        "test": ("patient-test", digest),
    }
    profile = json.loads(found["train"].profile)
    assert (profile["num_rows"], profile["glioma"], profile["meningioma"]) == (4, 2, 0)
    assert json.loads(found["train"].source) == {"uri": "lake/x.parquet"}


@pytest.mark.parametrize("digest", ["", "d" * 37, "d" * 64])
def test_a_digest_that_mlflow_would_refuse_is_named(connection: Connection, digest: str):
    run_id = connection.open_run("k", "name").run_id
    with pytest.raises(TrackingError, match=f"digest has {len(digest)} characters"):
        connection.log_data(run_id, make_split(), name="patient", digest=digest)


def test_files_are_stored_as_they_are(connection: Connection, tmp_path: Path):
    (tmp_path / "history.jsonl").write_text("{}\n")
    run_id = connection.open_run("k", "name").run_id
    files = {
        "figures/roc.png": b"\x89PNG",
        "recipe.yaml": "title: é\n",
        "logs/history.jsonl": tmp_path / "history.jsonl",
    }
    connection.log_files(run_id, files)
    root = Path(connection.client.download_artifacts(run_id, "", str(tmp_path)))
    assert (root / "figures/roc.png").read_bytes() == b"\x89PNG"
    assert (root / "recipe.yaml").read_text() == "title: é\n"
    assert (root / "logs/history.jsonl").read_text() == "{}\n"
    assert connection.client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:/")


def make_metrics(offset: float = 0.0) -> pd.DataFrame:
    rows = [
        ("macro_f1", "all", "clean", 0.9 + offset, 0.8, 0.95),
        ("f1", "glioma", "clean", 0.7, 0.6, 0.8),
        ("roc_auc", "pituitary", "clean", None, None, None),
        ("macro_f1", "all", "gaussian_noise:1", 0.8, 0.7, 0.9),
        ("macro_f1", "all", "gaussian_noise:5", 0.3, 0.2, 0.4),
    ]
    return pd.DataFrame(rows, columns=["metric", "class", "variant", "value", "low", "high"])


def test_scores_are_bars_and_degradations_are_curves(connection: Connection):
    run_id = connection.open_run("k", "name").run_id
    for _ in range(2):
        clean = connection.log_scores(run_id, make_metrics())
    expected = {
        "test/macro_f1": 0.9,
        "test/macro_f1_low": 0.8,
        "test/macro_f1_high": 0.95,
        "test/f1/glioma": 0.7,
    }
    assert clean == expected
    points = {
        name: [(point.step, point.value) for point in connection.client.get_metric_history(run_id, name)]
        for name in connection.client.get_run(run_id).data.metrics
    }
    curve = {"test_degraded/gaussian_noise/macro_f1": [(1, 0.8), (5, 0.3)]}
    assert points == {name: [(0, value)] for name, value in expected.items()} | curve


def test_the_dead_are_swept(connection: Connection):
    alive, dead, unknown = (
        connection.open_run(key, key, tags=tags).run_id
        for key, tags in (("a", {"dagster.run_id": "up"}), ("b", {"dagster.run_id": "gone"}), ("c", {}))
    )
    ended = connection.open_run("d", "d", tags={"dagster.run_id": "gone"}).run_id
    connection.close_run(ended, "FAILED")
    foreign = connection.client.create_run(connection.experiment_id).info.run_id
    assert connection.sweep(lambda run: run == "up") == [dead]
    assert [status(connection, one) for one in (alive, dead, unknown, ended, foreign)] == [
        "RUNNING",
        "KILLED",
        "RUNNING",
        "FAILED",
        "RUNNING",
    ]


def test_links_open_the_view_for_models(mlflow_home):
    connection = Connection(mlflow_home.uri, mlflow_home.path, ui="http://127.0.0.1:5000/")
    number = connection.experiment_id
    view = "?workflowType=machine_learning"
    assert connection.run_url("r") == f"http://127.0.0.1:5000/#/experiments/{number}/runs/r{view}"
    assert connection.experiment_url() == f"http://127.0.0.1:5000/#/experiments/{number}/runs{view}"
    assert (
        connection.model_url("falx-a b", "2") == f"http://127.0.0.1:5000/#/models/falx-a%20b/versions/2{view}"
    )


def test_a_server_that_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 failed .* FALX_MLFLOW_URI"):
        Connection("http://127.0.0.1:9", tmp_path).open_run("k", "name")


def test_a_run_that_cannot_be_closed_keeps_its_own_error(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise TrackingError("away")

    monkeypatch.setattr(connection, "close_run", refuse)
    with pytest.raises(ValueError, match="no") as caught:
        hold(connection, ValueError("no"))
    assert "could not be marked FAILED: away" in caught.value.__notes__[0]


def test_a_dagster_run_uses_one_server_for_all_its_steps(mlflow_home, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    entered: list[str] = []
    import resources.tracking as module

    real = module.running_server

    def counted(*args, **kwargs):
        entered.append("server")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "running_server", counted)

    @dg.asset
    def first(tracking: Tracking) -> None:
        with tracking.connected() as one:
            seen.append(one.uri)

    @dg.asset(deps=[first])
    def second(tracking: Tracking) -> None:
        with tracking.connected() as one:
            seen.append(one.uri)

    with dg.DagsterInstance.ephemeral() as instance:
        tracking = Tracking(home=str(mlflow_home.path))
        assert dg.materialize([first, second], resources={"tracking": tracking}, instance=instance).success
    assert seen == [mlflow_home.uri] * 2
    assert entered == ["server"]
    assert mlflow_home.handle.alive()


def test_outside_of_dagster_a_block_holds_the_server(mlflow_home):
    with Tracking(home=str(mlflow_home.path)).connected() as connection:
        assert connection.uri == mlflow_home.uri


def test_a_remote_server_is_used_and_linked_to(mlflow_home, tmp_path: Path):
    with Tracking(home=str(tmp_path), uri=mlflow_home.uri + "/").connected() as connection:
        assert connection.uri == mlflow_home.uri
        assert connection.run_url("r").startswith(mlflow_home.uri + "/#/")
    assert not (tmp_path / "mlflow" / "mlflow.db").exists()


def test_loading_the_resource_imports_nothing_heavy():
    heavy = {"mlflow", "torch", "pandas", "sklearn", "numpy", "pyarrow"}
    code = f"import sys, resources.tracking; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
