"""Documents that can rot: what they list is what there is."""

import os
import re
import subprocess

import pytest

from commands.reference import PAGE, PARTS, render_fields, render_reference
from pipeline.catalog import load_catalog
from pipeline.serving.card import SCOPE
from resources.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FLOORS = ("commands", "assets", "resources", "pipeline")
COMMANDS = re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command):
    assert f"make {command}" in README


def test_what_a_command_is_told_comes_from_its_own_line_alone():
    environment = {**os.environ, "VERSION": "7", "WHY": "the shell exports it"}
    command = ["make", "--no-print-directory", "-n", "rollback"]
    plain = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert 'rollback --version "" --why ""' in plain.stdout
    told = subprocess.run(
        [*command, "VERSION=3"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert 'rollback --version "3" --why ""' in told.stdout


def test_the_readme_names_no_command_that_is_missing():
    named = set(re.findall(r"`(?:FALX_\w+=\S+ )*make ([a-z]+)", README))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("name", [*load_catalog().collections, *load_catalog().recipes])
def test_the_readme_has_a_row_for_every_collection_and_recipe(name):
    assert re.search(rf"^\|.*`{name}`.*\|", README, re.MULTILINE)


def list_tree() -> list[str]:
    tree = README.split("```text", 1)[1].split("```", 1)[0]
    return [line.split()[0] for line in tree.strip().splitlines()]


def test_every_folder_of_the_file_tree_exists():
    for path in list_tree():
        assert (ROOT / path).exists(), path


def test_every_package_and_every_module_of_assets_has_its_line_in_the_file_tree():
    """What the assets share, and the sections of a page, are told by the lines beside them."""
    packages = {path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")}
    shown = {f"{path.as_posix()}/" for path in packages if "tests" not in path.parts}
    shown -= {"assets/", "resources/", "pipeline/", "pipeline/imaging/degradations/"}
    shown -= {"pipeline/audit/sections/", "pipeline/report/sections/"}
    modules = {path.name for path in ROOT.glob("assets/*.py")} - {"__init__.py"}
    shown |= {f"assets/{name}" for name in modules - {"materials.py", "partitions.py"}}
    assert shown - set(list_tree()) == set()


def test_the_reference_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == render_reference(load_catalog())


@pytest.mark.parametrize("model", PARTS.values())
def test_every_field_of_the_catalog_has_a_meaning(model):
    rows = [line.split(" | ") for line in render_fields(model).splitlines()[2:]]
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []


def test_the_sentence_of_scope_is_written_once():
    """And in one docstring, which Dagster shows as the asset's description."""
    places = [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    said = {path.relative_to(ROOT).as_posix() for path in places if SCOPE in path.read_text(encoding="utf-8")}
    assert said == {"pipeline/serving/card.py", "assets/explanations.py"}


def test_the_license_is_mit():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_help_lists_every_command():
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in shown.splitlines()] == COMMANDS


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in README
