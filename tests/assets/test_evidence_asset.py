"""The asset `evidence`: from two tables in the lake to a table, figures and files of the MLflow run."""

from contextlib import contextmanager
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.evidence import evidence_asset
from assets.partitions import grid_key, training_grid
from assets.predictions import predictions_asset
from assets.trainings import specify_all
from pipeline.labels import LABELS
from resources.lake import Lake
from resources.trainer import Trainer

RECIPE, PROTOCOL = "resnet18d", "patient"
PLACE = f"{PROTOCOL}/{RECIPE}"


class Ledger:
    """Stands in for MLflow: remembers which files went to which run."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, object]] = {}

    def find_run(self, name: str, model_id: str) -> str:
        return name

    def log_files(self, run_id: str, files: dict[str, object]) -> None:
        self.files[run_id] = files


@pytest.fixture
def answered(curated):
    """Val and test answers of one model in the lake; every sixth tumour is missed."""
    lake, store = curated
    [spec] = specify_all(store.catalog.recipes[RECIPE], PROTOCOL, lake, store, Trainer())
    images = lake.read("images").sort_values("image_id", ignore_index=True)
    for table, part in (("validations", images[::2]), ("predictions", images[1::2])):
        rows = part[["image_id", "collection", "label"]].reset_index(drop=True)
        scores = np.random.default_rng(0).dirichlet(np.ones(4), len(rows)) * 0.4
        called = rows["label"].where(rows.index % 6 != 0, "no_tumor")
        scores[np.arange(len(rows)), [LABELS.index(label) for label in called]] += 0.6
        frame = rows.assign(path=rows["image_id"], group_id=rows["image_id"], variant="clean")
        frame = frame.assign(model_id=spec.model_id, recipe=RECIPE, protocol=PROTOCOL, seed=0)
        frame = frame.assign(**{f"p_{label}": scores[:, code] for code, label in enumerate(LABELS)})
        lake.write(f"{table}/{PLACE}", frame, inputs="i", code="c")
    return lake, store


def materialise(lake: Lake, store, ledger: Ledger, seeds: int = 0):
    @contextmanager
    def connected():
        yield ledger

    return dg.materialize(
        [evidence_asset(training_grid(store.catalog))],
        partition_key=grid_key(RECIPE, PROTOCOL),
        resources={
            "lake": lake,
            "raw_store": store,
            "trainer": Trainer(seeds=seeds),
            "tracking": dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(connected=connected)),
        },
    )


def test_table_figures_and_misses_are_stored_shown_and_logged_once(answered):
    lake, store = answered
    ledger = Ledger()
    [made] = materialise(lake, store, ledger).asset_materializations_for_node("evidence")
    frame, predicted = lake.read(f"evidence/{PLACE}"), lake.read(f"predictions/{PLACE}")
    values = frame[frame["subset"].isin(["all", "val"]) & (frame["class"] == "all")].set_index("metric")[
        "value"
    ]
    for name in ("temperature", "ece after", "coverage"):
        assert made.metadata[name].value == pytest.approx(values[name.replace(" ", "_")])
    missed = (predicted["label"] != "no_tumor") & (predicted["p_no_tumor"] >= 0.5)
    assert made.metadata["missed tumours"].value == missed.sum() > 0

    files = ledger.files[f"falx-{RECIPE}-{PROTOCOL}"]
    figures = {"reliability", "risk_coverage", "conformal_sets", "confusion_by_collection", "misses"}
    assert set(files) == {*(f"figures/{name}.png" for name in figures), "misses.csv"}
    assert figures <= set(made.metadata)
    assert str(files["misses.csv"]).count("\n") == 1 + missed.sum()

    assert made.metadata["safety"].value.startswith("picture-safe: no known copy of the")

    written = lake.path(f"evidence/{PLACE}").stat().st_mtime_ns
    assert materialise(lake, store, ledger).success
    assert lake.path(f"evidence/{PLACE}").stat().st_mtime_ns == written


def test_each_seed_has_the_figures_of_its_own_answers(answered):
    lake, store = answered
    specs = specify_all(store.catalog.recipes[RECIPE], PROTOCOL, lake, store, Trainer(seeds=2))
    for table in ("validations", "predictions"):
        first = lake.read(f"{table}/{PLACE}")
        second = first.assign(model_id=specs[1].model_id, seed=1)
        second[["p_glioma", "p_meningioma"]] = first[["p_meningioma", "p_glioma"]].to_numpy()
        lake.write(f"{table}/{PLACE}", pd.concat([first, second]), inputs="i", code="c")
    logged: list[dict[str, object]] = []
    ledger = Ledger()
    ledger.log_files = lambda run_id, files: logged.append(files)
    materialise(lake, store, ledger, seeds=2)
    assert len(logged) == 2
    assert logged[0]["figures/reliability.png"] != logged[1]["figures/reliability.png"]
    assert logged[0]["misses.csv"] != logged[1]["misses.csv"]


def test_other_val_answers_are_weighed_anew(answered):
    lake, store = answered
    materialise(lake, store, Ledger())
    before = lake.manifest(f"evidence/{PLACE}")
    val = lake.read(f"validations/{PLACE}")
    lake.write(f"validations/{PLACE}", val.iloc[1:], inputs="i", code="c")
    materialise(lake, store, Ledger())
    assert lake.manifest(f"evidence/{PLACE}").inputs != before.inputs


def test_val_and_test_answers_come_from_one_step(store):
    asset = predictions_asset(training_grid(store.catalog))
    assert asset.keys == {dg.AssetKey("validations"), dg.AssetKey("predictions")}
    assert not asset.can_subset
    specs = {spec.key.path[0]: {dep.asset_key.path[0] for dep in spec.deps} for spec in asset.specs}
    assert specs == {"validations": {"model", "groups"}, "predictions": {"model", "variants", "groups"}}
