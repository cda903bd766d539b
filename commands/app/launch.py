"""`make app`: the page on 127.0.0.1, in this very process, until one Ctrl-C ends all."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands.ui import HOST, require_free_port
from pipeline.errors import SettingsError
from pipeline.serving.card import SCOPE
from pipeline.serving.inputs import MAX_IMAGE_BYTES
from resources.console import say
from resources.mlflow_server import serve
from resources.settings import Settings, claim_home, load_settings

PAGE = Path(__file__).with_name("page.py")
UPLOAD_MEGABYTES = MAX_IMAGE_BYTES >> 20

OPTIONS = {
    "server.address": HOST,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.maxUploadSize": UPLOAD_MEGABYTES,
    "browser.gatherUsageStats": False,
    "browser.serverAddress": HOST,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
    "theme.base": "light",
    "theme.primaryColor": "#2f5d7c",
    "theme.backgroundColor": "#fbfbf9",
    "theme.secondaryBackgroundColor": "#f0f1ee",
    "theme.textColor": "#1f2a30",
    "theme.baseRadius": "small",
    "logger.hideWelcomeMessage": True,
}
"""What the server is told, whatever the user's own Streamlit settings say."""


def serve_app() -> int:
    """Serve the page until Ctrl-C. The home's MLflow server is found or started, and let go at the end.

    Raises:
        SettingsError: the port is taken, or Streamlit is not installed.
        TrackingError: the MLflow server could not be started.
    """
    settings = load_settings()
    claim_home(settings.home, settings.profile)
    require_free_port(settings.app_port, "the app", "FALX_APP_PORT", command="make app")
    run = _require_streamlit()
    with _tracking(settings) as uri:
        keep_uploads_in_memory()
        say(f"app      http://{HOST}:{settings.app_port}  slices in, what the registered models say out")
        say(f"MLflow   {uri}  the registered models; profile {settings.profile}, state in {settings.home}")
        say(f"{SCOPE} Nothing that you upload is stored. Ctrl-C ends all.")
        run(str(PAGE), OPTIONS | {"server.port": settings.app_port})
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one; the rest takes a second
        say("\nending the app …")
    return 0


def keep_uploads_in_memory() -> None:
    """Let the server parse uploads in memory: by default it spools what is above 1 MB to a temporary file."""
    from starlette.formparsers import MultiPartParser

    MultiPartParser.spool_max_size = 2 * MAX_IMAGE_BYTES


@contextmanager
def _tracking(settings: Settings) -> Iterator[str]:
    if settings.mlflow_uri:
        yield settings.mlflow_uri
        return
    with serve(settings.home, host=HOST, port=settings.mlflow_port, strict=False) as handle:
        yield handle.uri


def _require_streamlit() -> Any:
    """A function that runs a page with options until it is told to end.

    Raises:
        SettingsError: Streamlit is not installed.
    """
    try:
        from streamlit.web import bootstrap
    except ImportError as error:
        raise SettingsError(
            f"the app needs the package streamlit ({error}); `make app` installs it, or "
            "`pip install -c constraints.txt -e '.[app,words]'`"
        ) from error

    def run(page: str, options: dict[str, Any]) -> None:
        bootstrap.load_config_options(options)
        bootstrap.run(page, False, [], options)

    return run
