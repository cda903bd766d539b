"""The asset `explanations`: a process of its own, two tables, figure and sheets in Dagster and in MLflow."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from assets.explanations import SHEETS, explanations_asset
from assets.partitions import grid_key, training_grid
from assets.trainings import specify_all
from pipeline.labels import LABELS
from pipeline.training.models import build_model
from pipeline.training.spec import TrainingResult
from resources.ledgers import read_rows
from resources.trainer import Trainer

RECIPE, PROTOCOL = "demo_plain", "patient"
PLACE = f"{PROTOCOL}/{RECIPE}"
BOX = {"box_x": 0.5, "box_y": 0.4, "box_w": 0.2, "box_h": 0.3}


class Registry:
    """Stands in for MLflow: remembers which files went to which run."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, object]] = {}

    def find_run(self, name: str, model_id: str) -> str:
        return name

    def log_files(self, run_id: str, files: dict[str, object]) -> None:
        self.files[run_id] = files


@pytest.fixture
def answered(curated):
    """Random weights as if trained, their answers, and a box for every image."""
    lake, store = curated
    recipe = store.catalog.recipes[RECIPE]
    [spec] = specify_all(recipe, PROTOCOL, lake, store, Trainer())
    work = Path(spec.work)
    work.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(build_model(recipe), str(work / "best.safetensors"))
    facts = {"model_id": spec.model_id, "recipe": RECIPE, "protocol": PROTOCOL, "seed": 0, "identity": "i"}
    facts |= {"best_epoch": 1, "epochs": 1, "monitor": "val_loss", "monitor_value": 1.0, "val": {}}
    facts |= {"parameters": 1, "trainable_parameters": 1, "n_train": 1, "n_val": 1, "device": "cpu"}
    result = TrainingResult.model_validate(facts | {"precision": "fp32", "why": {}, "seconds": 1.0})
    (work / "result.json").write_text(result.model_dump_json())

    rows = lake.read("splits/patient").dropna(subset="label").drop_duplicates("image_id")
    rows = rows[["image_id", "collection", "path", "label"]].reset_index(drop=True)
    scores = np.full((len(rows), 4), 0.1)
    called = rows["label"].where(rows.index % 5 != 0, "no_tumor")
    scores[np.arange(len(rows)), [LABELS.index(name) for name in called]] = 0.7
    frame = rows.assign(model_id=spec.model_id, recipe=RECIPE, protocol=PROTOCOL, seed=0, variant="clean")
    frame = frame.assign(group_id=rows["image_id"], **{f"p_{n}": scores[:, i] for i, n in enumerate(LABELS)})
    lake.write(f"predictions/{PLACE}", frame, inputs="i", code="c")
    lake.write("patients", lake.read("patients").assign(**BOX), inputs="i", code="c")
    return lake, store, spec


def materialise(lake, store, registry: Registry):
    @contextmanager
    def connected():
        yield registry

    return dg.materialize(
        [explanations_asset(training_grid(store.catalog))],
        partition_key=grid_key(RECIPE, PROTOCOL),
        resources={
            "lake": lake,
            "raw_store": store,
            "trainer": Trainer(),
            "tracking": dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(connected=connected)),
        },
        raise_on_error=False,
    )


@pytest.mark.slow
def test_tables_figure_and_sheets_are_stored_shown_and_logged_and_made_once(answered):
    lake, store, spec = answered
    registry = Registry()
    done = materialise(lake, store, registry)
    assert done.success
    [made] = done.asset_materializations_for_node("explanations")
    frame, heats = lake.read(f"explanations/{PLACE}"), lake.read(f"heats/{PLACE}")
    assert heats["image_id"].nunique() == (lake.read(f"predictions/{PLACE}")["label"] != "no_tumor").sum()
    whole = frame[(frame["subset"] == "all") & (frame["method"] == "grad_cam") & (frame["metric"] == "hit")]
    value = whole.set_index("subject")["value"]["over_centre_blob"]
    assert made.metadata["grad cam hit over centre blob"].value == pytest.approx(value)
    assert {"told", "pointing", *(f"sheet {name}" for name in SHEETS)} <= set(made.metadata)

    files = registry.files[f"falx-{RECIPE}-{PROTOCOL}"]
    sheets = {f"explanations/{name}.png" for name in SHEETS}
    assert set(files) == {*sheets, "figures/pointing.png", "explanations/figures.csv"}
    assert all(files[name].startswith(b"\x89PNG") for name in sheets)

    ledger = read_rows(lake, "openings")
    assert ledger[["why", "model_id"]].to_numpy().tolist() == [["explanations", spec.model_id]]

    written = lake.path(f"heats/{PLACE}").stat().st_mtime_ns
    assert materialise(lake, store, registry).success
    assert lake.path(f"heats/{PLACE}").stat().st_mtime_ns == written
    assert len(read_rows(lake, "openings")) == 1


@pytest.mark.slow
def test_without_boxes_the_run_fails_and_stores_nothing(answered, capfd):
    lake, store, _ = answered
    lake.write("patients", lake.read("patients").assign(box_x=np.nan), inputs="i", code="c")
    assert not materialise(lake, store, Registry()).success
    assert "boxes come from the reference, cheng_figshare" in capfd.readouterr().err
    assert lake.manifest(f"explanations/{PLACE}") is None and lake.manifest(f"heats/{PLACE}") is None
