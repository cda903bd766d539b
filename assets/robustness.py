"""Group `evaluation`: all models on poorer images, beside one another and against the reference."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.answered import find_predictions
from assets.evaluation import DRAWS
from assets.materials import code_version, result_of, table_asset
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

GROUP = "evaluation"
CODE = code_version("evaluation", "schemas/evaluation.py")
JUDGE = "predictions/patient/cnn3"
"""Answers of the reference, `pipeline.evaluation.robustness.REFERENCE`: its errors stand for 100 %."""


@table_asset("robustness", GROUP, CODE, ["predictions", "validations"])
def robustness(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """What is left of each model on degraded images, which class breaks first, and its corruption error.

    Only `patient` has degraded images; models under other protocols are not in it.
    """
    from pipeline.evaluation.robustness import tell_robustness

    names, digest = find_answered(lake, raw_store), digest_robustness(lake, raw_store)
    if not lake.is_current("robustness", inputs=digest, code=CODE):
        lake.write("robustness", measure_all(lake, names), inputs=digest, code=CODE)
    manifest, frame = lake.manifest("robustness"), lake.read("robustness")
    assert manifest is not None
    told = "\n".join(f"- {line}" for line in tell_robustness(frame))
    return result_of(manifest, frame, models=dg.MetadataValue.md(told or "no model under `patient` yet"))


def digest_robustness(lake: Lake, raw_store: RawStore) -> str:
    """Digest of what `robustness` is made from as the lake is now; see `digest_leaderboard`."""
    names = find_answered(lake, raw_store)
    return lake.digest_inputs([*names, *map(name_validations, names)], {"draws": DRAWS})


def find_answered(lake: Lake, raw_store: RawStore) -> list[str]:
    """The predictions tables under `patient` whose val answers are in the lake as well."""
    names = [name for name in find_predictions(lake, raw_store) if name.startswith("predictions/patient/")]
    return [name for name in names if lake.manifest(name_validations(name)) is not None]


def name_validations(predictions: str) -> str:
    """`predictions/patient/cnn3` -> `validations/patient/cnn3`."""
    return predictions.replace("predictions/", "validations/", 1)


def measure_all(lake: Lake, names: list[str]) -> "pd.DataFrame":
    """The rows of every model, one recipe in memory at a time, and the reference."""
    import pandas as pd

    from pipeline.schemas import TABLES

    judge = read_judge(lake) if JUDGE in names else None
    parts = []
    for name in names:
        validated = lake.read(name_validations(name))
        for model, rows in lake.read(name).groupby("model_id", sort=True):
            parts.append(measure_model(rows, validated[validated["model_id"] == model], judge))
    empty = pd.DataFrame(columns=TABLES["robustness"].names)
    return pd.concat(parts, ignore_index=True) if parts else empty


def read_judge(lake: Lake) -> "pd.DataFrame":
    """Answers of the reference's first seed, clean and degraded."""
    judge = lake.read(JUDGE)
    first: pd.DataFrame = judge[judge["seed"] == judge["seed"].min()]
    return first


def measure_model(
    answers: "pd.DataFrame", validated: "pd.DataFrame", judge: "pd.DataFrame | None"
) -> "pd.DataFrame":
    """The rows of one model, under the temperature that its val answers ask for."""
    from pipeline.evaluation.evidence import fit_on_val
    from pipeline.evaluation.robustness import measure_robustness

    return measure_robustness(answers, fit_on_val(validated).temperature, judge, draws=DRAWS)
