"""The lake: tables are whole or absent, checked both ways, and the same frame gives the same bytes."""

import pandas as pd
import pytest

from pipeline.errors import TableError
from resources.lake import Lake


@pytest.fixture
def lake(tmp_path):
    return Lake(home=str(tmp_path))


def groups(*ids: str) -> pd.DataFrame:
    return pd.DataFrame({"image_id": list(ids), "group_id": "g", "safety": "image"})


def test_a_table_comes_back_sorted_by_its_key(lake):
    lake.write("groups", groups("b", "a"), inputs="i", code="c")
    assert list(lake.read("groups")["image_id"]) == ["a", "b"]


def test_row_order_changes_no_byte(lake, tmp_path):
    first = lake.write("groups", groups("a", "b"), inputs="i", code="c")
    second = Lake(home=str(tmp_path / "other")).write("groups", groups("b", "a"), inputs="i", code="c")
    assert first == second


def test_current_means_same_inputs_same_code_and_unharmed(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    assert lake.is_current("groups", inputs="i", code="c")
    assert not lake.is_current("groups", inputs="j", code="c")
    assert not lake.is_current("groups", inputs="i", code="d")
    lake.path("groups").write_bytes(b"harmed")
    assert not lake.is_current("groups", inputs="i", code="c")


def test_a_missing_table_says_which_asset_makes_it(lake):
    with pytest.raises(TableError, match="materialise the asset 'groups' first"):
        lake.read("groups")


def test_a_damaged_table_is_refused(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    lake.path("groups").write_bytes(lake.path("groups").read_bytes()[:-1] + b"x")
    with pytest.raises(TableError, match="changed or damaged"):
        lake.read("groups")


def test_a_table_is_parsed_once_and_no_reader_sees_what_another_does(lake):
    lake.write("groups", groups("a", "b"), inputs="i", code="c")
    first = lake.read("groups")
    first["safety"] = "picture"
    first.loc[0, "group_id"] = "h"
    second = lake.read("groups")
    assert list(second["group_id"]) == ["g", "g"] and list(second["safety"]) == ["image", "image"]
    lake.path("groups").write_bytes(b"harmed")
    with pytest.raises(TableError, match="changed or damaged"):
        lake.read("groups")


def test_the_head_and_some_images_are_read_alone(lake):
    lake.write("groups", groups(*"dcba"), inputs="i", code="c")
    assert list(lake.head("groups", 2)["image_id"]) == ["a", "b"]
    assert list(lake.pick("groups", ["d", "b", "b", "z"])["image_id"]) == ["b", "d"]
    assert list(lake.pick("groups", [])["image_id"]) == []
    lake.path("groups").write_bytes(b"harmed")
    for read in (lambda: lake.head("groups", 2), lambda: lake.pick("groups", ["a"])):
        with pytest.raises(TableError, match="was changed"):
            read()


def test_an_empty_table_has_an_empty_head(lake):
    lake.write("groups", groups(), inputs="i", code="c")
    assert len(lake.head("groups", 3)) == 0
    assert len(lake.pick("groups", ["a"])) == 0


def test_a_refused_frame_leaves_the_stored_table(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    with pytest.raises(TableError, match="repeat the key"):
        lake.write("groups", groups("b", "b"), inputs="i", code="c")
    assert list(lake.read("groups")["image_id"]) == ["a"]
    assert [path.name for path in lake.path("groups").parent.iterdir() if path.name.startswith(".")] == []


def test_without_manifest_a_table_is_incomplete(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    lake.manifest_path("groups").unlink()
    assert lake.manifest("groups") is None


def test_a_stream_equals_its_parts_and_keeps_key_order(lake):
    lake.write_stream("groups", [groups("b", "a"), groups("c")], inputs="i", code="c")
    assert list(lake.read("groups")["image_id"]) == ["a", "b", "c"]
    with pytest.raises(TableError, match="key order"):
        lake.write_stream("groups", [groups("c"), groups("b")], inputs="i", code="c")
    assert list(lake.read("groups")["image_id"]) == ["a", "b", "c"]


def test_inputs_change_with_tables_and_parameters(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    before = lake.digest_inputs(["groups"], {"seed": 0})
    assert lake.digest_inputs(["groups"], {"seed": 1}) != before
    lake.write("groups", groups("b"), inputs="i", code="c")
    assert lake.digest_inputs(["groups"], {"seed": 0}) != before


def test_a_damaged_manifest_is_an_error_that_says_what_to_remove(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    lake.manifest_path("groups").write_text("{")
    with pytest.raises(TableError, match=r"groups\.manifest\.json is no manifest .* remove the manifest"):
        lake.manifest("groups")


def test_a_table_of_another_schema_version_does_not_count(lake, monkeypatch):
    lake.write("groups", groups("a"), inputs="i", code="c")
    monkeypatch.setattr("resources.lake.SCHEMA_VERSION", 99)
    assert lake.manifest("groups") is None
    with pytest.raises(TableError, match="of another schema version"):
        lake.read("groups")


def test_a_whole_table_without_manifest_can_be_rescued_and_a_damaged_one_not(lake):
    lake.write("groups", groups("a"), inputs="i", code="c")
    lake.manifest_path("groups").unlink()
    assert list(lake.rescue("groups")["image_id"]) == ["a"]
    lake.path("groups").write_bytes(b"harmed")
    with pytest.raises(TableError, match="has no manifest and cannot be read"):
        lake.rescue("groups")
