"""What goes into a run, in MLflow's terms: names of figures, params as text, parts of a split as datasets."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrackingError
from pipeline.labels import LABELS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Dataset, Run

MAX_PARAM = 6000  # MLflow cuts longer values without a word
INTERVALS = ("macro_f1",)  # metrics whose interval is worth a figure of its own


def name_scores(metrics: "pd.DataFrame") -> dict[tuple[str, int], float]:
    """Metrics table -> (name in MLflow, step) -> value; figures that are not defined are left out."""
    named: dict[tuple[str, int], float] = {}
    rows = metrics[["metric", "class", "variant", "value", "low", "high"]]
    for metric, label, variant, value, low, high in rows.itertuples(index=False, name=None):
        degradation, _, severity = variant.partition(":")
        leaf = metric if label == "all" else f"{metric}/{label}"
        if variant != "clean":
            named[f"test_degraded/{degradation}/{leaf}", int(severity)] = value
            continue
        named[f"test/{leaf}", 0] = value
        if metric in INTERVALS and label == "all":
            named |= {(f"test/{leaf}_low", 0): low, (f"test/{leaf}_high", 0): high}
    return {place: float(value) for place, value in named.items() if not _is_undefined(value)}


def is_clean(name: str) -> bool:
    """Whether a figure's name is that of one on clean test images."""
    return name.startswith("test/")


def find_test_data(run: "Run") -> dict[str, str]:
    """The run's test dataset as the fields that tie a figure to it; empty where none was logged."""
    for entry in run.inputs.dataset_inputs if run.inputs else []:
        if any(tag.key == "mlflow.data.context" and tag.value == "test" for tag in entry.tags):
            return {"dataset_name": entry.dataset.name, "dataset_digest": entry.dataset.digest}
    return {}


def check_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Params as text.

    Raises:
        TrackingError: a value is longer than MLflow keeps.
    """
    texts = {name: _write_param(value) for name, value in params.items()}
    long = sorted(name for name, text in texts.items() if len(text) > MAX_PARAM)
    if long:
        raise TrackingError(
            f"params {', '.join(long)} are longer than the {MAX_PARAM} characters that MLflow keeps; "
            "log them as a file instead"
        )
    return texts


def _is_undefined(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _write_param(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def describe_part(part: "pd.DataFrame", name: str, digest: str, source: str) -> "Dataset":
    """One part of a split table as a dataset: its columns, its number of images of each label."""
    from mlflow.entities import Dataset

    columns = [{"name": str(column), "type": "string", "required": False} for column in part.columns]
    counts = part["label"].value_counts().to_dict() if "label" in part.columns else {}
    profile = {"num_rows": len(part), "num_elements": int(part.size)}
    profile |= {label: int(counts.get(label, 0)) for label in LABELS}
    return Dataset(
        name,
        digest,
        source_type="local",
        source=json.dumps({"uri": source or name}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )
