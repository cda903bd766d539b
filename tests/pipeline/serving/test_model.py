"""The model as MLflow loads it: from code and safetensors, away from the project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shades import draw_shade, encode, make_card

from pipeline.labels import LABELS
from pipeline.serving.package import read_package

ASK = """
import json, sys, warnings
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
images = json.loads(sys.stdin.read())
answers = model.predict(pd.DataFrame({"image": images}))
import pipeline
told = {"answers": answers.to_dict(orient="records"), "code": pipeline.__path__[0]}
print(json.dumps(told, allow_nan=False))
"""


@pytest.fixture(scope="module")
def saved(shades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from resources.registry import save_model

    path = tmp_path_factory.mktemp("saved") / "model"
    card, _ = read_package(
        *(shades / "package" / name for name in ("best.safetensors", "card.json", "recipe.json"))
    )
    save_model(path, shades / "package", card, "m-1", "run-1")
    return path


def test_the_folder_holds_no_pickle_and_no_path_of_this_machine(saved: Path):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".ckpt"}]
    described = (saved / "MLmodel").read_text()
    assert "/tmp" not in described
    assert str(Path(__file__).parents[3]) not in described


def test_it_ships_the_pipeline_and_nothing_above_it(saved: Path):
    assert [path.name for path in (saved / "code").iterdir()] == ["pipeline"]
    assert not list(saved.rglob("__pycache__"))


def test_requirements_are_pinned(saved: Path):
    lines = (saved / "requirements.txt").read_text().split()
    assert lines == [f"{name}=={version}" for name, version in sorted(make_card().versions.items())]


@pytest.mark.slow
def test_it_answers_outside_the_project_without_pickle(saved: Path, tmp_path: Path):
    images = [*(encode(draw_shade(label)) for label in LABELS), "no image", None]
    asked = subprocess.run(
        [sys.executable, "-S", "-c", prefix_site() + ASK, str(saved)],
        input=json.dumps(images),
        cwd=tmp_path,
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(asked.stdout.splitlines()[-1])
    assert told["code"] == str(saved / "code" / "pipeline")
    assert [row["label"] for row in told["answers"]] == [*LABELS, None, None]
    assert [row["error"] is None for row in told["answers"]] == [True] * 4 + [False] * 2
    assert list(told["answers"][0]) == ["label", *(f"p_{label}" for label in LABELS), "model_id", "error"]


def prefix_site() -> str:
    """Code that finds installed packages, but not the project: its editable install needs `site`."""
    import sysconfig

    return f"import sys; sys.path.insert(0, {sysconfig.get_paths()['purelib']!r})\n"
