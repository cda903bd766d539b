"""A store of raw folders under the profile `folder`, and a small collection that was curated once."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image
from small_heads import draw_head

from assets.curation import curation_assets
from assets.gate import accounts, gate_checks
from assets.raw import raw_assets
from pipeline.catalog import load_catalog
from resources.lake import Lake
from resources.raw import RawStore

FOLDERS = ("glioma_tumor", "meningioma_tumor", "pituitary_tumor", "no_tumor")


def write_collection(folder: Path, each: int = 8) -> None:
    """`each` unlike images a label and published part, and one file that is none."""
    generator = np.random.default_rng(3)
    for part in ("Training", "Testing"):
        for label in FOLDERS:
            place = folder / part / label
            place.mkdir(parents=True)
            for index in range(each):
                Image.fromarray(draw_head(generator)).save(place / f"{index}.png")
    (folder / "Training" / "no_tumor" / "notes.txt").write_text("no image")


@pytest.fixture(scope="session")
def curated_once(make_store: Callable[..., RawStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store whose only collection was curated, with all checks."""
    root = tmp_path_factory.mktemp("curated")
    store, catalog = make_store(root), load_catalog()
    write_collection(root / "datasets" / "sartajbhuvaji")
    done = dg.materialize(
        [*raw_assets(catalog), *curation_assets(catalog), *gate_checks(catalog), accounts],
        resources={"raw_store": store, "lake": Lake(home=store.home)},
    )
    checks = done.get_asset_check_evaluations()
    assert {check.passed for check in checks if "patient" in check.asset_key.path} == {True}
    return root


@pytest.fixture
def curated(
    make_store: Callable[..., RawStore], curated_once: Path, tmp_path: Path
) -> Iterator[tuple[Lake, RawStore]]:
    """A copy of the curated store, to be harmed."""
    shutil.copytree(curated_once / "home", tmp_path / "home")
    (tmp_path / "datasets").symlink_to(curated_once / "datasets")
    store = make_store(tmp_path)
    yield Lake(home=store.home), store
