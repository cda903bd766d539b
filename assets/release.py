"""Group `release`: which model people should use. Chosen on val under `patient`; the test part has no say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.gate import pass_gate
from assets.materials import code_version, preview, result_of, table_asset
from assets.trainings import is_trained, judge, read_result, specify_all
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import RELEASED, registered_name
from resources.tracking import Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

GROUP = "release"
CODE = code_version("evaluation/champion.py")


@table_asset("release", GROUP, CODE, ["model", "leaderboard"])
def release(
    context: dg.AssetExecutionContext,
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
    tracking: Tracking,
) -> dg.MaterializeResult[Any]:
    """The champion: the recipe with the best macro-F1 on val under `patient`, behind a passed gate.

    Its registered version carries the alias `champion` in MLflow.
    """
    from pipeline.evaluation.champion import choose_champion

    frame = choose_champion(list_candidates(lake, raw_store, trainer))
    digest = lake.digest_inputs(["splits/patient"], {"models": sorted(frame["model_id"])})
    manifest = lake.write("release", frame, inputs=digest, code=CODE)
    chosen = frame[frame["champion"]]
    shown: dict[str, Any] = {"candidates": len(frame), "champion": "none"}
    if len(chosen):
        row = chosen.iloc[0]
        with tracking.connected() as mlflow:
            name = registered_name(row["recipe"], "patient")
            version = mlflow.promote(name, mlflow.find_version(name, row["model_id"]))
            shown["champion"] = f"{row['recipe']}: {row['why']}"
            shown["registered model"] = dg.MetadataValue.url(mlflow.model_url(RELEASED, version))
    return result_of(manifest, **shown, preview=dg.MetadataValue.md(preview(frame)))


def list_candidates(lake: Lake, raw_store: RawStore, trainer: Trainer) -> "pd.DataFrame":
    """One row for each finished training under `patient` of the present recipes and data."""
    import pandas as pd

    gate = pass_gate(lake, "patient")
    rows = []
    for recipe in raw_store.catalog.recipes.values():
        for spec in specify_all(recipe, "patient", lake, raw_store, trainer):
            if is_trained(spec):
                score = read_result(Path(spec.work)).val["macro_f1"]
                rows.append((recipe.name, spec.model_id, score, judge(recipe, gate)))
    return pd.DataFrame(rows, columns=["recipe", "model_id", "val_macro_f1", "gate"])
