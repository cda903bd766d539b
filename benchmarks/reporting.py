"""What telling costs: Dagster and MLflow as a share of a training, and seconds from `materialize` to a step.

    python -m benchmarks.reporting [--recipe slim64] [--images 1000] [--epochs 4]

Pictures are drawn, and an asset is materialised that trains the recipe on them through the trainer, in its
own process, under Dagster Pipes and with a real MLflow server on loopback. The payload itself measures the
time that it spends on telling; the start is the time from the call of `materialize` to the line that comes
right before the first step, pixels decoded and model built. The last line is JSON.
"""

import argparse
import hashlib
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.augment import draw_pictures
from pipeline.catalog import load_catalog
from pipeline.labels import LABELS
from pipeline.tables import to_arrow
from pipeline.training.spec import TrainingSpec
from resources.tracking import Tracking
from resources.trainer import Trainer

TOLD = re.compile(r"reporting took ([\d.]+) s of ([\d.]+) s")


def main() -> None:
    options = parse_options()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        spec = write_spec(folder, options)
        tracking = Tracking(home=str(folder / "home"))
        tracking.setup_for_execution(dg.build_init_resource_context())
        try:
            with (
                tracking.connected() as mlflow,
                dg.DagsterInstance.ephemeral() as instance,
                mlflow.run("benchmark", "benchmark") as run,
            ):
                report = materialise(spec, mlflow.uri, run.run_id, instance)
        finally:
            tracking.teardown_after_execution(dg.build_init_resource_context())
    report |= {"images": options.images, "epochs": options.epochs, "recipe": options.recipe}
    for name, value in report.items():
        print(f"{name:28} {value:>12}")
    print(json.dumps(report))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="slim64", help="a name in catalog/recipes")
    parser.add_argument(
        "--images", type=int, default=1000, help="pictures to train on; as many again in val / 4"
    )
    parser.add_argument("--epochs", type=int, default=4)
    return parser.parse_args()


def materialise(spec: Path, uri: str, run_id: str, instance: dg.DagsterInstance) -> dict[str, float]:
    """Train once under Dagster; seconds to the first step, and the share that telling took."""

    @dg.asset
    def model(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult[Any]:
        trainer.run(context, "train", spec, tracking_uri=uri, run_id=run_id)
        return dg.MaterializeResult()

    begun = time.time()
    done = dg.materialize([model], resources={"trainer": Trainer()}, instance=instance)
    log = [(entry.timestamp, entry.user_message) for entry in instance.all_logs(done.run_id)]
    first = next(when for when, said in log if said.startswith("recipe: "))
    told, spent = next(found.groups() for _, said in log if (found := TOLD.search(said)))
    return {
        "seconds_to_first_step": round(first - begun, 2),
        "reporting_seconds": float(told),
        "training_seconds": float(spent),
        "reporting_percent": round(100 * float(told) / float(spent), 2),
    }


def write_spec(folder: Path, options: argparse.Namespace) -> Path:
    """Pictures, their split table, and the training's JSON file."""
    raw = draw_pictures(folder / "raw", options.images * 5 // 4)
    files = sorted(path for path in raw.rglob("*.jpg"))
    labels = np.array(LABELS)[np.arange(len(files)) % len(LABELS)]
    rows = [
        {
            "image_id": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "collection": "masoudnickparvar",
            "path": path.relative_to(raw).as_posix(),
            "label": label,
            "split": "train" if number < options.images else "val",
            "why": "benchmark",
            "picture_id": None,
            "copy_rank": None,
        }
        for number, (path, label) in enumerate(zip(files, labels, strict=True))
    ]
    pq.write_table(to_arrow("splits", pd.DataFrame(rows)), folder / "split.parquet")
    recipe = load_catalog().recipes[options.recipe]
    stopping = recipe.stopping.model_copy(update={"epochs": options.epochs})
    spec = TrainingSpec(
        recipe=recipe.model_copy(update={"stopping": stopping}),
        protocol="stratified",
        seed=0,
        split=str(folder / "split.parquet"),
        folders={"masoudnickparvar": str(raw)},
        cache=str(folder / "cache"),
        work=str(folder / "work"),
        device="auto",
        degradations=load_catalog().degradations,
        data_digest="benchmark",
        model_id="benchmark",
    )
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    return path


if __name__ == "__main__":
    main()
