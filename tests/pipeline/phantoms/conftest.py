"""Worlds of phantoms, each made once for all tests of this folder."""

from pathlib import Path

import pytest

from pipeline.phantoms import Key, generate, read_key

SMALL = 0.15


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "world"
    generate(folder, scale=SMALL)
    return folder


@pytest.fixture(scope="session")
def key(root: Path) -> Key:
    return read_key(root / "key.json")


@pytest.fixture(scope="session")
def full_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world at full scale, for slow tests alone."""
    folder = tmp_path_factory.mktemp("phantoms") / "full"
    generate(folder, workers=2)
    return folder
