"""Raw assets: an absent collection is skipped in plain sight, a changed one stops the run."""

import dagster as dg
import pytest
from PIL import Image

from assets.raw import raw_assets
from pipeline.catalog import load_catalog
from pipeline.errors import SourceError
from resources.raw import RawStore

CATALOG = load_catalog()


def write_image(store: RawStore, name: str = "a.png", level: int = 9):
    folder = store.folder(CATALOG.collections["sartajbhuvaji"]) / "Training" / "no_tumor"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 64), level).save(folder / name)


def materialise(store: RawStore, name: str) -> dict:
    asset = next(asset for asset in raw_assets(CATALOG) if asset.key.path[-1] == name)
    result = dg.materialize([asset], resources={"raw_store": store})
    event = result.asset_materializations_for_node(f"raw__{name}")[0]
    return {key: value.value for key, value in event.metadata.items()}


def test_an_absent_collection_is_skipped_and_says_so(store):
    shown = materialise(store, "indk214")
    assert shown["status"].startswith("SKIPPED")
    assert shown["files"] == 0


def test_a_folder_is_trusted_once_and_verified_ever_after(store):
    write_image(store)
    first, second = materialise(store, "sartajbhuvaji"), materialise(store, "sartajbhuvaji")
    assert (first["status"], second["status"]) == ("trusted", "verified")
    assert first["digest"] == second["digest"]


def test_other_counts_than_the_catalogs_are_a_warning_in_a_folder(store):
    write_image(store)
    assert "3,264" in materialise(store, "sartajbhuvaji")["warnings"]


def test_changed_bytes_stop_the_run_and_name_the_file(store):
    write_image(store)
    materialise(store, "sartajbhuvaji")
    write_image(store, "b.png")
    with pytest.raises(Exception, match=r"1 added: Training/no_tumor/b\.png"):
        materialise(store, "sartajbhuvaji")


def test_no_collection_at_all_is_an_error_that_says_what_to_do(store):
    with pytest.raises(SourceError, match="point FALX_DATASETS"):
        store.require_any()


def test_a_folder_that_nobody_vouched_for_is_refused(store):
    write_image(store)
    with pytest.raises(SourceError, match="materialise the group `raw` first"):
        store.digests()
