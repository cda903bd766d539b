"""The desk of the app: what is no longer as the tables name it is an error, not an answer."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands.app.desk import Desk
from pipeline.app.examples import Example
from pipeline.errors import SourceError, TableError
from resources.settings import Settings, load_settings

BYTES = b"the bytes that were curated"


@pytest.fixture
def desk(monkeypatch, tmp_path) -> Desk:
    """The desk of a home whose only raw file is `sartajbhuvaji/Training/a.png`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.setenv("FALX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FALX_PROFILE", "folder")
    monkeypatch.setenv("FALX_DATASETS", str(tmp_path / "datasets"))
    place(tmp_path).parent.mkdir(parents=True)
    place(tmp_path).write_bytes(BYTES)
    return Desk(load_settings())


def place(root: Path) -> Path:
    return root / "datasets" / "sartajbhuvaji" / "Training" / "a.png"


def name_example(collection: str = "sartajbhuvaji") -> Example:
    return Example(
        hashlib.md5(BYTES, usedforsecurity=False).hexdigest(), collection, "Training/a.png", "glioma"
    )


def test_an_example_is_the_raw_file_under_its_own_name(desk):
    opened = desk.open_example(name_example())
    assert (opened.name, opened.data, opened.example) == ("a.png", BYTES, name_example())


def test_an_example_whose_file_is_gone_says_what_to_materialise(desk, tmp_path):
    place(tmp_path).unlink()
    with pytest.raises(SourceError, match=r"a\.png cannot be read \(.*materialise the group `raw` again"):
        desk.open_example(name_example())


def test_an_example_of_a_collection_that_is_gone_is_the_same_error(desk):
    with pytest.raises(SourceError, match=r"indk214/Training/a\.png cannot be read"):
        desk.open_example(name_example("indk214"))


def test_an_example_with_other_bytes_is_not_shown_as_the_one_that_was_curated(desk, tmp_path):
    place(tmp_path).write_bytes(BYTES + b", and more")
    with pytest.raises(SourceError, match=r"a\.png was changed since it was curated; run `make curate`"):
        desk.open_example(name_example())


def test_a_picture_that_the_thumbnails_lack_is_an_error(desk):
    grey = np.arange(128 * 128, dtype=np.uint32).astype(np.uint8)
    rows = pd.DataFrame({"image_id": ["a"], "pixels": [grey.tobytes()]})
    desk.lake.write("thumbnails", rows, inputs="i", code="c")
    assert np.array_equal(desk.show_thumbnail("a"), grey.reshape(128, 128))
    with pytest.raises(TableError, match="thumbnails hold no image b; materialise thumbnails again"):
        desk.show_thumbnail("b")
