"""The figures of `metrics` in MLflow: in the run and on the version of the very model that they are of."""

import pandas as pd
import pytest
from report_homes import RECIPE, fill

from assets.evaluation import publish_scores
from assets.trainings import specify_all
from pipeline.errors import TrackingError
from resources.trainer import Trainer

NAME = f"falx-{RECIPE}-patient"


class Registry:
    """Stands in for MLflow, which holds one model: remembers what was told of which run and version."""

    def __init__(self, model_id: str) -> None:
        self.model_id, self.told = model_id, {}

    def find_run(self, name: str, model_id: str) -> str:
        if model_id != self.model_id:
            raise TrackingError(f"no version of {name} holds model {model_id}")
        return "run"

    def find_version(self, name: str, model_id: str) -> str:
        return "7" if model_id == self.model_id else ""

    def find_logged_model(self, name: str, version: str) -> str:
        return f"logged {version}"

    def log_scores(self, run_id, metrics, *, logged_model):
        self.told[run_id, logged_model] = set(metrics["model_id"])
        return {"test/macro_f1": 0.5}

    def log_files(self, run_id, files) -> None:
        self.told[run_id] = set(files)

    def update_version(self, name, version, card, scores) -> None:
        self.told[name, version] = (card.model_id, scores)


@pytest.fixture
def answered(curated):
    lake, store = curated
    fill(lake, store, "patient")
    [spec] = specify_all(store.catalog.recipes[RECIPE], "patient", lake, store, Trainer())
    return spec, lake.read(f"metrics/patient/{RECIPE}")


def test_scores_go_to_the_run_and_the_version_of_their_model(answered):
    spec, metrics = answered
    registry = Registry(spec.model_id)
    both = pd.concat([metrics, metrics.assign(model_id="another")])
    publish_scores(registry, spec, both, {"roc": b"png"})
    assert registry.told == {
        ("run", "logged 7"): {spec.model_id},
        "run": {"figures/roc.png"},
        (NAME, "7"): (spec.model_id, {"test/macro_f1": 0.5}),
    }


def test_scores_of_a_model_that_mlflow_does_not_hold_are_told_nowhere(answered):
    spec, metrics = answered
    registry = Registry("another")
    with pytest.raises(TrackingError, match=f"no version of {NAME} holds model"):
        publish_scores(registry, spec, metrics, {})
    assert registry.told == {}
