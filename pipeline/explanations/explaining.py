"""One model's heat on the boxed tumour images of its test part: table `heats`, and contact sheets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.atomic import replacing_file
from pipeline.digests import seed_for
from pipeline.errors import ExplanationError
from pipeline.evaluation.predictions import read_answers, take_variant
from pipeline.explanations.contact_sheets import Case, draw_cases
from pipeline.explanations.heat import METHODS, draw_heat
from pipeline.explanations.pointing import Pointing, draw_blob, find_wrong_reasons, measure_pointing
from pipeline.imaging.cache import open_cache
from pipeline.labels import LABELS, TUMOURS
from pipeline.recipe import Recipe, Strict
from pipeline.schemas import TABLES
from pipeline.tables import from_arrow, to_arrow
from pipeline.training.inference import load_model, prepare_images
from pipeline.training.models import Network, build_model

BATCH = 16
SHOWN = 8
DRAWS = 5
"""Sets of random weights: one alone can point at the tumour by luck, in every image alike."""
VERDICTS = {
    "right": "right answers",
    "wrong": "wrong answers",
    "wrong_reason": "right for the wrong reason",
}
BOX = ["box_x", "box_y", "box_w", "box_h"]


class ExplanationSpec(Strict):
    """Everything that an explaining process needs to know; it travels as JSON."""

    recipe: Recipe
    model_id: str
    predictions: str = Field(description="path of the `predictions` table, a Parquet file")
    patients: str = Field(description="path of the `patients` table, a Parquet file")
    folders: dict[str, str] = Field(description="collection -> its raw folder")
    cache: str = Field(description="folder of the decoded images")
    work: str = Field(description="folder of the training, which holds best.safetensors")
    limit: int = Field(description="images at most, those with the smallest image_id", ge=1)
    output: str = Field(description="path of the Parquet file of table `heats`, written last and whole")
    sheets: str = Field(description="folder of the contact sheets, PNG files")
    device: str = Field("cpu", description="cpu, cuda, …, as the training chose")
    threads: int = Field(1, ge=1, description="CPU threads; another number gives other last bits")
    workers: int = Field(1, ge=1, description="threads that decode images; changes no result")


@dataclass(frozen=True)
class Subjects:
    """The images that are explained, as arrays of n."""

    rows: pd.DataFrame
    """image_id, collection, path, label, called, probability, group_id and the box."""
    pixels: NDArray[np.uint8]
    """[n, s, s], as the network gets them before they are brought to scale."""
    boxes: NDArray[np.float64]
    """[n, 4]."""

    def encode(self, column: str) -> NDArray[np.int64]:
        """`label` or `called` as indices into LABELS, [n]."""
        return pd.Index(LABELS).get_indexer(pd.Index(self.rows[column])).astype(np.int64)


def explain_split(spec: ExplanationSpec) -> dict[str, int]:
    """Draw and measure the heat of every method, network and baseline, and lay out the contact sheets.

    Measured is the heat of the true class, as in the pointing game; shown is that of the class answered.
    Random weights are drawn `DRAWS` times, from the training's seed, and their figures averaged.
    Deterministic for one machine, number of threads and torch. Every file is written whole or not at all, the
    table last.

    Returns:
        Images explained, and of these how many got each verdict, by Grad-CAM.

    Raises:
        ExplanationError: no tumour image of the test part has a box, or heat cannot be drawn.
        CheckpointError: there are no weights in `spec.work`.
    """
    torch.set_num_threads(spec.threads)
    subjects = _gather(spec, select_subjects(spec))
    trained = load_model(spec.work, spec.recipe).to(spec.device)
    measured = {(method, "trained"): _measure(trained, subjects, spec, method) for method in METHODS}
    measured |= _measure_random(subjects, spec)
    size, side = len(subjects.rows), spec.recipe.input.size
    blobs = np.broadcast_to(draw_blob(side), (size, side, side))
    measured["none", "centre_blob"] = _join(
        [measure_pointing(blobs[part], subjects.boxes[part]) for part in _split(size)]
    )
    right = (subjects.rows["label"] == subjects.rows["called"]).to_numpy()
    reasons = find_wrong_reasons(right, measured["grad_cam", "trained"])
    verdicts = np.where(reasons, "wrong_reason", np.where(right, "right", "wrong"))
    _draw_sheets(spec, trained, subjects, measured, verdicts)
    _write(spec, subjects, measured, verdicts)
    return {"images": size, **{name: int((verdicts == name).sum()) for name in VERDICTS}}


def select_subjects(spec: ExplanationSpec) -> pd.DataFrame:
    """The tumour images of the clean test part that have a box, one row each, at most `limit`.

    Where there are more, those with the smallest image_id are taken: a digest, so a choice at random that
    is the same every time. An image of several files counts once, under its first file.

    Raises:
        ExplanationError: there is none.
    """
    predictions = from_arrow("predictions", pq.read_table(spec.predictions))
    answers = take_variant(predictions[predictions["model_id"] == spec.model_id])
    answers = answers.sort_values(["collection", "path"], ignore_index=True)
    said = read_answers(answers)
    called = np.array(LABELS)[said.predicted]
    rows = answers.assign(called=called, probability=said.scores.max(axis=1))
    rows = rows[rows["label"].isin(TUMOURS)].drop_duplicates("image_id")
    boxes = from_arrow("patients", pq.read_table(spec.patients))[["image_id", *BOX]].dropna()
    boxed = rows.merge(boxes, on="image_id", validate="one_to_one").sort_values("image_id")
    if boxed.empty:
        raise ExplanationError(
            f"none of the {len(rows)} tumour images in the test part of {spec.recipe.name!r} has a box in "
            "`patients`: boxes come from the reference, cheng_figshare. Bring it in, and materialise again"
        )
    wanted = ["image_id", "collection", "path", "label", "called", "probability", "group_id", *BOX]
    constant = {name: answers[name].iloc[0] for name in ("recipe", "protocol", "seed")}
    chosen: pd.DataFrame = boxed[wanted].head(spec.limit).reset_index(drop=True).assign(**constant)
    return chosen


def _gather(spec: ExplanationSpec, rows: pd.DataFrame) -> Subjects:
    folders = {name: Path(folder) for name, folder in spec.folders.items()}
    size, root = spec.recipe.input.size, Path(spec.cache)
    cache = open_cache(rows, folders, size=size, root=root, workers=spec.workers)
    return Subjects(rows, cache.read(list(rows["image_id"])), rows[BOX].to_numpy(np.float64))


def _measure(network: Network, subjects: Subjects, spec: ExplanationSpec, method: str) -> Pointing:
    labels = subjects.encode("label")
    return _join(
        [
            measure_pointing(
                _draw(network, subjects.pixels[part], labels[part], spec, method), subjects.boxes[part]
            )
            for part in _split(len(labels))
        ]
    )


def _measure_random(subjects: Subjects, spec: ExplanationSpec) -> dict[tuple[str, str], Pointing]:
    """The mean over `DRAWS` networks that differ in their weights alone, for each method."""
    found: dict[str, list[Pointing]] = {method: [] for method in METHODS}
    seed = int(subjects.rows["seed"].iloc[0])
    for draw in range(DRAWS):
        torch.manual_seed(seed_for("random weights", seed, draw))
        network = build_model(spec.recipe, weights="none").to(spec.device)
        for method in METHODS:
            found[method].append(_measure(network, subjects, spec, method))
    names = list(vars(found[METHODS[0]][0]))
    return {
        (method, "random_weights"): Pointing(
            **{name: np.mean([getattr(one, name) for one in several], axis=0) for name in names}
        )
        for method, several in found.items()
    }


def _draw(
    network: Network,
    pixels: NDArray[np.uint8],
    classes: NDArray[np.int64],
    spec: ExplanationSpec,
    method: str,
) -> NDArray[np.float32]:
    batch = prepare_images(torch.from_numpy(pixels)[:, None], spec.recipe, spec.device)
    heat: NDArray[np.float32] = draw_heat(network, batch, torch.from_numpy(classes), method).cpu().numpy()
    return heat


def _draw_sheets(
    spec: ExplanationSpec,
    network: Network,
    subjects: Subjects,
    measured: dict[tuple[str, str], Pointing],
    verdicts: NDArray[np.str_],
) -> None:
    """One sheet a verdict, by image_id; different groups first, and before them where both methods agree."""
    called = subjects.encode("called")
    alike = find_wrong_reasons(verdicts != "wrong", measured["saliency", "trained"])
    again = subjects.rows.groupby([verdicts, subjects.rows["group_id"]]).cumcount()
    order = np.lexsort((again, (verdicts == "wrong_reason") & ~alike))
    for verdict, words in VERDICTS.items():
        chosen = [int(place) for place in order if verdicts[place] == verdict][:SHOWN]
        cases = []
        if chosen:
            heats = {
                method: _draw(network, subjects.pixels[chosen], called[chosen], spec, method)
                for method in METHODS
            }
            cases = [
                Case(
                    pixels=subjects.pixels[place],
                    box=tuple(subjects.boxes[place]),
                    heats=tuple(heats[method][at] for method in METHODS),
                    label=str(subjects.rows["label"].iloc[place]),
                    called=str(subjects.rows["called"].iloc[place]),
                    probability=float(subjects.rows["probability"].iloc[place]),
                    area=float(measured["grad_cam", "trained"].area[place]),
                )
                for at, place in enumerate(chosen)
            ]
        first = subjects.rows.iloc[0]
        title = f"{first['recipe']}, {first['protocol']}: {words}"
        draw_cases(Path(spec.sheets) / f"{verdict}.png", title, cases, total=int((verdicts == verdict).sum()))


def _write(
    spec: ExplanationSpec,
    subjects: Subjects,
    measured: dict[tuple[str, str], Pointing],
    verdicts: NDArray[np.str_],
) -> None:
    frames = [
        subjects.rows.assign(
            model_id=spec.model_id, method=method, drawn_from=name, verdict=verdicts, **vars(pointing)
        )
        for (method, name), pointing in measured.items()
    ]
    heats = pd.concat(frames, ignore_index=True)[TABLES["heats"].names]
    arrow = to_arrow("heats", heats.sort_values(list(TABLES["heats"].key), ignore_index=True))
    with replacing_file(Path(spec.output)) as temporary:
        pq.write_table(arrow, temporary)


def _split(size: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, size, BATCH))


def _join(parts: list[Pointing]) -> Pointing:
    names = vars(parts[0])
    return Pointing(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
