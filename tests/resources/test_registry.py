"""The registry: one version a training, readable, movable with its home, answering over HTTP."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from shades import draw_head, draw_shade, encode, make_card, make_package, write_dicom

from pipeline.errors import ServingError, TrackingError
from pipeline.labels import LABELS
from pipeline.phantoms.foreign import draw_foreign
from pipeline.serving.card import Conformal, ModelCard
from resources.mlflow_client import CLIENT_ENVIRONMENT
from resources.mlflow_server import serve
from resources.registry import CHAMPION, describe_name, describe_version, registered_name, sign_model
from resources.tracking import Connection

SCORES = {"test/accuracy": 0.91, "test/macro_f1": 0.9, "test/f1/glioma": 0.7}


@pytest.fixture
def package(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, ModelCard]:
    """A package of the shades model under a protocol, and so a registered name, of the test's own."""
    protocol = "external:" + request.node.name.removeprefix("test_").replace("_", "-")
    card = make_package(tmp_path, protocol=protocol, model_id=protocol)
    return tmp_path / "package", card


def register(connection: Connection, package: tuple[Path, ModelCard]) -> tuple[str, str, str]:
    """Register under a run; run, name and version."""
    with connection.run(package[1].model_id, "shades") as run:
        version = connection.register(run.run_id, *package)
    return run.run_id, registered_name(package[1].recipe, package[1].protocol), version


def find_logged_models(connection: Connection) -> list[Any]:
    return list(connection.client.search_logged_models([connection.experiment_id]))


def test_registering_twice_gives_one_version(connection: Connection, package):
    run_id, name, version = register(connection, package)
    assert connection.register(run_id, *package) == version == "1"
    assert len(connection.client.search_model_versions(f"name = '{name}'")) == 1
    (logged,) = find_logged_models(connection)
    assert (str(logged.status), logged.source_run_id) == ("READY", run_id)
    assert connection.find_logged_model(name, version) == logged.model_id


def test_another_training_is_another_version_of_the_same_name(
    connection: Connection, package, tmp_path: Path
):
    run_id, name, _ = register(connection, package)
    other = make_package(tmp_path / "other", protocol=package[1].protocol, model_id="another")
    assert connection.register(run_id, tmp_path / "other" / "package", other) == "2"
    assert connection.find_version(name, "another") == "2"
    assert connection.find_version(name, "a third") == ""
    assert connection.find_run(name, "another") == run_id
    with pytest.raises(
        TrackingError, match=f"^no version of {name} holds model a third; .*materialise model"
    ):
        connection.find_run(name, "a third")


def test_a_version_carries_verdict_figures_and_data(connection: Connection, package):
    _, name, version = register(connection, package)
    found = connection.client.get_model_version(name, version)
    card = package[1]
    assert found.tags["gate"] == "passed"
    assert found.tags["data_digest"] == card.data_digest
    assert found.tags["val_macro_f1"] == "0.9600"
    assert found.tags["falx.model_id"] == card.model_id
    assert found.description.startswith("Val accuracy 0.9700, val macro F1 0.9600. Gate: passed.")
    assert "not a medical device" in found.description
    described = connection.client.get_registered_model(name)
    assert "\n" not in described.description
    assert described.tags == {"recipe": "shades", "protocol": card.protocol}


def test_test_figures_are_added_afterwards(connection: Connection, package):
    _, name, version = register(connection, package)
    connection.update_version(name, version, package[1], SCORES, note="Optimism 0.05 (0.01 to 0.09).")
    found = connection.client.get_model_version(name, version)
    assert found.description.startswith("Test accuracy 0.9100, test macro F1 0.9000, val")
    assert "Optimism 0.05" in found.description
    assert (found.tags["test_accuracy"], found.tags["test_macro_f1"]) == ("0.9100", "0.9000")
    logged = connection.client.get_logged_model(connection.find_logged_model(name, version))
    assert logged.tags["mlflow.note.content"] == found.description


