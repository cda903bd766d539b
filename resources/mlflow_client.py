"""The wire to MLflow: a quiet import, a client bound to one address, errors that say what was tried.

Nothing here imports mlflow before a connection is made: it costs 3 s and 160 MB.
"""

import contextlib
import fcntl
import functools
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import quote

from pipeline.errors import TrackingError
from resources.mlflow_keeper import open_lock
from resources.mlflow_server import ENVIRONMENT

if TYPE_CHECKING:
    pass

VIEW = "?workflowType=machine_learning"  # else the UI opens on its view for language models

CLIENT_ENVIRONMENT = {
    **ENVIRONMENT,
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 12 s until a dead server is an error; the default takes 251 s
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # its links open on the wrong view
}

EXPERIMENT_NOTE = (
    "One run a recipe, protocol and seed. The protocol says how the test set was chosen: only figures under "
    "`patient` are ones to stand behind; `published` and `stratified` may share pictures and patients "
    "between training and test, and the tag `gate` counts them."
)

P = ParamSpec("P")
R = TypeVar("R")


def load_mlflow() -> Any:
    """Import mlflow with its telemetry off and its patience bounded; variables that are set already win."""
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Silence the warnings that MLflow raises over its own types, and its advice to use type hints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def explained(method: Callable[P, R]) -> Callable[P, R]:
    """Turn what MLflow raises in a method of `Server` into a TrackingError that says what was tried."""

    @functools.wraps(method)
    def speak(*args: P.args, **kwargs: P.kwargs) -> R:
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            return method(*args, **kwargs)
        except (MlflowException, RequestException) as error:  # the latter while files are passed
            uri = getattr(args[0], "uri", "?")
            raise TrackingError(
                f"{method.__name__}: the MLflow server at {uri} failed or refused: {error}. Where it does "
                "not answer, see mlflow/server.log in the home folder, or the address in FALX_MLFLOW_URI."
            ) from error

    return speak


class Server:
    """An MLflow server as a client sees it: one address, one experiment, no active run.

    Args:
        uri: address of the server.
        home: folder that holds the state; runs are opened under a lock in its `mlflow/`.
        experiment: name of the experiment that holds the runs.
        ui: address of the server's pages for links; empty means `uri`.
    """

    def __init__(self, uri: str, home: Path, experiment: str = "falx", ui: str = "") -> None:
        load_mlflow()
        from mlflow import MlflowClient

        self.uri = uri
        self.experiment = experiment
        self.client: MlflowClient = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._locks = home / "mlflow"
        self._ui = (ui or uri).rstrip("/")
        self._experiment_id = ""

    @property
    def experiment_id(self) -> str:
        """Id of the experiment, made with its note on first use."""
        if not self._experiment_id:
            self._experiment_id = self._find_experiment()
        return self._experiment_id

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Hold a lock of this machine: to look for something and make it must not be torn apart."""
        self._locks.mkdir(parents=True, exist_ok=True)
        with open_lock(self._locks / f"{what}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def experiment_url(self) -> str:
        """The run table's page."""
        return f"{self._ui}/#/experiments/{self.experiment_id}/runs{VIEW}"

    def run_url(self, run_id: str) -> str:
        """A run's page."""
        return f"{self._ui}/#/experiments/{self.experiment_id}/runs/{run_id}{VIEW}"

    def file_url(self, run_id: str, path: str) -> str:
        """The page of a run that shows one of its files."""
        run = f"{self._ui}/#/experiments/{self.experiment_id}/runs/{run_id}"
        return f"{run}/artifacts/{quote(path)}{VIEW}"

    def model_url(self, name: str, version: str) -> str:
        """A registered model version's page."""
        return f"{self._ui}/#/models/{quote(name, safe='')}/versions/{version}{VIEW}"

    @explained
    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                tags = {"mlflow.note.content": EXPERIMENT_NOTE}
                return str(self.client.create_experiment(self.experiment, tags=tags))
            except MlflowException:  # another process was faster
                found = self.client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {self.experiment!r} was deleted in MLflow. Name another, or restore it: "
                f"MLFLOW_TRACKING_URI={self.uri} mlflow experiments restore -x {found.experiment_id}"
            )
        return str(found.experiment_id)
