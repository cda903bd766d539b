"""The registered models for readers: the latest of each, the champion first, packages whole."""

from pathlib import Path

import pytest
from shades import draw_shade, make_package

from pipeline.errors import ServingError, TrackingError
from pipeline.serving.predictor import Predictor
from resources.registry import CHAMPION, RELEASED, registered_name
from resources.served import ServedModels
from resources.tracking import Connection


def register(connection: Connection, folder: Path, protocol: str, model_id: str) -> str:
    card = make_package(folder, protocol=protocol, model_id=model_id)
    with connection.run(model_id, "shades") as run:
        return connection.register(run.run_id, folder / "package", card)


def own(models: ServedModels, *ids: str):
    """Other tests of this server register models, too."""
    return [model for model in models.list_models() if model.model_id in ids]


def promote(connection: Connection, name: str, version: str) -> None:
    connection.set_alias(RELEASED, CHAMPION, connection.release(name, version))


def test_models_are_listed_and_their_packages_answer(connection: Connection, tmp_path: Path):
    register(connection, tmp_path / "a", "external:served", "served-old")
    register(connection, tmp_path / "b", "external:served", "served-new")
    models = ServedModels(connection, tmp_path / "kept")
    (found,) = own(models, "served-old", "served-new")
    assert (found.model_id, found.version, found.champion) == ("served-new", "2", False)
    assert found.title == "shades · external:served"
    folder = models.fetch(found)
    assert (folder, folder.name) == (models.fetch(found), "served-new")
    assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors", "card.json", "recipe.json"]
    assert Predictor.open(folder).predict([draw_shade("pituitary")])["label"][0] == "pituitary"
    assert [path.name for path in folder.parent.iterdir()] == ["served-new"]


def test_the_champion_stays_when_its_recipe_is_trained_anew(connection: Connection, tmp_path: Path):
    version = register(connection, tmp_path / "a", "external:reign", "reign-old")
    promote(connection, registered_name("shades", "external:reign"), version)
    register(connection, tmp_path / "b", "external:reign", "reign-new")
    found = own(ServedModels(connection, tmp_path / "kept"), "reign-old", "reign-new")
    assert [(one.model_id, one.champion) for one in found] == [("reign-old", True), ("reign-new", False)]


def test_the_champion_comes_first(connection: Connection, tmp_path: Path):
    version = register(connection, tmp_path, "external:zz-last", "served-best")
    promote(connection, registered_name("shades", "external:zz-last"), version)
    first = ServedModels(connection, tmp_path / "kept").list_models()[0]
    assert (first.model_id, first.champion) == ("served-best", True)
    assert first.name == "falx-shades-external-zz-last"


def test_a_model_without_a_package_is_refused_and_leaves_nothing(
    connection: Connection, tmp_path: Path, monkeypatch
):
    register(connection, tmp_path / "a", "external:bare", "served-bare")
    models = ServedModels(connection, tmp_path / "kept")
    (found,) = own(models, "served-bare")
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", lambda **asked: asked["dst_path"])
    with pytest.raises(ServingError, match=r"has no package with a card.json; register it again: make train"):
        models.fetch(found)
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_dead_server_is_an_error_that_names_it(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    connection = Connection("http://127.0.0.1:9", tmp_path)
    with pytest.raises(TrackingError, match=r"read_alias: the MLflow server at http://127.0.0.1:9 failed"):
        ServedModels(connection, tmp_path).list_models()
