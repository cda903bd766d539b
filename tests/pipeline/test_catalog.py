"""Every shipped entry validates; every mistake is found at once and says file, field and what is allowed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.catalog import DEFAULT_CATALOG, Catalog, Collection, Layout, load_catalog
from pipeline.errors import CatalogError
from pipeline.labels import LABELS

SHIPPED = sorted(DEFAULT_CATALOG.rglob("*.y*ml"))
CATALOG = load_catalog()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_CATALOG, tmp_path / "catalog"))


def edit(path: Path, field: str, value: Any) -> None:
    """Set the field `a.b.c` of a YAML file; `...` removes it."""
    data = yaml.safe_load(path.read_text())
    *parents, last = field.split(".")
    inner = data
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(yaml.safe_dump(data))


def mistakes_of(root: Path) -> tuple[str, ...]:
    with pytest.raises(CatalogError) as caught:
        load_catalog(root)
    assert all(mistake in str(caught.value) for mistake in caught.value.mistakes)
    return caught.value.mistakes


# --- what is shipped ---


def test_every_shipped_file_is_loaded() -> None:
    entries = [f"datasets/{name}.yaml" for name in CATALOG.collections]
    entries += [f"recipes/{name}.yaml" for name in CATALOG.recipes]
    entries += ["degradations.yaml", "promotion.yaml"]
    assert sorted(entries) == [path.relative_to(DEFAULT_CATALOG).as_posix() for path in SHIPPED]
    assert len(SHIPPED) >= 6


def test_the_four_collections_are_there_and_one_is_the_reference() -> None:
    assert {"masoudnickparvar", "sartajbhuvaji", "cheng_figshare", "indk214"} <= set(CATALOG.collections)
    assert [name for name, entry in CATALOG.collections.items() if entry.reference] == ["cheng_figshare"]
    counts = CATALOG.collections["masoudnickparvar"].counts
    assert (counts.train, counts.test, counts.total) == (5712, 1311, 7023)


@pytest.mark.parametrize("collection", CATALOG.collections.values(), ids=lambda entry: entry.name)
def test_each_collection_says_where_it_is_from(collection: Collection) -> None:
    for text in (collection.title, collection.description, collection.citation, collection.licence.stated):
        assert text.strip() == text.strip("\n")
        assert text
    assert set(collection.labels.values()) <= set(LABELS)
    counts = collection.counts
    if None not in (counts.train, counts.test, counts.total):
        assert counts.train + counts.test == counts.total
    if collection.source.kaggle:
        assert collection.source.kaggle.version >= 1
    else:
        assert collection.source.manual
        assert "FALX_DATASETS" in collection.source.manual.instructions


def test_severities_rise_or_fall() -> None:
    for degradation in CATALOG.degradations.values():
        rising = sorted(set(degradation.severities))
        assert list(degradation.severities) in (rising, rising[::-1]), degradation.name


def test_names_are_file_names_and_sorted() -> None:
    for entries in (CATALOG.collections, CATALOG.recipes, CATALOG.degradations):
        assert list(entries) == sorted(entries)
        assert [entry.name for entry in entries.values()] == list(entries)


def test_the_suffix_of_repeat_scans_is_a_letter() -> None:
    suffix = CATALOG.collections["cheng_figshare"].patient_suffix
    assert suffix is not None
    assert [re.sub(suffix, "", pid) for pid in ("MR040240", "MR040240B", "100360")] == ["MR040240"] * 2 + [
        "100360"
    ]


# --- mistakes ---


def test_mistakes_in_stages_and_degradations_say_what_is_allowed(root: Path) -> None:
    edit(root / "recipes/xception_299.yaml", "stages", [{"epochs": 25, "frozen": 1.0}])
    edit(root / "recipes/vgg16_baseline_degraded.yaml", "augment.degradations", ["snow"])
    edit(root / "recipes/cnn3.yaml", "model.weights", "imagnet")
    mistakes = mistakes_of(root)
    expected = {
        "xception_299.yaml: stages.0.frozen: unknown field; allowed: epochs, freeze, lr_factor (found 1.0)",
        "vgg16_baseline_degraded.yaml: augment.degradations: unknown ['snow']; known: ",
        "cnn3.yaml: model.weights: String should match pattern '^(none|imagenet|",
    }
    assert len(mistakes) == len(expected)
    for text in expected:
        assert any(text in mistake for mistake in mistakes), (text, mistakes)


def test_all_mistakes_of_all_files_are_shown_together(root: Path) -> None:
    edit(root / "datasets/indk214.yaml", "title", ...)
    edit(root / "datasets/indk214.yaml", "labels.glioma", "Glioma")
    edit(root / "datasets/sartajbhuvaji.yaml", "layout.reader", "folders")
    edit(root / "recipes/cnn3.yaml", "batch_size", 0)
    edit(root / "degradations.yaml", "gaussian_blur.severities", [1, 2])
    (root / "recipes/broken.yaml").write_text("title: [")
    mistakes = mistakes_of(root)
    expected = {
        "indk214.yaml: title: Field required",
        "indk214.yaml: labels.glioma: Input should be 'glioma', 'meningioma', 'pituitary' or 'no_tumor'",
        "sartajbhuvaji.yaml: layout.reader: Input should be 'class_folders' or 'figshare' (found 'folders')",
        "cnn3.yaml: batch_size: Input should be greater than or equal to 1 (found 0)",
        "degradations.yaml: gaussian_blur.severities.2: Field required",
        "broken.yaml: not readable as YAML",
    }
    for text in expected:
        assert any(text in mistake for mistake in mistakes), (text, mistakes)
    assert all(str(root) in mistake for mistake in mistakes)
    assert len(mistakes) == 8  # blur lacks three of its five severities


def test_a_slug_without_a_version_is_refused_with_the_reason(root: Path) -> None:
    edit(root / "datasets/masoudnickparvar.yaml", "source.kaggle.version", ...)
    [mistake] = mistakes_of(root)
    assert "masoudnickparvar.yaml: source.kaggle.version: missing" in mistake
    assert "a slug without a version names different bytes over time: pin the version" in mistake
    assert "cnn3" not in mistake, "recipes that use the collection are not at fault"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("colour", "grey", "colour: unknown field; allowed: name, title, description, source"),
        ("layout.glob", "*", "layout.glob: unknown field; allowed: reader, folders, masks, sidecars"),
        ("layout.folders", [{"path": "x", "part": "train"}], "unknown field; allowed: path, split"),
        ("layout.folders", [{"path": "x", "split": "val"}], "split: Input should be 'train' or 'test'"),
        ("layout.folders", [], "layout.folders: class_folders needs at least one folder"),
        ("layout", "Training", "layout: a mapping is needed, with reader, folders, masks, sidecars"),
        ("source.kaggle.tag", 1, "source.kaggle.tag: unknown field; allowed: slug, version"),
        ("source.kaggle.slug", "no-owner", "source.kaggle.slug: String should match pattern"),
        ("source.kaggle.version", 0, "source.kaggle.version: Input should be greater than or equal to 1"),
        ("source.manual", {"url": "u", "instructions": "i"}, "give exactly one of kaggle, manual"),
        ("source.kaggle", ..., "give exactly one of kaggle, manual"),
        ("licence.redistribute", "maybe", "Input should be 'yes', 'no' or 'unknown'"),
        ("labels", {}, "labels: Dictionary should have at least 1 item"),
        ("labels", {False: "no_tumor"}, "put yes, no, on, off in quotes"),
        ("patient_suffix", "[A-Z", "patient_suffix: no regular expression"),
        ("counts.train", -1, "counts.train: Input should be greater than or equal to 0"),
        ("name", "other", "name: 'other' differs from 'masoudnickparvar'; leave it out"),
    ],
)
def test_a_mistake_in_a_collection_names_field_and_what_is_allowed(
    root: Path, field: str, value: Any, text: str
) -> None:
    edit(root / "datasets/masoudnickparvar.yaml", field, value)
    mistakes = mistakes_of(root)
    assert any("masoudnickparvar.yaml" in mistake and text in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds NoneType; a mapping of fields is needed"),
        ("- 1\n", "holds list; a mapping of fields is needed"),
        ("{}\n", "title: Field required"),
        ("title: a\ntitle: b\n", "field 'title' is given twice; keep one"),
        ("source: {kaggle: {version: 1, version: 2}}\n", "field 'version' is given twice"),
        ("title: a: b\n", "not readable as YAML"),
        ("!!python/object/apply:os.getcwd []\n", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_entry_is_a_mistake(root: Path, text: str, message: str) -> None:
    (root / "datasets/new.yaml").write_text(text)
    mistakes = mistakes_of(root)
    assert any(f"new.yaml: {message}" in mistake or message in mistake for mistake in mistakes)
    assert all("new.yaml" in mistake for mistake in mistakes)


def test_bytes_that_are_no_text_are_a_mistake(root: Path) -> None:
    (root / "recipes/new.yaml").write_bytes(b"title: \xff\n")
    [mistake] = mistakes_of(root)
    assert "new.yaml: not readable as YAML" in mistake


def test_a_file_name_must_be_a_name(root: Path) -> None:
    (root / "recipes/cnn3.yaml").rename(root / "recipes/Cnn-3.yaml")
    [mistake] = mistakes_of(root)
    assert "Cnn-3.yaml: name: String should match pattern" in mistake


def test_missing_folders_and_files_are_mistakes(tmp_path: Path) -> None:
    mistakes = mistakes_of(tmp_path)
    assert len(mistakes) == 4
    assert "datasets: no .yaml file; at least one is needed" in mistakes[0]
    assert "degradations.yaml: missing; it lists the degradations" in mistakes[2]


@pytest.mark.parametrize("entry", ["text", [1, 2], 3])
def test_a_degradation_that_is_no_mapping_is_a_mistake(root: Path, entry: Any) -> None:
    edit(root / "degradations.yaml", "fog", entry)
    [mistake] = mistakes_of(root)
    assert f"fog: holds {type(entry).__name__}; a mapping of fields is needed" in mistake


def test_recipes_may_only_name_what_exists(root: Path) -> None:
    edit(root / "recipes/cnn3.yaml", "data.collections", ["masoudnickparvar", "br35h"])
    edit(root / "recipes/cnn3.yaml", "augment.degradations", ["fog"])
    views = {"epochs": 1, "augment": {"gamma": 0.2, "degradations": ["snow"]}}
    edit(root / "recipes/cnn3.yaml", "pretraining", views)
    collections, degradations, seen = mistakes_of(root)
    assert "pretraining.augment.degradations: unknown ['snow']; known: anisotropic_resolution, " in seen
    assert (
        "recipes/cnn3.yaml: data.collections: unknown ['br35h']; known: cheng_figshare, indk214"
        in collections
    )
    assert "augment.degradations: unknown ['fog']; known: anisotropic_resolution, " in degradations


def test_one_mistake_is_counted_as_one() -> None:
    assert str(CatalogError(["x"])).startswith("1 mistake in the catalog:")
    assert str(CatalogError(["x", "y"])).startswith("2 mistakes in the catalog:")


def test_adding_a_collection_takes_a_file_and_no_code(root: Path) -> None:
    shutil.copy(root / "datasets/indk214.yaml", root / "datasets/another.yaml")
    catalog = load_catalog(root)
    assert isinstance(catalog, Catalog)
    assert catalog.collections["another"].name == "another"


def test_masks_and_sidecars_are_globs() -> None:
    layout = Layout(reader="figshare", masks="*_mask.png", sidecars=("slices.csv", "README*.txt"))
    assert [layout.is_mask(name) for name in ("a_mask.png", "a.png", "mask.png")] == [True, False, False]
    assert layout.is_sidecar("README 2024.txt")
    assert not layout.is_sidecar("images/slices.csv")
    assert not Layout(reader="figshare").is_mask("a_mask.png")


def test_the_floor_below_loads_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.errors, pipeline.digests, pipeline.atomic, pipeline.labels, pipeline.tables, "
        "pipeline.catalog, pipeline.recipe; pipeline.catalog.load_catalog(); "
        "heavy = ('numpy', 'pandas', 'pyarrow', 'torch', 'sklearn', 'cv2', 'PIL', 'mlflow', 'dagster'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
