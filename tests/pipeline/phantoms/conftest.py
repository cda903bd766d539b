"""One small world of phantoms, made once for all tests of this folder."""

from pathlib import Path

import pytest

from pipeline.phantoms import Key, generate

SMALL = 0.15


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "world"
    generate(folder, scale=SMALL)
    return folder


@pytest.fixture(scope="session")
def key(root: Path) -> Key:
    from pipeline.phantoms import read_key

    return read_key(root / "key.json")
