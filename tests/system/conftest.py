"""Fixtures of the system tests: one whole demo, shared by the tests that look at what it left."""

import shutil
from pathlib import Path

import pytest
import yaml
from harness import TINY, run_command, tiny_environment, write_tiny_catalog


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


@pytest.fixture
def copied(demo, tiny_catalog, tmp_path):
    """Gives environment and home of a copied demo that trains these recipes, two at once."""
    environment, home, _output = demo
    copy, catalog = tmp_path / "home", tmp_path / "catalog"
    shutil.copytree(home, copy)
    shutil.copytree(tiny_catalog, catalog)

    def with_recipes(**recipes: dict) -> tuple[dict[str, str], object]:
        for name, changes in recipes.items():
            (catalog / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(TINY | changes))
        settings = {"FALX_HOME": str(copy), "FALX_CATALOG": str(catalog), "FALX_TRAININGS": "2"}
        return environment | settings, copy

    return with_recipes
