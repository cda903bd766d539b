"""Group `evaluation`: where a model looks, against the tumours' boxes; heat maps, contact sheets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import code_version, picture, result_of, table_asset
from assets.partitions import split_grid_key
from assets.predictions import record_opening
from assets.trainings import read_result, specify_all
from pipeline.atomic import write_text
from pipeline.protocols import protocol_path
from resources.instance import POOL
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import registered_name
from resources.tracking import Connection, Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.training.spec import TrainingSpec

GROUP = "evaluation"
CODE = code_version(
    *("schemas/evaluation.py", "explanations", "evaluation/bootstrap.py", "evaluation/canvas.py"),
    *("training/inference.py", "training/models.py", "training/inputs.py", "imaging/decode.py"),
)
DRAWS = 2000
LIMIT = 200
"""Images explained at most; the two methods of two networks take some 0.2 s each at 224 pixels on a CPU."""
SHEETS = ("right", "wrong", "wrong_reason")
SHEET = "sheet {}"


def explanations_asset(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `explanations`, one partition a recipe and protocol."""

    @table_asset("explanations", GROUP, CODE, ["predictions", "patients"], partitions_def=grid, pool=POOL)
    def explanations(
        context: dg.AssetExecutionContext,
        lake: Lake,
        raw_store: RawStore,
        trainer: Trainer,
        tracking: Tracking,
    ) -> dg.MaterializeResult[Any]:
        """Whether Grad-CAM and saliency point at the tumour's box, against random weights and a centre blob.

        Also three contact sheets: right, wrong, and right for the wrong reason. A heat map is no proof of why
        a model answered as it did. Research software, not a medical device.
        """
        from pipeline.explanations.figures import summarise, tell_pointing

        name, protocol = split_grid_key(context)
        specs = specify_all(raw_store.catalog.recipes[name], protocol, lake, raw_store, trainer)
        place = f"{protocol_path(protocol)}/{name}"
        models = {"models": [spec.model_id for spec in specs], "limit": LIMIT}
        digest = lake.digest_inputs([f"predictions/{place}", "patients"], models)
        table, heats = f"explanations/{place}", f"heats/{place}"
        if not all(lake.is_current(each, inputs=digest, code=CODE) for each in (table, heats)):
            drawn = explain_all(context, specs, lake, raw_store, trainer)
            lake.write(heats, drawn, inputs=digest, code=CODE)
            lake.write(table, summarise(drawn, draws=DRAWS), inputs=digest, code=CODE)
        manifest, frame = lake.manifest(table), lake.read(table)
        assert manifest is not None
        with tracking.connected() as mlflow:
            for spec in specs:
                publish(mlflow, spec, frame[frame["model_id"] == spec.model_id])
        first = frame[frame["model_id"] == specs[0].model_id]
        told = dg.MetadataValue.md("\n".join(f"- {line}" for line in tell_pointing(first)))
        return result_of(manifest, **headline(frame), told=told, **show(specs[0], first))

    return explanations


def explain_all(
    context: dg.AssetExecutionContext,
    specs: "list[TrainingSpec]",
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
) -> "pd.DataFrame":
    """Table `heats` of all seeds, each drawn in a process of its own."""
    import pandas as pd

    frames = [explain_one(context, spec, lake, raw_store, trainer) for spec in specs]
    return pd.concat(frames, ignore_index=True)


def explain_one(
    context: dg.AssetExecutionContext,
    spec: "TrainingSpec",
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
) -> "pd.DataFrame":
    """The rows of `heats` of one seed's model; its contact sheets go into the training's folder."""
    import pyarrow.parquet as pq

    from pipeline.explanations.explaining import ExplanationSpec
    from pipeline.tables import from_arrow

    work = Path(spec.work)
    folder = sheets_folder(spec)
    folder.mkdir(exist_ok=True)
    explanation = ExplanationSpec(
        recipe=spec.recipe,
        model_id=spec.model_id,
        predictions=str(lake.path(f"predictions/{protocol_path(spec.protocol)}/{spec.recipe.name}")),
        patients=str(lake.path("patients")),
        folders=spec.folders,
        cache=spec.cache,
        work=spec.work,
        limit=LIMIT,
        output=str(folder / "heats.parquet"),
        sheets=str(folder),
        device=read_result(work).device,
        threads=spec.threads,
        workers=spec.workers,
    )
    write_text(work / "explanation.json", explanation.model_dump_json(indent=2))
    if spec.protocol == "patient":
        record_opening(spec, lake, why="explanations")
    trainer.run(context, "explain", work / "explanation.json")
    return from_arrow("heats", pq.read_table(explanation.output))


def sheets_folder(spec: "TrainingSpec") -> Path:
    """Where the contact sheets of one training lie."""
    return Path(spec.work) / "explanations"


def headline(explanations: "pd.DataFrame") -> dict[str, float]:
    """The figures that Dagster plots across partitions: the mean over seeds."""
    rows = explanations[explanations["subset"] == "all"]
    wanted = [
        (method, metric, subject)
        for method in ("grad_cam", "saliency")
        for metric in ("hit", "share")
        for subject in ("trained", "over_random_weights", "over_centre_blob")
    ]
    found = rows.groupby(["method", "metric", "subject"])["value"].mean()
    return {" ".join(key).replace("_", " "): float(found[key]) for key in wanted}


def show(spec: "TrainingSpec", explanations: "pd.DataFrame") -> dict[str, dg.MarkdownMetadataValue]:
    """Figure and contact sheets of one seed, small enough for the event log."""
    from pipeline.evaluation.canvas import png
    from pipeline.explanations.contact_sheets import shrink_sheet
    from pipeline.explanations.figures import pointing_figure

    shown = {"pointing": picture(png(pointing_figure(explanations)), "pointing")}
    for name in SHEETS:
        sheet = (sheets_folder(spec) / f"{name}.png").read_bytes()
        shown[SHEET.format(name)] = picture(shrink_sheet(sheet), name)
    return shown


def publish(mlflow: "Connection", spec: "TrainingSpec", explanations: "pd.DataFrame") -> None:
    """Figures, table and contact sheets of one seed, as files of its MLflow run."""
    from pipeline.evaluation.canvas import png
    from pipeline.explanations.figures import pointing_figure

    run_id = mlflow.find_run(registered_name(spec.recipe.name, spec.protocol), spec.model_id)
    files: dict[str, bytes | str] = {
        f"explanations/{sheet}.png": (sheets_folder(spec) / f"{sheet}.png").read_bytes() for sheet in SHEETS
    }
    files["figures/pointing.png"] = png(pointing_figure(explanations))
    mlflow.log_files(run_id, {**files, "explanations/figures.csv": explanations.to_csv(index=False)})
