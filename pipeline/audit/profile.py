"""How the images of each collection and class look: sizes, modes, brightness."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Look
from pipeline.labels import LABELS

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
MOST = 6


def join_looks(evidence: Evidence) -> pd.DataFrame:
    """One row a collection × image: label as its file there says, file columns, looks; sorted.

    The file is the image's first in that collection. Columns: image_id, collection, label, width, height,
    bytes, mode, format, brightness, contrast, colour, dark, border, jpeg.
    """
    members = evidence.members.drop_duplicates(["collection", "image_id"])[
        ["collection", "path", "image_id", "label"]
    ]
    stored = evidence.files[["collection", "path", "bytes", "width", "height", "mode", "format"]]
    joined = members.merge(stored, on=["collection", "path"]).merge(evidence.looks, on="image_id")
    return joined.sort_values(["collection", "image_id"], ignore_index=True)


def measure_looks(evidence: Evidence) -> list[Look]:
    """Sizes, modes, JPEG tables and brightness by collection and class; empty cells are left out."""
    joined = join_looks(evidence)
    found = []
    for name in evidence.names:
        for label in LABELS:
            own = joined[(joined["collection"] == name) & (joined["label"] == label)]
            if len(own):
                found.append(_describe(name, label, own))
    return found


def _describe(name: str, label: str, own: pd.DataFrame) -> Look:
    sizes = (f"{int(w)}×{int(h)}" for w, h in zip(own["width"], own["height"], strict=True))
    modes = (f"{kind} {mode}" for kind, mode in zip(own["format"], own["mode"], strict=True))
    tables = ("no JPEG" if pd.isna(value) else str(int(value)) for value in own["jpeg"])
    return Look(
        collection=name,
        label=label,
        images=len(own),
        sizes=_most_frequent(sizes),
        modes=_most_frequent(modes),
        jpeg=_most_frequent(tables),
        brightness=_quantiles(own["brightness"].to_numpy(float)),
        contrast=_quantiles(own["contrast"].to_numpy(float)),
        border=_quantiles(own["border"].to_numpy(float)),
    )


def _most_frequent(values: Iterable[str]) -> dict[str, int]:
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in counts[MOST:])
    return dict(counts[:MOST]) | ({"other": rest} if rest else {})


def _quantiles(values: Sequence[float] | np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(values, QUANTILES)]
