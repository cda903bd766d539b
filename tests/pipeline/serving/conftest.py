"""One package for all tests of this folder."""

from pathlib import Path

import pytest
import torch
from shades import make_package

torch.set_num_threads(1)  # tiny networks: threads only wait for each other


@pytest.fixture(scope="session")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `work` and `package` of the shades model; not to be changed."""
    folder = tmp_path_factory.mktemp("shades")
    make_package(folder)
    return folder