def test_scores_show_on_the_models_page_with_their_data(connection: Connection, package):
    import pandas as pd

    run_id, name, version = register(connection, package)
    split = pd.DataFrame({"image_id": ["a", "b"], "split": ["train", "test"], "label": ["glioma"] * 2})
    connection.log_data(run_id, split, name="patient", digest="d" * 32)
    rows = [("accuracy", "all", "clean", 0.9, 0.8, 1.0), ("accuracy", "all", "blur:2", 0.5, 0.4, 0.6)]
    metrics = pd.DataFrame(rows, columns=["metric", "class", "variant", "value", "low", "high"])
    logged = connection.find_logged_model(name, version)
    connection.log_scores(run_id, metrics, logged_model=logged)
    shown = connection.client.get_logged_model(logged).metrics
    assert [(one.key, one.value, one.dataset_name) for one in shown] == [
        ("test/accuracy", 0.9, "patient-test")
    ]
    assert connection.client.get_run(run_id).data.metrics["test_degraded/blur/accuracy"] == 0.5


def test_a_failed_registration_leaves_nothing_broken(
    connection: Connection, package, monkeypatch: pytest.MonkeyPatch
):
    def cut(*_: object) -> None:
        raise ConnectionResetError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(connection.client, "log_model_artifacts", cut)
        with pytest.raises(ConnectionResetError):
            register(connection, package)
    assert find_logged_models(connection) == []
    version = register(connection, package)[2]
    assert version == "1"
    assert len(find_logged_models(connection)) == 1


def test_what_a_killed_registration_left_is_removed_or_used(connection: Connection, package):
    card = package[1]
    tags = {"falx.model_id": card.model_id}
    run_id = connection.open_run(card.model_id, "shades").run_id
    torn = connection.client.create_logged_model(connection.experiment_id, "torn", run_id, tags=tags)
    connection.register(run_id, *package)
    (whole,) = find_logged_models(connection)
    assert whole.model_id != torn.model_id
    name = registered_name(card.recipe, card.protocol)
    connection.client.delete_model_version(name, "1")
    assert connection.register(run_id, *package) == "2"
    assert [one.model_id for one in find_logged_models(connection)] == [whole.model_id]


def test_a_package_that_breaks_its_contract_is_not_registered(connection: Connection, package):
    (package[0] / "best.safetensors").write_bytes(b"other")
    with pytest.raises(ServingError, match="does not hold the weights"):
        register(connection, package)
    assert find_logged_models(connection) == []
    name = registered_name(package[1].recipe, package[1].protocol)
    assert connection.client.search_model_versions(f"name = '{name}'") == []


def test_an_alias_moves(connection: Connection, package):
    run_id, name, _ = register(connection, package)
    other = package[1].model_copy(update={"model_id": "second"})
    (package[0] / "card.json").write_text(other.model_dump_json())
    connection.register(run_id, package[0], other)
    for version in ("1", "2"):
        connection.set_alias(name, "best", version)
        assert connection.client.get_model_version_by_alias(name, "best").version == version


def test_the_champion_has_one_address(connection: Connection, package):
    _, name, version = register(connection, package)
    released = connection.release(name, version, to="released")
    assert connection.release(name, version, to="released") == released
    assert connection.read_alias("released") == "", "a release alone moves no alias"
    connection.set_alias("released", CHAMPION, released)
    champion = connection.client.get_model_version_by_alias("released", "champion")
    assert champion.version == released
    assert champion.source == connection.client.get_model_version(name, version).source
    assert champion.tags["released_from"] == f"{name} version {version}"


