"""Fixtures of the system tests: one whole demo, shared by the tests that look at what it left."""

from pathlib import Path

import pytest
from harness import run_command, tiny_environment, write_tiny_catalog


@pytest.fixture(scope="session")
def tiny_catalog(tmp_path_factory) -> Path:
    return write_tiny_catalog(tmp_path_factory.mktemp("catalog") / "catalog")


@pytest.fixture(scope="session")
def demo(tmp_path_factory, tiny_catalog):
    """Environment, home and output of one whole demo, shared by the tests that look at what it left."""
    home = tmp_path_factory.mktemp("demo") / "home"
    environment = tiny_environment(home, tiny_catalog)
    done = run_command(environment, "demo")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    return environment, home, done.stdout
