"""A home with one answered recipe and its reports, without a training."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd

from assets.evidence import DRAWS
from assets.partitions import grid_key, training_grid
from assets.report_sources import recount, score_exams
from assets.reports import model_report_asset, release_report
from assets.trainings import select_rows, specify_all
from pipeline.evaluation.evidence import weigh_evidence
from pipeline.evaluation.metrics import score_predictions
from pipeline.labels import LABELS
from pipeline.schemas import TABLES
from pipeline.serving.card import write_card
from resources.lake import Lake
from resources.raw import RawStore
from resources.trainer import Trainer

RECIPE = "resnet18d"
RESULT = {
    "recipe": RECIPE, "seed": 0, "identity": "i", "best_epoch": 2, "epochs": 3, "monitor": "val_macro_f1",
    "monitor_value": 0.5, "val": {"loss": 0.5, "accuracy": 0.5, "macro_f1": 0.5}, "parameters": 12345,
    "trainable_parameters": 12345, "n_train": 20, "n_val": 8, "device": "cpu", "precision": "fp32", "why": {},
    "seconds": 1.0,
}  # fmt: skip


class Shelf:
    """Stands in for MLflow: remembers which files went to which run."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, object]] = {}

    def find_run(self, name: str, model_id: str) -> str:
        return name

    def log_files(self, run_id: str, files: dict[str, object]) -> None:
        self.files.setdefault(run_id, {}).update(files)

    def file_url(self, run_id: str, path: str) -> str:
        return f"http://127.0.0.1:5000/#/{run_id}/{path}"


def answer(rows: pd.DataFrame, spec, *, draw: int, variants: tuple[str, ...] = ("clean",)) -> pd.DataFrame:
    """Made-up answers to rows of a split; three of four are right."""
    frames = []
    for number, variant in enumerate(variants):
        frame = rows[["image_id", "collection", "path", "label", "group_id"]].reset_index(drop=True)
        random = np.random.default_rng([draw, number])
        scores = random.dirichlet(np.ones(4), len(frame)) * 0.5
        called = [LABELS.index(label) if at % 4 else 3 for at, label in enumerate(frame["label"])]
        scores[np.arange(len(frame)), called] += 0.5
        named = {"model_id": spec.model_id, "recipe": RECIPE, "protocol": spec.protocol, "seed": spec.seed}
        frame = frame.assign(variant=variant, **named)
        frames.append(frame.assign(**{f"p_{label}": scores[:, code] for code, label in enumerate(LABELS)}))
    return pd.concat(frames, ignore_index=True)


def fill(lake: Lake, store: RawStore, protocol: str) -> None:
    """Answers, figures and training files of the recipe under a protocol."""
    recipe = store.catalog.recipes[RECIPE]
    [spec] = specify_all(recipe, protocol, lake, store, Trainer())
    split = select_rows(lake.read(f"splits/{protocol}"), recipe, protocol).merge(
        lake.read("groups"), on="image_id"
    )
    variants = ("clean", "jpeg:1", "jpeg:2") if protocol == "patient" else ("clean",)
    tested = answer(split[split["split"] == "test"], spec, draw=1, variants=variants)
    val = answer(split[split["split"] == "val"], spec, draw=2)
    place = f"{protocol}/{RECIPE}"
    for table, frame in (
        ("predictions", tested),
        ("validations", val),
        ("metrics", score_predictions(tested, draws=DRAWS)),
        ("evidence", weigh_evidence(tested, val, draws=DRAWS)),
    ):
        lake.write(f"{table}/{place}", frame, inputs="i", code="c")
    from assets.gate import pass_gate

    card = write_card(
        recipe, protocol=protocol, seed=0, model_id=spec.model_id, data_digest=spec.data_digest[:32],
        gate=pass_gate(lake, protocol), val={"macro_f1": 0.5},
    )  # fmt: skip
    work = Path(spec.work)
    (work / "package").mkdir(parents=True)
    (work / "package" / "card.json").write_text(card.model_dump_json())
    (work / "package" / "recipe.json").write_text(recipe.model_dump_json())
    (work / "result.json").write_text(json.dumps(RESULT | {"model_id": spec.model_id, "protocol": protocol}))
    rows = [{"epoch": k, "train_loss": 1 / k, "val_loss": 1.1 / k, "val_macro_f1": k / 4} for k in (1, 2, 3)]
    (work / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def release(lake: Lake, store: RawStore) -> None:
    """The tables over all recipes."""
    tables = zip(("leaderboard", "comparisons", "robustness"), recount(lake, store), strict=False)
    for name, frame in tables:
        lake.write(name, frame, inputs="i", code="c")
    model = lake.read(f"predictions/patient/{RECIPE}")["model_id"].iloc[0]
    sat = lake.read(f"validations/patient/{RECIPE}").assign(part="settled")
    lake.write("exams", sat[TABLES["exams"].names], inputs="i", code="c")
    scores = score_exams(lake).set_index(["metric", "class"])["value"]
    why = "keeps every clause; the first champion"
    candidate = (model, RECIPE, 0, scores["macro_f1", "all"], "passed", True, True, why)
    chosen = pd.DataFrame([candidate], columns=TABLES["release"].names)
    lake.write("release", chosen, inputs="i", code="c")


def report(lake: Lake, store: RawStore, shelf: Shelf, protocols=("published", "patient")) -> list:
    """Materialise the reports; their materialisations."""

    @contextmanager
    def connected():
        yield shelf

    tracking = dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(connected=connected))
    resources = {"lake": lake, "raw_store": store, "tracking": tracking}
    asset, made = model_report_asset(training_grid(store.catalog)), []
    for protocol in protocols:
        done = dg.materialize([asset], partition_key=grid_key(RECIPE, protocol), resources=resources)
        made += done.asset_materializations_for_node("model_report")
    done = dg.materialize([release_report], resources=resources)
    return made + done.asset_materializations_for_node("release_report")
