"""Sitting the exam: packaged models answer val images, clean and degraded, in a process of their own.

What is weighed is what would be served: the files of the package, with the temperature of its card. The
specification names val images one by one; nothing in it leads to the test part.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from pipeline.atomic import replacing_file, write_text
from pipeline.catalog import Degradation
from pipeline.digests import seed_for
from pipeline.errors import FalxError
from pipeline.evaluation.calibration import soften
from pipeline.evaluation.predictions import CLEAN
from pipeline.imaging.cache import open_cache
from pipeline.imaging.decode import resize_grey
from pipeline.imaging.variants import render_variants
from pipeline.labels import LABELS
from pipeline.recipe import Recipe, Strict
from pipeline.release.exam import SETTLED
from pipeline.tables import find_table, to_arrow

SIZE = 224  # side of the images that are degraded, pixels: as in the table `variants`

Pixels = NDArray[np.uint8]


class Sitter(Strict):
    """A model that sits the exam."""

    model_id: str
    recipe: str = Field(description="recipe name in the catalog")
    seed: int = Field(ge=0)
    package: str = Field(description="folder that `write_package` wrote")


class ExamRow(Strict):
    """One val image of the exam."""

    image_id: str
    collection: str
    path: str
    label: str
    group_id: str
    part: str = Field(description="settled or newcomer")


class ExamSpec(Strict):
    """Everything that the process needs to know; it travels as JSON."""

    sitters: tuple[Sitter, ...]
    rows: tuple[ExamRow, ...] = Field(description="val images")
    degradations: tuple[Degradation, ...]
    severity: int = Field(ge=1, le=5)
    images_a_label: int = Field(ge=1, description="degraded images of each label, at most")
    folders: dict[str, str] = Field(description="collection -> its raw folder")
    cache: str = Field(description="folder of the decoded images")
    output: str = Field(description="path of the table `exams`, a Parquet file, written last and whole")
    contracts: str = Field(
        description="path of a JSON file: model_id -> what breaks its contract, or nothing"
    )
    device: str = "cpu"
    threads: int = Field(1, ge=1, description="CPU threads; another number gives other last bits")
    workers: int = Field(1, ge=1, description="threads that decode images; changes no result")


def sit_exam(spec: ExamSpec) -> dict[str, str]:
    """Let every model answer every image, clean, and some of the settled ones degraded.

    A model whose package breaks its contract answers nothing. Deterministic for one machine, number of
    threads and torch. Degraded are, of each label, the settled images that come first by a digest of their
    id.

    Returns:
        model_id -> what breaks its contract; empty where nothing does.

    Raises:
        SourceError: a raw file is gone or changed.
    """
    import pyarrow.parquet as pq
    import torch

    torch.set_num_threads(spec.threads)
    rows = pd.DataFrame([row.model_dump() for row in spec.rows])
    degraded = _choose_degraded(rows, spec.images_a_label)
    planes = _degrade(spec, degraded)
    frames, contracts = [], {}
    for sitter in spec.sitters:
        contracts[sitter.model_id] = _find_breach(Path(sitter.package))
        if not contracts[sitter.model_id]:
            frames += _answer(spec, sitter, rows, degraded, planes)
    empty = pd.DataFrame(columns=find_table("exams").names)
    table = to_arrow("exams", pd.concat(frames, ignore_index=True) if frames else empty)
    write_text(Path(spec.contracts), json.dumps(contracts, indent=2, sort_keys=True) + "\n")
    with replacing_file(Path(spec.output)) as temporary:
        pq.write_table(table, temporary)
    return contracts


def _find_breach(package: Path) -> str:
    """What a package does against its contract, in the words of the error; empty where it keeps it."""
    from pipeline.serving.predictor import check_package

    try:
        check_package(package)
    except FalxError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _choose_degraded(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    settled = rows[rows["part"] == SETTLED]
    order = settled["image_id"].map(lambda image_id: seed_for("exam", image_id))
    return settled[order.groupby(settled["label"]).rank(method="first") <= limit]


def _degrade(spec: ExamSpec, rows: pd.DataFrame) -> dict[str, Pixels]:
    """Variant -> uint8 [n, SIZE, SIZE], drawn as the test variants are, by other seeds."""
    if rows.empty:
        return {}
    cache = open_cache(rows, _folders(spec), size=SIZE, root=Path(spec.cache), workers=spec.workers)
    found = {}
    for kind in spec.degradations:
        image_ids = rows["image_id"].tolist()
        seeds = [seed_for("exam", image_id, kind.name, spec.severity) for image_id in image_ids]
        value = kind.severities[spec.severity - 1]
        found[f"{kind.name}:{spec.severity}"] = render_variants(image_ids, cache, kind.name, value, seeds)
    return found


def _answer(
    spec: ExamSpec, sitter: Sitter, rows: pd.DataFrame, degraded: pd.DataFrame, planes: Mapping[str, Pixels]
) -> list[pd.DataFrame]:
    """The rows of table `exams` of one model: clean, then each degradation."""
    from pipeline.serving.card import read_card
    from pipeline.serving.package import CARD, RECIPE
    from pipeline.training.inference import load_model, predict

    package = Path(sitter.package)
    recipe = Recipe.model_validate_json((package / RECIPE).read_bytes())
    temperature = read_card(package / CARD).temperature or 1.0
    model = load_model(package, recipe).to(spec.device)
    size = recipe.input.size
    cache = open_cache(rows, _folders(spec), size=size, root=Path(spec.cache), workers=spec.workers)
    asked = [(CLEAN, rows, cache.read(rows["image_id"].tolist()))]
    for variant, pictures in planes.items():
        asked.append((variant, degraded, np.stack([resize_grey(plane, size) for plane in pictures])))
    return [
        _tabulate(
            sitter, part, variant, soften(predict(model, pixels, recipe, device=spec.device), temperature)
        )
        for variant, part, pixels in asked
    ]


def _tabulate(sitter: Sitter, rows: pd.DataFrame, variant: str, scores: np.ndarray) -> pd.DataFrame:
    probabilities = {f"p_{label}": scores[:, index] for index, label in enumerate(LABELS)}
    named = rows.assign(
        model_id=sitter.model_id, recipe=sitter.recipe, seed=sitter.seed, protocol="patient", variant=variant
    )
    return named.assign(**probabilities)


def _folders(spec: ExamSpec) -> dict[str, Path]:
    return {name: Path(folder) for name, folder in spec.folders.items()}
