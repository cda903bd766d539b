"""What every test may rely on, however the suite was started, and the store of raw folders that many use."""

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalog import DEFAULT_CATALOG
from resources.kaggle import KaggleSource
from resources.raw import RawStore


def pytest_configure() -> None:
    """Nothing of the user's is read or written, and Ctrl-C works.

    A shell's background job ignores Ctrl-C, and so would every process that the tests start.
    """
    # Two workers on two cores: threads of their own would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["FALX_ENV_FILE"] = os.devnull
    os.environ.setdefault("FALX_HOME", str(Path(tempfile.gettempdir()) / f"falx-tests-{os.getpid()}"))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., RawStore]:
    """A store whose home and datasets lie in a folder, under the profile `folder` unless told otherwise."""

    def make(root: Path, **changes: Any) -> RawStore:
        (root / "datasets").mkdir(parents=True, exist_ok=True)
        settings = {
            "profile": "folder",
            "home": str(root / "home"),
            "datasets": str(root / "datasets"),
            "catalog_root": str(DEFAULT_CATALOG),
            "phantom_scale": 1.0,
            "seed": 0,
            "workers": 1,
            "kaggle": KaggleSource(),
        }
        return RawStore(**{**settings, **changes})

    return make


@pytest.fixture
def store(make_store: Callable[..., RawStore], tmp_path: Path) -> RawStore:
    """A store with nothing in it yet."""
    return make_store(tmp_path)
