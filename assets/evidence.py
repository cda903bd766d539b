"""Group `evaluation`: what a sceptic asks of a score, as a table, figures, and files of the MLflow run."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import code_version, picture, result_of, table_asset, thumbnails_of
from assets.partitions import split_grid_key
from assets.trainings import specify_all
from pipeline.protocols import protocol_path
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import registered_name
from resources.tracking import Connection, Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

GROUP = "evaluation"
CODE = code_version("evaluation", "schemas/evaluation.py")
DRAWS = 2000
DEPS = ["predictions", "validations", "groups", "thumbnails"]
HEADLINES = (
    *("temperature", "ece_before", "ece_after", "brier_before", "brier_after"),
    *("aurc", "coverage", "group_coverage", "set_size"),
)


def evidence_asset(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `evidence`, one partition a recipe and protocol."""

    @table_asset("evidence", GROUP, CODE, DEPS, partitions_def=grid)
    def evidence(
        context: dg.AssetExecutionContext,
        lake: Lake,
        raw_store: RawStore,
        trainer: Trainer,
        tracking: Tracking,
    ) -> dg.MaterializeResult[Any]:
        """Calibration, abstention, conformal sets, each collection by itself, and the missed tumours.

        Temperature and threshold are fitted on val, everything is measured on test, with intervals. Shown
        here is the first seed; each MLflow run has its own figures.
        """
        from pipeline.evaluation.evidence import weigh_evidence
        from pipeline.evaluation.misses import list_misses, render_misses
        from pipeline.evaluation.safety import tell_safety

        name, protocol = split_grid_key(context)
        place = f"{protocol_path(protocol)}/{name}"
        sources, table = [f"predictions/{place}", f"validations/{place}"], f"evidence/{place}"
        digest = lake.digest_inputs(sources, {"draws": DRAWS})
        predicted, validated = (lake.read(source) for source in sources)
        if not lake.is_current(table, inputs=digest, code=CODE):
            lake.write(table, weigh_evidence(predicted, validated, draws=DRAWS), inputs=digest, code=CODE)
        manifest, frame = lake.manifest(table), lake.read(table)
        assert manifest is not None
        clean = predicted[predicted["variant"] == "clean"]
        specs = specify_all(raw_store.catalog.recipes[name], protocol, lake, raw_store, trainer)
        answers = [clean[clean["model_id"] == spec.model_id] for spec in specs]
        figures = [draw_evidence(rows, frame, lake) for rows in answers]
        with tracking.connected() as mlflow:
            for rows, drawn in zip(answers, figures, strict=True):
                publish_evidence(mlflow, name, protocol, rows, drawn)
        misses = list_misses(answers[0])
        shown = {title: picture(png, title) for title, png in figures[0].items()}
        told: dict[str, Any] = {"safety": tell_safety(protocol, clean, lake.read("groups"))}
        told |= {"missed tumours": len(misses), "missed": dg.MetadataValue.md(render_misses(misses))}
        return result_of(manifest, **headline(frame), **told, **shown)

    return evidence


def headline(evidence: "pd.DataFrame") -> dict[str, float]:
    """The figures that Dagster plots across partitions: the mean over seeds."""
    whole = evidence[(evidence["class"] == "all") & evidence["subset"].isin(["all", "val"])]
    found = {name: whole.loc[whole["metric"] == name, "value"].dropna() for name in HEADLINES}
    return {name.replace("_", " "): float(values.mean()) for name, values in found.items() if len(values)}


def draw_evidence(clean: "pd.DataFrame", evidence: "pd.DataFrame", lake: Lake) -> dict[str, bytes]:
    """PNG figures of one model's clean answers, by name."""
    from pipeline.evaluation import evidence_figures as figures
    from pipeline.evaluation.canvas import png
    from pipeline.evaluation.misses import draw_misses, list_misses

    found = evidence[evidence["model_id"] == clean["model_id"].iloc[0]]
    drawn = {
        "reliability": figures.reliability_figure(clean, found),
        "risk_coverage": figures.risk_figure(clean, found),
        "conformal_sets": figures.sets_figure(clean, found),
        "confusion_by_collection": figures.subsets_figure(clean),
    }
    sheet = draw_misses(list_misses(clean), thumbnails_of(lake))
    return {name: png(figure) for name, figure in drawn.items()} | ({"misses": sheet} if sheet else {})


def publish_evidence(
    mlflow: "Connection", recipe: str, protocol: str, clean: "pd.DataFrame", figures: dict[str, bytes]
) -> None:
    """Figures and the list of missed tumours, as files of the MLflow run of one model."""
    from pipeline.evaluation.misses import list_misses

    model_id = str(clean["model_id"].iloc[0])
    run_id = mlflow.find_run(registered_name(recipe, protocol), model_id)
    files = {f"figures/{title}.png": png for title, png in figures.items()}
    mlflow.log_files(run_id, {**files, "misses.csv": list_misses(clean).to_csv(index=False)})
