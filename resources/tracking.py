"""MLflow as a resource: the remote server, or the local one of the home, started where none is up."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, PrivateAttr

from resources.mlflow_server import running_server
from resources.registry import Registry
from resources.runs import Runs

LOCAL_UI = "http://127.0.0.1:5000"


class Connection(Runs, Registry):
    """What Falx asks of MLflow: runs (`Runs`), registered models (`Registry`), links (`Server`)."""


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """MLflow of this project: a remote server, or the local one of the home, started where none is up.

    Within a Dagster run one server, once needed, serves all steps of the process; it ends with the run
    unless somebody else uses it.
    """

    home: str = Field(description="folder that holds the state; the local server lies in its mlflow/")
    uri: str = Field("", description="address of a remote MLflow server; empty means the local one")
    ui: str = Field(LOCAL_UI, description="address of the local server's pages, for links")
    experiment: str = Field("falx", description="name of the experiment that holds the runs")

    _held: ExitStack | None = PrivateAttr(default=None)
    _address: str = PrivateAttr(default="")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Called by Dagster at the start of a run: from now on a started server is kept."""
        self._held = ExitStack()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Called by Dagster at the end of a run: let go of the server."""
        held, self._held, self._address = self._held, None, ""
        if held is not None:
            held.close()

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """Yield a connection to the server, started for the block, or the Dagster run, where none is up.

        Raises:
            TrackingError: no server could be started or reached.
        """
        with ExitStack() as own:
            yield Connection(
                self._reach(self._held or own), Path(self.home), self.experiment, self.uri or self.ui
            )

    def _reach(self, stack: ExitStack) -> str:
        if self.uri:
            return self.uri.rstrip("/")
        if not self._address or stack is not self._held:
            # On the port that links point to, where it is free: they then work during the run, too.
            prefer = urlsplit(self.ui).port or 0
            address = stack.enter_context(running_server(Path(self.home), prefer=prefer))
            self._address = address if stack is self._held else ""
            return address
        return self._address
