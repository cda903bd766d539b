"""Group `evaluation`: figures with intervals, and the leaderboard."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.answered import find_predictions, tell_earlier
from assets.evidence import evidence_asset
from assets.explanations import explanations_asset
from assets.gate import GATE_INPUTS, inspect
from assets.materials import code_version, picture, preview, result_of, table_asset
from assets.partitions import split_grid_key
from assets.predictions import predictions_asset
from assets.trainings import specify_all
from pipeline.errors import TableError
from pipeline.protocols import list_protocols, protocol_path, split_table
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import registered_name
from resources.tracking import Connection, Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.training.spec import TrainingSpec

GROUP = "evaluation"
CODE = {
    "metrics": code_version("evaluation", "schemas/evaluation.py"),
    "leaderboard": code_version("evaluation", "schemas/evaluation.py", "curation/gate.py"),
}
DRAWS = 2000
PAIRED_DRAWS = 10_000


def evaluation_assets(grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """All assets of the group, in the order of the flow."""
    return [
        predictions_asset(grid),
        _metrics_asset(grid),
        evidence_asset(grid),
        explanations_asset(grid),
        leaderboard,
        comparisons,
    ]


def _metrics_asset(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    @table_asset("metrics", GROUP, CODE["metrics"], ["predictions"], partitions_def=grid)
    def metrics(
        context: dg.AssetExecutionContext,
        lake: Lake,
        raw_store: RawStore,
        trainer: Trainer,
        tracking: Tracking,
    ) -> dg.MaterializeResult[Any]:
        """Every figure of a model on its test part, each with a 95 % interval of the group bootstrap."""
        name, protocol = split_grid_key(context)
        recipe = raw_store.catalog.recipes[name]
        place = f"{protocol_path(protocol)}/{name}"
        source, table = f"predictions/{place}", f"metrics/{place}"
        digest = lake.digest_inputs([source], {"draws": DRAWS})
        if not lake.is_current(table, inputs=digest, code=CODE["metrics"]):
            lake.write(table, score(lake.read(source)), inputs=digest, code=CODE["metrics"])
        manifest, frame, predicted = lake.manifest(table), lake.read(table), lake.read(source)
        assert manifest is not None
        figures = draw_figures(predicted, frame)
        specs = specify_all(recipe, protocol, lake, raw_store, trainer)
        with tracking.connected() as mlflow:
            for spec in specs:
                publish_scores(mlflow, spec, frame, figures)
        shown = {title: picture(png, title) for title, png in figures.items()}
        return result_of(manifest, **headline(frame), **shown, preview=dg.MetadataValue.md(preview(frame)))

    return metrics


def score(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """The metrics of every model in a predictions table."""
    import pandas as pd

    from pipeline.evaluation.metrics import score_predictions

    parts = [score_predictions(rows, draws=DRAWS) for _, rows in predictions.groupby("model_id", sort=True)]
    return pd.concat(parts, ignore_index=True)


def headline(metrics: "pd.DataFrame") -> dict[str, float]:
    """The figures that Dagster plots across partitions: the mean over seeds of the clean ones."""
    clean = metrics[(metrics["variant"] == "clean") & (metrics["class"] == "all")]
    names = ["accuracy", "balanced_accuracy", "macro_f1", "miss_rate", "roc_auc"]
    found = {name: clean.loc[clean["metric"] == name, "value"].dropna() for name in names}
    return {f"test {name}": float(values.mean()) for name, values in found.items() if len(values)}


def draw_figures(predictions: "pd.DataFrame", metrics: "pd.DataFrame") -> dict[str, bytes]:
    """PNG figures of one recipe under one protocol, by name; the first seed stands for the others."""
    from pipeline.evaluation import curves, figures
    from pipeline.evaluation.canvas import png

    first = predictions[predictions["seed"] == predictions["seed"].min()]
    scored = metrics[metrics["seed"] == metrics["seed"].min()]
    clean = first[first["variant"] == "clean"]
    drawn = {
        "confusion": figures.confusion_figure(clean),
        "roc": figures.roc_figure(clean),
    }
    if (scored["variant"] != "clean").any():
        drawn["severity"] = curves.severity_figure(scored)
    return {name: png(figure) for name, figure in drawn.items()}


def publish_scores(
    mlflow: "Connection", spec: "TrainingSpec", metrics: "pd.DataFrame", figures: dict[str, bytes]
) -> None:
    """The test figures of one seed, into its MLflow run and its registered version."""
    from pipeline.serving.card import read_card
    from pipeline.serving.package import CARD

    name = registered_name(spec.recipe.name, spec.protocol)
    run_id, version = mlflow.find_run(name, spec.model_id), mlflow.find_version(name, spec.model_id)
    own = metrics[metrics["model_id"] == spec.model_id]
    scores = mlflow.log_scores(run_id, own, logged_model=mlflow.find_logged_model(name, version))
    mlflow.log_files(run_id, {f"figures/{title}.png": png for title, png in figures.items()})
    card = read_card(Path(spec.work) / "package" / CARD)
    mlflow.update_version(name, version, card, scores)


@table_asset("leaderboard", GROUP, CODE["leaderboard"], ["predictions", *GATE_INPUTS])
def leaderboard(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """Recipes × protocols, each with its optimism: the score as published minus that on new patients."""
    from pipeline.curation.gate import decide_verdict
    from pipeline.evaluation.canvas import png
    from pipeline.evaluation.leaderboard import rank_recipes, render_leaderboard_markdown, tell_optimism
    from pipeline.evaluation.optimism import leaderboard_figure
    from pipeline.evaluation.rankings import tell_rankings

    names, earlier = find_predictions(lake, raw_store), tell_earlier(lake, raw_store)
    if not names and earlier:
        raise TableError(f"leaderboard: there is nothing to rank; {earlier}")
    digest = digest_leaderboard(lake, raw_store)
    if not lake.is_current("leaderboard", inputs=digest, code=CODE["leaderboard"]):
        verdicts: dict[str, str] = {
            protocol: decide_verdict(inspect(lake, protocol), protocol)
            for protocol in list_protocols(raw_store.catalog.collections)
        }
        frame = rank_recipes((lake.read(name) for name in names), verdicts, draws=DRAWS)
        lake.write("leaderboard", frame, inputs=digest, code=CODE["leaderboard"])
    manifest, frame = lake.manifest("leaderboard"), lake.read("leaderboard")
    assert manifest is not None
    told = "\n".join(f"- {line}" for line in tell_optimism(frame))
    ranked = "\n".join(f"- {line}" for line in tell_rankings(frame))
    return result_of(
        manifest,
        leaderboard=dg.MetadataValue.md(render_leaderboard_markdown(frame)),
        optimism=dg.MetadataValue.md(told or "no recipe has a score under `patient` yet"),
        ranking=dg.MetadataValue.md(ranked or "no two recipes have scores under two protocols yet"),
        figure=picture(png(leaderboard_figure(frame)), "leaderboard"),
        earlier=dg.MetadataValue.md(earlier or "every answer is to the test part as it is now"),
    )


@table_asset("comparisons", GROUP, CODE["metrics"], ["predictions"])
def comparisons(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """Every two recipes that were tested on the same images: difference of macro-F1, drawn in pairs."""
    from pipeline.evaluation.contests import compare_recipes, tell_contests

    names, digest = find_predictions(lake, raw_store), digest_comparisons(lake, raw_store)
    if not lake.is_current("comparisons", inputs=digest, code=CODE["metrics"]):
        frame = compare_recipes((lake.read(name) for name in names), draws=PAIRED_DRAWS)
        lake.write("comparisons", frame, inputs=digest, code=CODE["metrics"])
    manifest, frame = lake.manifest("comparisons"), lake.read("comparisons")
    assert manifest is not None
    told = {
        protocol: dg.MetadataValue.md("\n".join(f"- {line}" for line in tell_contests(frame, protocol)))
        for protocol in sorted(frame["protocol"].unique())
    }
    return result_of(manifest, frame, **told)


def digest_comparisons(lake: Lake, raw_store: RawStore) -> str:
    """Digest of what `comparisons` is made from as the lake is now; see `digest_leaderboard`."""
    return lake.digest_inputs(find_predictions(lake, raw_store), {"draws": PAIRED_DRAWS})


def digest_leaderboard(lake: Lake, raw_store: RawStore) -> str:
    """Digest of what `leaderboard` is made from as the lake is now.

    Dagster calls an asset fresh without a look where 100 partitions or more are upstream of it.
    """
    splits = [split_table(protocol) for protocol in list_protocols(raw_store.catalog.collections)]
    names = find_predictions(lake, raw_store)
    return lake.digest_inputs([*names, *splits, *GATE_INPUTS], {"draws": DRAWS})
