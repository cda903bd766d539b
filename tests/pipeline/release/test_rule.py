"""The rule in YAML: mistakes are found together, each with field and what is allowed."""

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.catalog import DEFAULT_CATALOG, load_catalog
from pipeline.errors import CatalogError
from pipeline.release.rule import LOWER_IS_BETTER, MEANINGS, MEASURED, Clauses

DOCS = DEFAULT_CATALOG.parent / "docs" / "retraining.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_CATALOG, tmp_path / "catalog"))


def change(root: Path, **changes: object) -> str:
    path = root / "promotion.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    with pytest.raises(CatalogError) as caught:
        load_catalog(root)
    return str(caught.value)


def test_every_clause_is_explained_in_the_docs():
    text = DOCS.read_text(encoding="utf-8")
    assert set(Clauses.model_fields) | {"groups", "hold"} == set(MEANINGS)
    assert [name for name in MEANINGS if f"| `{name}` |" not in text] == []
    assert set(LOWER_IS_BETTER) <= set(MEASURED)


def test_the_shipped_rule_asks_for_all():
    clauses = load_catalog().promotion.clauses
    assert [name for name, _ in clauses.list_bars()] == list(MEASURED)
    assert clauses.newcomers is not None


def test_a_missing_rule_says_what_it_is_for(root):
    (root / "promotion.yaml").unlink()
    with pytest.raises(CatalogError, match=r"promotion\.yaml: missing; it says when a model becomes"):
        load_catalog(root)


def test_all_mistakes_are_shown_at_once(root):
    said = change(
        root,
        exam={"degradations": ["rain"], "severity": 3},
        retrain=["nobody"],
    )
    assert "promotion.yaml: exam.degradations: unknown ['rain']; known: anisotropic_resolution" in said
    assert "promotion.yaml: retrain: unknown ['nobody']; known: " in said
    said = change(root, exam={"degradations": [], "severity": 9}, clauses={"macro_f1": {}, "gate": False})
    for words in ("exam.severity", "exam.degradations", "macro_f1: asks nothing", "clauses.gate"):
        assert words in said
    assert "unknown field; allowed: name, exam, clauses, retrain" in change(root, test_part=True)


def test_no_clause_may_be_about_the_test_part(root):
    said = change(root, clauses={"macro_f1": {"limit": 0.5}, "test_macro_f1": {"limit": 0.9}})
    assert "clauses.test_macro_f1: unknown field; allowed: macro_f1" in said


def test_a_rule_that_cannot_choose_among_challengers_is_refused(root):
    said = change(root, clauses={"macro_f1": {"margin": 0.05}})
    assert "macro_f1.limit: needed; the best of several challengers is chosen by this value" in said
