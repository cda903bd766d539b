"""Sitting the exam: real packages answer real files, clean and degraded, by the card's temperature."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "serving"))  # shades.py

from shades import draw_shade, make_package

from pipeline.catalog import load_catalog
from pipeline.labels import LABELS
from pipeline.release.sitting import ExamRow, ExamSpec, Sitter, sit_exam
from pipeline.tables import from_arrow

KINDS = ("gaussian_noise", "downsampling")


@pytest.fixture
def spec(tmp_path: Path) -> ExamSpec:
    """Two files of each label, of which the second is a newcomer; the shades model and a broken one."""
    import hashlib

    rows = []
    for label in LABELS:
        for kind, part in ((".jpg", "settled"), (".png", "newcomer")):
            path = tmp_path / "raw" / f"{label}{kind}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(draw_shade(label, kind))
            image_id = hashlib.md5(path.read_bytes()).hexdigest()
            named = {"image_id": image_id, "collection": "c", "path": path.name, "label": label}
            rows.append(ExamRow(**named, group_id=image_id, part=part))
    make_package(tmp_path)
    (tmp_path / "broken").mkdir()
    catalog = load_catalog()
    return ExamSpec(
        sitters=(
            Sitter(model_id="good", recipe="shades", seed=0, package=str(tmp_path / "package")),
            Sitter(model_id="broken", recipe="shades", seed=1, package=str(tmp_path / "broken")),
        ),
        rows=tuple(rows),
        degradations=tuple(catalog.degradations[name] for name in KINDS),
        severity=3,
        images_a_label=1,
        folders={"c": str(tmp_path / "raw")},
        cache=str(tmp_path / "cache"),
        output=str(tmp_path / "exams.parquet"),
        contracts=str(tmp_path / "contracts.json"),
    )


def read(spec: ExamSpec):
    import pyarrow.parquet as pq

    return from_arrow("exams", pq.read_table(spec.output))


def test_a_package_answers_every_image_and_degraded_are_settled_ones_alone(spec):
    breaches = sit_exam(spec)
    table = read(spec)
    assert set(table["model_id"]) == {"good"}
    assert table["variant"].value_counts().to_dict() == {
        "clean": 8,
        "gaussian_noise:3": 4,
        "downsampling:3": 4,
    }
    assert set(table.loc[table["variant"] != "clean", "part"]) == {"settled"}
    clean = table[table["variant"] == "clean"]
    called = clean[[f"p_{label}" for label in LABELS]].to_numpy().argmax(axis=1)
    assert [LABELS[code] for code in called] == clean["label"].tolist()
    assert breaches["good"] == ""
    assert breaches["broken"].startswith("ServingError: ")
    assert json.loads(Path(spec.contracts).read_text()) == breaches


def test_the_same_exam_gives_the_same_bytes(spec):
    sit_exam(spec)
    first = Path(spec.output).read_bytes()
    sit_exam(spec)
    assert Path(spec.output).read_bytes() == first


def test_answers_have_the_temperature_of_the_card(spec):
    sit_exam(spec)
    before = read(spec)
    card = Path(spec.sitters[0].package) / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"temperature": 50.0}))
    sit_exam(spec)
    names = [f"p_{label}" for label in LABELS]
    assert read(spec)[names].max(axis=1).mean() < before[names].max(axis=1).mean()


def test_an_exam_that_only_broken_models_sit_is_empty(spec):
    sit_exam(spec.model_copy(update={"sitters": spec.sitters[1:]}))
    assert read(spec).empty


def test_an_exam_of_newcomers_alone_has_no_degraded_images(spec):
    newcomers = tuple(row for row in spec.rows if row.part == "newcomer")
    sit_exam(spec.model_copy(update={"rows": newcomers}))
    assert set(read(spec)["variant"]) == {"clean"}
