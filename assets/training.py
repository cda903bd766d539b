"""Group `training`: one model a recipe and protocol, trained behind the gate, tracked and registered."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.gate import GATE_INPUTS, pass_gate
from assets.materials import OWNER
from assets.partitions import split_grid_key
from assets.splits import split_key
from assets.trainings import (
    CODE,
    is_fitted,
    is_trained,
    judge,
    name_models,
    read_result,
    require_weights_of,
    run_key,
    select_rows,
    specify_all,
)
from pipeline.atomic import write_text
from pipeline.catalog import Catalog
from pipeline.protocols import list_protocols, split_table
from pipeline.serving.card import SCOPE
from pipeline.training.spec import PROSE, TrainingResult, TrainingSpec
from resources.instance import POOL
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import registered_name
from resources.tracking import Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    from pipeline.serving.card import ModelCard
    from resources.tracking import Connection

GROUP = "training"


def model_asset(catalog: Catalog, grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `model`, one partition a recipe and protocol."""
    splits = [split_key(protocol) for protocol in list_protocols(catalog.collections)]

    @dg.asset(
        partitions_def=grid,
        group_name=GROUP,
        deps=[*splits, *GATE_INPUTS],
        owners=[OWNER],
        kinds={"pytorch", "mlflow"},
        tags={"falx/stage": "training"},
        code_version=CODE,
        pool=POOL,
    )
    def model(
        context: dg.AssetExecutionContext,
        lake: Lake,
        raw_store: RawStore,
        trainer: Trainer,
        tracking: Tracking,
    ) -> dg.MaterializeResult[Any]:
        """A trained network: best checkpoint, history, MLflow run and registered version.

        Training is its own process. A run that was killed continues from its last finished epoch, under the
        same MLflow run. Behind a leaking `patient` split it does not start at all.
        """
        name, protocol = split_grid_key(context)
        recipe = raw_store.catalog.recipes[name]
        gate = judge(recipe, pass_gate(lake, protocol))
        specs = specify_all(recipe, protocol, lake, raw_store, trainer)
        require_weights_of(specs)
        shown: dict[str, Any] = {}
        with tracking.connected() as mlflow:
            for spec in specs:
                shown |= train_one(context, spec, gate, trainer, mlflow, lake)
        return dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(name_models(specs)))

    return model


def train_one(
    context: dg.AssetExecutionContext,
    spec: TrainingSpec,
    gate: str,
    trainer: Trainer,
    mlflow: "Connection",
    lake: Lake,
) -> dict[str, Any]:
    """Train one seed to its end, log and register it; returns metadata. Done already, it only looks."""
    work = Path(spec.work)
    write_text(work / "spec.json", spec.model_dump_json(indent=2))
    with mlflow.run(
        run_key(spec),
        f"{spec.recipe.name} · {spec.protocol} · seed {spec.seed}",
        params=describe_params(spec),
        tags=describe_tags(context, spec, gate),
        description=describe_run(spec, gate),
    ) as run:
        if run.resumed and not run.finished:
            context.log.info(f"continuing MLflow run {run.run_id}")
        if not (is_trained(spec) and is_fitted(spec)):
            trainer.run(context, "train", work / "spec.json", tracking_uri=mlflow.uri, run_id=run.run_id)
        result = read_result(work)
        if not run.finished:
            log_training(mlflow, run.run_id, spec, result, lake)
        version = register(mlflow, run.run_id, spec, result, gate)
    return describe_result(spec, result, gate) | {
        "MLflow run": dg.MetadataValue.url(mlflow.run_url(run.run_id)),
        "registered model": dg.MetadataValue.url(
            mlflow.model_url(registered_name(spec.recipe.name, spec.protocol), version)
        ),
    }


def describe_params(spec: TrainingSpec) -> Mapping[str, str]:
    """The recipe as MLflow params, `group/key`."""
    from pipeline.training.spec import flatten

    fields = flatten(spec.recipe.model_dump(mode="json", exclude=set(PROSE) | {"name"}))
    shown = {key.replace(".", "/"): str(value) for key, value in fields.items()}
    return shown | {"protocol": spec.protocol, "seed": str(spec.seed)}


def describe_tags(context: dg.AssetExecutionContext, spec: TrainingSpec, gate: str) -> Mapping[str, str]:
    """Tags to filter runs by, and the way back to Dagster."""
    return {
        "recipe": spec.recipe.name,
        "protocol": spec.protocol,
        "seed": str(spec.seed),
        "gate": gate,
        "model_id": spec.model_id,
        "data_digest": spec.data_digest[:32],
        "dagster.run_id": context.run.run_id,
        "dagster.asset": context.asset_key.to_user_string(),
    }