def test_a_release_has_tags_and_its_package_comes_back_as_it_was(connection: Connection, package, tmp_path):
    _, name, version = register(connection, package)
    assert connection.read_alias("tagged") == ""
    released = connection.release(
        name, version, to="tagged", tags={"check/shared_md5": "passed", "long": "x" * 9999}
    )
    found = connection.client.get_model_version("tagged", released)
    assert found.tags["check/shared_md5"] == "passed"
    assert len(found.tags["long"]) == 5000
    connection.set_alias("tagged", CHAMPION, released)
    assert connection.read_alias("tagged") == released
    connection.tag("tagged", released, {"check/shared_md5": "failed"})
    assert connection.client.get_model_version("tagged", released).tags["check/shared_md5"] == "failed"
    folder = connection.fetch_package("tagged", released, tmp_path / "fetched")
    for file in ("card.json", "recipe.json", "best.safetensors"):
        assert (folder / file).read_bytes() == (package[0] / file).read_bytes()


def test_an_unknown_version_is_named(connection: Connection):
    with pytest.raises(TrackingError, match="nobody"):
        connection.find_logged_model("nobody", "1")


@pytest.mark.parametrize(
    ("protocol", "name", "words"),
    [
        ("patient", "falx-shades-patient", "training never saw"),
        ("published", "falx-shades-published", "leaks included"),
        ("stratified", "falx-shades-stratified", "patients are shared"),
        ("external:indk214", "falx-shades-external-indk214", "a collection that training never saw"),
    ],
)
def test_names_and_descriptions_say_the_protocol(protocol: str, name: str, words: str):
    card = make_card(protocol=protocol, gate="leaks: 3 shared_md5")
    assert registered_name(card.recipe, card.protocol) == name
    assert words in describe_name(card)
    assert "leaks: 3 shared_md5" in describe_version(card).splitlines()[0]


def test_the_signature_is_text_in_and_four_probabilities_out(connection: Connection):
    signature = sign_model(make_card())
    assert signature.inputs.input_names() == ["image"]
    names = ["label", *(f"p_{label}" for label in LABELS), "model_id", "error"]
    assert signature.outputs.input_names() == names
    conformal = Conformal(coverage=0.9, threshold=0.2)
    with_sets = sign_model(make_card().model_copy(update={"conformal": conformal})).outputs
    kinds = dict(zip(with_sets.input_names(), with_sets.input_types(), strict=True))
    assert {kinds[f"in_set_{label}"].name for label in LABELS} == {"boolean"}


def copy_home(source: Path, target: Path) -> None:
    """Copy database and artifacts of a home whose server runs."""
    shutil.copytree(source / "mlflow" / "artifacts", target / "mlflow" / "artifacts")
    old, new = source / "mlflow" / "mlflow.db", target / "mlflow" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(old)) as one, contextlib.closing(sqlite3.connect(new)) as other:
        one.backup(other)


def test_the_database_knows_no_folder(connection: Connection, package, mlflow_home):
    register(connection, package)
    with contextlib.closing(sqlite3.connect(mlflow_home.path / "mlflow" / "mlflow.db")) as database:
        text = "\n".join(database.iterdump())
    # The experiment that MLflow makes by itself holds nothing, and is served through the proxy all the same.
    assert "mlflow-artifacts:/" in text
    assert str(mlflow_home.path) not in text


