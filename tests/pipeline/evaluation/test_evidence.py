"""Table `evidence`: fitted on val, measured on test, the same whatever the order, all of it documented."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.evidence import EVIDENCE, fit_on_val, weigh_evidence
from pipeline.tables import from_arrow, to_arrow

Predict = Callable[..., pd.DataFrame]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


@pytest.fixture
def val(dream: Predict) -> pd.DataFrame:
    frame = dream(images=160, groups=40, draw=9)
    return frame.assign(path="val/" + frame["path"])


def test_the_table_is_as_declared_and_comes_back(predictions, val):
    found = weigh_evidence(predictions, val, draws=50)
    assert from_arrow("evidence", to_arrow("evidence", found)).equals(found)
    assert set(found["metric"]) == set(EVIDENCE)
    assert set(found["subset"]) == {"all", "val", "three_class", "collection:phantoms"}


def test_the_order_of_rows_and_the_names_of_groups_change_nothing(predictions, val):
    whole = weigh_evidence(predictions, val, draws=50)
    shuffled = predictions.sample(frac=1, random_state=0).assign(group_id="x" + predictions["group_id"])
    assert weigh_evidence(shuffled, val.sample(frac=1, random_state=1), draws=50).equals(whole)


def test_degraded_variants_are_left_aside(predictions, val):
    degraded = pd.concat([predictions, predictions.assign(variant="gamma:5", label="glioma")])
    assert weigh_evidence(degraded, val, draws=20).equals(weigh_evidence(predictions, val, draws=20))


def test_what_is_fitted_depends_on_val_alone(predictions, val):
    fitted = fit_on_val(val)
    found = weigh_evidence(predictions, val, draws=20).set_index(["metric", "subset"])
    assert found.loc[("temperature", "val"), "value"].item() == fitted.temperature
    assert found.loc[("conformal_threshold", "val"), "value"].item() == fitted.threshold
    assert found.loc[("temperature", "val"), "n"].item() == 160
    other = weigh_evidence(predictions.iloc[:100], val, draws=20).set_index(["metric", "subset"])
    assert other.loc[("temperature", "val"), "value"].item() == fitted.temperature


def test_a_val_part_that_excludes_no_label_gives_full_sets(predictions, val):
    found = weigh_evidence(predictions, val.iloc[:5], draws=20).set_index(["metric", "class"])
    assert np.isnan(found.loc[("conformal_threshold", "all"), "value"])
    assert found.loc[("set_size", "all"), "value"] == 4
    assert found.loc[("coverage", "all"), "value"] == 1


def test_each_model_is_weighed_with_its_own_val_part(predictions, val, dream):
    second, second_val = dream(seed=1, skill=1.0), dream(seed=1, skill=1.0, draw=5)
    second_val = second_val.assign(path="val/" + second_val["path"])
    both = weigh_evidence(pd.concat([predictions, second]), pd.concat([val, second_val]), draws=20)
    alone = weigh_evidence(second, second_val, draws=20)
    assert both[both["seed"] == 1].reset_index(drop=True).equals(alone)


def test_a_model_without_val_rows_is_named(predictions, val):
    with pytest.raises(TableError, match="demo_careful-patient-0 has test rows and no val rows"):
        weigh_evidence(predictions, val.assign(model_id="another"), draws=10)


def test_test_images_do_not_pass_as_val(predictions):
    with pytest.raises(
        TableError, match=r"240 files are in val and in test, the first is phantoms/Testing/0"
    ):
        weigh_evidence(predictions, predictions, draws=10)


def test_every_figure_is_documented_and_nothing_else():
    text = DOCUMENT.read_text(encoding="utf-8").split("## ", 1)[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    documented = [line.split("`")[1] for line in rows]
    assert documented == list(EVIDENCE)
    for line, (name, meaning) in zip(rows, EVIDENCE.items(), strict=True):
        assert meaning in line, name