def describe_run(spec: TrainingSpec, gate: str) -> str:
    """The text at the head of the run's page in MLflow."""
    claim = "A control: it must score chance." if spec.recipe.is_control else _claim(spec.protocol)
    return (
        f"**{spec.recipe.title}** under `{spec.protocol}`, seed {spec.seed}. {claim}\n\n"
        f"Gate: {gate}.\n\n{SCOPE}"
    )


def _claim(protocol: str) -> str:
    return (
        "No picture and no patient crosses this split: its score is one to stand behind."
        if protocol == "patient"
        else "Copies and patients cross this split; read its score beside the one under `patient`."
    )


def log_training(
    mlflow: "Connection", run_id: str, spec: TrainingSpec, result: TrainingResult, lake: Lake
) -> None:
    """The data, the recipe, the history and its figure, as parts of the MLflow run."""
    import json

    from pipeline.evaluation.canvas import png
    from pipeline.evaluation.curves import history_figure

    work = Path(spec.work)
    history = [json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()]
    title = f"{spec.recipe.name}, {spec.protocol}, seed {spec.seed}"
    counted = f"{result.n_train:,} training and {result.n_val:,} validation images, {spec.protocol} split"
    figure = history_figure(history, title=title, subtitle=counted, best_epoch=result.best_epoch)
    mlflow.log_data(
        run_id,
        select_rows(lake.read(split_table(spec.protocol)), spec.recipe, spec.protocol),
        name=spec.protocol,
        digest=spec.data_digest[:32],
        source=f"lake/{split_table(spec.protocol)}.parquet",
    )
    mlflow.log_files(
        run_id,
        {
            "recipe.json": spec.recipe.model_dump_json(indent=2),
            "history.jsonl": work / "history.jsonl",
            "result.json": work / "result.json",
            "figures/training.png": png(figure),
        },
    )


def register(mlflow: "Connection", run_id: str, spec: TrainingSpec, result: TrainingResult, gate: str) -> str:
    """Package the best checkpoint and register it once; the same model again gives the same version."""
    from pipeline.serving.package import write_package

    work = Path(spec.work)
    card = write_package(work / "package", work, spec.recipe, write_model_card(spec, result, gate))
    return mlflow.register(run_id, work / "package", card)


def write_model_card(spec: TrainingSpec, result: TrainingResult, gate: str) -> "ModelCard":
    """The contract of a trained model, before it is packaged."""
    from pipeline.serving.card import write_card

    return write_card(
        spec.recipe,
        protocol=spec.protocol,
        seed=spec.seed,
        model_id=spec.model_id,
        data_digest=spec.data_digest[:32],
        gate=gate,
        val=result.val,
    )


def describe_result(spec: TrainingSpec, result: TrainingResult, gate: str) -> dict[str, Any]:
    """Metadata of a trained model; numbers as bare floats, so that Dagster plots them across partitions."""
    import json

    from pipeline.evaluation.canvas import sparkline_svg

    lines = (Path(spec.work) / "history.jsonl").read_text().splitlines()
    curve = sparkline_svg([json.loads(line)["val_macro_f1"] for line in lines])
    reasons = "\n".join(f"- {name}: {why}" for name, why in result.why.items())
    return {
        "val macro-F1": float(result.val["macro_f1"]),
        "val accuracy": float(result.val["accuracy"]),
        "val loss": float(result.val["loss"]),
        "best epoch": result.best_epoch,
        "epochs": result.epochs,
        "parameters": result.parameters,
        "training images": result.n_train,
        "validation images": result.n_val,
        "gate": gate,
        "model id": spec.model_id,
        "device": f"{result.device}, {result.precision}",
        "why": dg.MetadataValue.md(reasons),
        "val macro-F1 by epoch": inline_svg(curve, "val macro-F1 by epoch"),
        "work folder": dg.MetadataValue.path(spec.work),
    }


def inline_svg(svg: str, caption: str) -> dg.MarkdownMetadataValue:
    """An SVG of a few hundred characters, small enough that Dagster shows it without a click."""
    from urllib.parse import quote

    return dg.MetadataValue.md(f"![{caption}](data:image/svg+xml,{quote(svg)})")