@contextlib.contextmanager
def served(uri: str, model: str) -> Iterator[str]:
    """`mlflow models serve`, as a person would type it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    # MLflow looks for uvicorn on the PATH: in an activated environment it is there.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | CLIENT_ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri, "PATH": path}
    with subprocess.Popen(
        [*command, "-h", "127.0.0.1", "-p", str(port)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_ping(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def wait_for_ping(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ping", timeout=5):
            return
        time.sleep(0.3)
    raise AssertionError(f"no answer at {address}, exit status {process.poll()}")


def ask(address: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    assert "NaN" not in text
    found: list[dict[str, Any]] = json.loads(text)["predictions"]
    return found


def cut_head(label: str) -> bytes:
    """A head whose left half is missing, as PNG: far from the training images."""
    pixels = draw_head(label)
    pixels[:, :60] = 0
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.slow
def test_a_served_version_answers_every_format_and_gives_each_bad_row_its_reason(
    connection: Connection, package, tmp_path: Path
):
    card = make_package(tmp_path, reference=True, protocol=package[1].protocol, model_id=package[1].model_id)
    _, name, version = register(connection, (package[0], card))
    images = [encode(draw_shade(label)) for label in LABELS]
    with served(connection.uri, f"models:/{name}/{version}") as address:
        right = ask(address, {"dataframe_records": [{"image": image} for image in images]})
        assert [row["label"] for row in right] == list(LABELS)
        assert [row["error"] for row in right] == [None] * 4
        assert all(row[f"p_{row['label']}"] > 0.9 for row in right)
        kinds = [encode(draw_shade("pituitary", kind)) for kind in (".png", ".webp", ".bmp")]
        kinds += [encode(write_dicom(draw_head("pituitary")))]
        assert [row["label"] for row in ask(address, {"inputs": {"image": kinds}})] == ["pituitary"] * 4
        assert {row["model_id"] for row in right} == {package[1].model_id}
        mixed = ask(address, {"inputs": {"image": [images[0], encode(b"no image"), images[3]]}})
        assert [row["label"] for row in mixed] == ["glioma", None, "no_tumor"]
        assert mixed[1]["error"].startswith("not_an_image")
        assert mixed[1]["p_glioma"] is None
        bad = {
            "far": cut_head("pituitary"),
            "foreign": draw_foreign("ct", np.random.default_rng(0)),
            "wrong_modality": write_dicom(draw_head("pituitary"), modality="CT"),
            "several_frames": write_dicom(draw_head("pituitary"), frames=3),
            "wrong_size": cv2.imencode(".png", draw_head("pituitary")[::3, ::3])[1].tobytes(),
            "truncated": draw_shade("pituitary", ".png")[:-30],
            "empty": b"",
        }
        rows = [{"image": encode(image)} for image in (*bad.values(), draw_shade("no_tumor"))]
        answered = ask(address, {"dataframe_records": rows})
        assert [row["error"].partition(":")[0] for row in answered[:-1]] == list(bad)
        assert {row["label"] for row in answered[:-1]} == {None}
        assert (answered[-1]["label"], answered[-1]["error"]) == ("no_tumor", None)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(address, {"dataframe_records": [{"picture": images[0]}]})


@pytest.mark.slow
def test_a_moved_home_still_has_its_models(connection: Connection, package, mlflow_home, tmp_path: Path):
    """The copy runs at another place and port, and the model of the first comes out of it."""
    run_id, name, version = register(connection, package)
    connection.log_files(run_id, {"recipe.yaml": "a: 1"})
    copy_home(mlflow_home.path, tmp_path / "moved")
    with serve(tmp_path / "moved") as handle:
        moved = Connection(handle.uri, tmp_path / "moved", experiment=connection.experiment)
        assert moved.open_run(package[1].model_id, "shades").run_id == run_id
        files = Path(moved.client.download_artifacts(run_id, "recipe.yaml", str(tmp_path)))
        assert files.read_text() == "a: 1"
        images = [encode(draw_shade(label)) for label in LABELS]
        assert load_and_ask(handle.uri, f"models:/{name}/{version}", images) == list(LABELS)


ASK = """
import json, sys
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(pd.DataFrame({"image": json.loads(sys.stdin.read())}))
print(json.dumps(answers["label"].to_list()))
"""


def load_and_ask(uri: str, model: str, images: list[str]) -> list[str]:
    """In a process of its own: the address is global to MLflow's functions."""
    asked = subprocess.run(
        [sys.executable, "-c", ASK, model],
        input=json.dumps(images),
        env=os.environ | CLIENT_ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=True,
    )
    labels: list[str] = json.loads(asked.stdout.splitlines()[-1])
    return labels
