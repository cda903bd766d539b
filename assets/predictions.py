"""Group `evaluation`, first half: what each model says of its val and test images."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.materials import OWNER, code_version, result_of, table_metadata
from assets.partitions import split_grid_key
from assets.trainings import read_result, select_rows, specify_all
from assets.variants import SIZE as VARIANTS_SIZE
from pipeline.atomic import write_text
from pipeline.digests import digest_json
from pipeline.protocols import protocol_path, split_table
from resources.instance import POOL
from resources.lake import Lake
from resources.ledgers import append_row
from resources.raw import RawStore
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.training.spec import TrainingSpec

GROUP = "evaluation"
CODE = code_version(
    *(
        "schemas/evaluation.py",
        "training/prediction.py",
        "training/inference.py",
        "training/models.py",
        "imaging",
    )
)
TABLES = {
    "validations": "Probabilities for every clean val image: what a temperature and a conformal threshold "
    "are fitted on. No score is counted on it.",
    "predictions": "Probabilities for every test image; under `patient` for its degraded variants too. The "
    "only place that opens the test part; under `patient` each opening is a row in the ledger.",
}
"""In the order in which they are stored: the test part last."""


def predictions_asset(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """`validations` and `predictions`, one partition a recipe and protocol: one process answers both."""
    deps = {"validations": ["model", "groups"], "predictions": ["model", "variants", "groups"]}
    specs = [
        dg.AssetSpec(
            name,
            deps=deps[name],
            group_name=GROUP,
            code_version=CODE,
            owners=[OWNER],
            kinds={"python", "pandas", "parquet"},
            tags={"falx/table": name},
            description=description,
            metadata=table_metadata(name),
        )
        for name, description in TABLES.items()
    ]

    @dg.multi_asset(name="predictions", specs=specs, partitions_def=grid, pool=POOL)
    def predictions(
        context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore, trainer: Trainer
    ) -> Any:
        name, protocol = split_grid_key(context)
        recipe = raw_store.catalog.recipes[name]
        specs = specify_all(recipe, protocol, lake, raw_store, trainer)
        inputs = [split_table(protocol), "groups", *(["variants"] if protocol == "patient" else [])]
        digest = lake.digest_inputs(inputs, {"models": [spec.model_id for spec in specs]})
        places = {table: f"{table}/{protocol_path(protocol)}/{name}" for table in TABLES}
        if not all(lake.is_current(place, inputs=digest, code=CODE) for place in places.values()):
            found = [predict_one(context, spec, lake, trainer) for spec in specs]
            store(lake, places, found, digest)
        for table, place in places.items():
            manifest, frame = lake.manifest(place), lake.read(place)
            assert manifest is not None
            result = result_of(manifest, frame, variants=int(frame["variant"].nunique()))
            yield result._replace(asset_key=dg.AssetKey(table))

    return predictions


def store(lake: Lake, places: dict[str, str], found: "list[dict[str, pd.DataFrame]]", digest: str) -> None:
    """Write both tables, all seeds in each."""
    import pandas as pd

    for table, place in places.items():
        frame = pd.concat([answers[table] for answers in found], ignore_index=True)
        lake.write(place, frame, inputs=digest, code=CODE)


def predict_one(
    context: dg.AssetExecutionContext,
    spec: "TrainingSpec",
    lake: Lake,
    trainer: Trainer,
) -> "dict[str, pd.DataFrame]":
    """Predict val and test part with one seed's model, in a process of its own; a frame a table."""
    import pyarrow.parquet as pq

    from pipeline.tables import from_arrow
    from pipeline.training.prediction import PredictionSpec

    work = Path(spec.work)
    outputs = {table: work / f"{table}.parquet" for table in TABLES}
    prediction = PredictionSpec(
        recipe=spec.recipe,
        protocol=spec.protocol,
        seed=spec.seed,
        model_id=spec.model_id,
        split=spec.split,
        groups=str(lake.path("groups")),
        variants=str(lake.path("variants")) if spec.protocol == "patient" else "",
        variants_size=VARIANTS_SIZE,
        folders=spec.folders,
        cache=spec.cache,
        work=spec.work,
        validations=str(outputs["validations"]),
        output=str(outputs["predictions"]),
        device=read_result(work).device,
        threads=spec.threads,
        workers=spec.workers,
    )
    write_text(work / "prediction.json", prediction.model_dump_json(indent=2))
    if spec.protocol == "patient":
        record_opening(spec, lake)
    trainer.run(context, "predict", work / "prediction.json")
    return {table: from_arrow(table, pq.read_table(path)) for table, path in outputs.items()}


def record_opening(spec: "TrainingSpec", lake: Lake, *, why: str = "evaluation") -> None:
    """Add to the ledger that the test part of `patient` is opened: when, by which model, on which images.

    Before the images are read, so that a crash leaves a row too many and never one too few.
    """
    rows = select_rows(lake.read(split_table(spec.protocol)), spec.recipe, spec.protocol)
    append_row(
        lake,
        "openings",
        {
            "opened_at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "model_id": spec.model_id,
            "recipe": spec.recipe.name,
            "protocol": spec.protocol,
            "seed": spec.seed,
            "images": digest_json(sorted(rows.loc[rows["split"] == "test", "image_id"]))[:16],
            "why": why,
        },
    )
