"""One MLflow server for all tests that need one, and a migrated database to start others from."""

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.mlflow_server import ServerHandle, serve
from resources.tracking import Connection

sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "serving"))  # shades.py


@dataclass(frozen=True)
class MlflowHome:
    """A home whose server runs, and a copy of its database from before anything was logged."""

    path: Path
    handle: ServerHandle
    empty_database: Path

    @property
    def uri(self) -> str:
        return self.handle.uri


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database that may be in use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowHome]:
    home = tmp_path_factory.mktemp("mlflow-home")
    with serve(home) as handle:
        empty = home / "empty.db"
        copy_database(home / "mlflow" / "mlflow.db", empty)
        yield MlflowHome(home, handle, empty)


@pytest.fixture
def fresh_home(mlflow_home: MlflowHome, tmp_path: Path) -> Path:
    """A home without a server, whose database is migrated already, which saves 3 s."""
    copy_database(mlflow_home.empty_database, tmp_path / "home" / "mlflow" / "mlflow.db")
    return tmp_path / "home"


@pytest.fixture
def connection(mlflow_home: MlflowHome, request: pytest.FixtureRequest) -> Connection:
    """A connection with an experiment of the test's own."""
    return Connection(mlflow_home.uri, mlflow_home.path, experiment=request.node.name)
