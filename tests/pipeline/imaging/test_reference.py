"""The documentation's table of degradations is the catalog's, and its examples run."""

import io
import re

import pytest
import yaml
from PIL import Image

from pipeline.catalog import load_catalog
from pipeline.errors import FalxError
from pipeline.imaging.degrade import DEGRADERS
from pipeline.imaging.reference import END, PAGE, PICTURE, START, draw_picture, render_table, replace_table
from pipeline.recipe import AugmentSpec

PAGE_TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_shows_the_catalog() -> None:
    table = render_table(load_catalog().degradations)
    assert replace_table(PAGE_TEXT, table) == PAGE_TEXT, "run: python -m pipeline.imaging.reference"


def test_every_kind_has_a_row_with_its_five_numbers() -> None:
    rows = {
        line.split("`")[1]: line.split(" | ")[3:8]
        for line in PAGE_TEXT.split(START)[1].split(END)[0].splitlines()
        if line.startswith("| `")
    }
    assert sorted(rows) == sorted(DEGRADERS)
    for name, kind in load_catalog().degradations.items():
        assert [float(value) for value in rows[name]] == list(kind.severities)


def test_every_kind_says_what_it_does() -> None:
    assert all((function.__doc__ or "").strip() for function in DEGRADERS.values())


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(FalxError, match="lacks a mark"):
        replace_table("# Degradations", "table")


def test_the_picture_has_a_row_a_kind() -> None:
    sizes = []
    for png in (PICTURE.read_bytes(), draw_picture(load_catalog().degradations)):
        with Image.open(io.BytesIO(png)) as picture:
            sizes.append(picture.size)
    assert sizes[0] == sizes[1], "run: python -m pipeline.imaging.reference"
    assert PICTURE.name in PAGE_TEXT


def test_the_examples_work() -> None:
    python, recipe = (re.findall(rf"```{kind}\n(.*?)```", PAGE_TEXT, re.S)[0] for kind in ("python", "yaml"))
    names: dict[str, object] = {}
    exec(python, names)
    assert list(getattr(names["worse"], "shape", ())) == [8, 1, 224, 224]
    spec = AugmentSpec.model_validate(yaml.safe_load(recipe)["augment"])
    assert set(spec.degradations) <= set(DEGRADERS)
