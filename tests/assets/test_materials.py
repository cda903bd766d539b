"""What every asset shares: reuse by inputs and code, readable previews, pictures of bounded size."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets import materials
from assets.materials import code_version, counts, picture, preview, result_of, store_table
from resources.lake import Lake


@pytest.fixture
def lake(tmp_path):
    return Lake(home=str(tmp_path))


def groups() -> pd.DataFrame:
    return pd.DataFrame({"image_id": ["a", "b"], "group_id": "g", "safety": "image"})


def store(lake: Lake, make, code: str = "c", **parameters: object):
    context = dg.build_asset_context()
    return store_table(context, lake, "groups", make, inputs=[], code=code, parameters=parameters)


def refuse() -> pd.DataFrame:
    raise AssertionError("the stored table should have been reused")


def test_unchanged_inputs_and_code_reuse_the_stored_table(lake):
    first = store(lake, groups)
    assert store(lake, refuse) == first


@pytest.mark.parametrize("change", [{"code": "d"}, {"seed": 1}])
def test_changed_code_or_parameters_make_it_anew(lake, change):
    store(lake, groups)
    with pytest.raises(AssertionError, match="reused"):
        store(lake, refuse, **change)


def test_a_failure_leaves_the_stored_table(lake):
    first = store(lake, groups)
    with pytest.raises(AssertionError):
        store(lake, refuse, code="d")
    assert lake.manifest("groups") == first


def test_the_code_version_follows_the_source(tmp_path, monkeypatch):
    for name in (*materials.SHARED, "a.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(materials, "PIPELINE", tmp_path)
    code_version.cache_clear()
    before = code_version("a.py")
    (tmp_path / "a.py").write_text("x = 2\n")
    code_version.cache_clear()
    assert code_version("a.py") != before
    code_version.cache_clear()


def test_every_module_of_the_schemas_is_part_of_some_code_version():
    sources = "".join(path.read_text() for path in Path(materials.__file__).parent.glob("*.py"))
    modules = {f"schemas/{path.name}" for path in (materials.PIPELINE / "schemas").glob("*.py")}
    assert {name for name in modules if f'"{name}"' not in sources} == {"schemas/__init__.py"}


def test_a_materialisation_carries_the_content_as_data_version(lake):
    manifest = store(lake, groups)
    result = result_of(manifest, groups())
    assert result.data_version == dg.DataVersion(manifest.digest)
    assert result.metadata["dagster/row_count"] == 2


def test_a_preview_is_short_and_says_how_much_more_there_is():
    frame = pd.DataFrame({"text": ["long | " * 20] * 20, "bytes": [b"12345"] * 20, "share": [1 / 3] * 20})
    text = preview(frame)
    assert "and 12 more" in text
    assert "5 bytes" in text
    assert "0.3333" in text
    assert "\\|" in text


def test_counts_add_up():
    frame = pd.DataFrame({"split": ["a", "a", "b", None], "label": ["x", "y", "x", "x"]})
    assert "| a | 1 | 1 | 2 |" in counts(frame, ["split"], "label")
    assert "| – | 1 | 0 | 1 |" in counts(frame, ["split"], "label")


def test_a_picture_that_would_swell_the_event_log_is_refused():
    assert "data:image/png;base64" in str(picture(b"png", "small").value)
    with pytest.raises(ValueError, match="at most 100,000"):
        picture(b"x" * 100_001, "large")
