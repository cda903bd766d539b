"""Who may become champion, and the exam that they sit: val alone, and no way to any test answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.gate import GATE_INPUTS, inspect
from assets.materials import digest_entries
from assets.trainings import is_trained, read_result, specify_all
from pipeline.atomic import write_text
from pipeline.errors import ReleaseError, ServingError
from pipeline.training.spec import TrainingSpec
from resources.lake import Lake
from resources.ledgers import read_rows
from resources.raw import RawStore
from resources.trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.release.exam import Exam
    from pipeline.release.reign import Reign

PROTOCOL = "patient"
SPLIT = "splits/patient"


@dataclass(frozen=True)
class Challenger:
    """A finished training of the present data, packaged."""

    spec: TrainingSpec
    gate: str
    """On its card; what is wrong with the card where it cannot be read."""

    @property
    def package(self) -> Path:
        """Folder of its package."""
        return Path(self.spec.work) / "package"


def list_trained(lake: Lake, raw_store: RawStore, trainer: Trainer) -> list[TrainingSpec]:
    """The finished and packaged trainings under `patient` of the present recipes and data, seed by seed."""
    begun = Path(raw_store.home) / "models"  # to name a model costs a pass over its rows: not for nothing
    specs = [
        spec
        for recipe in raw_store.catalog.recipes.values()
        if (begun / recipe.name / PROTOCOL).is_dir()
        for spec in specify_all(recipe, PROTOCOL, lake, raw_store, trainer)
    ]
    return [
        spec for spec in specs if is_trained(spec) and (Path(spec.work) / "package" / "card.json").is_file()
    ]


def list_challengers(lake: Lake, raw_store: RawStore, trainer: Trainer) -> list[Challenger]:
    """All that are trained and packaged, the champion among them where it is of the present data."""
    return [Challenger(spec, _read_gate(Path(spec.work))) for spec in list_trained(lake, raw_store, trainer)]


def _read_gate(work: Path) -> str:
    from pipeline.serving.card import read_card
    from pipeline.serving.package import CARD

    try:
        return read_card(work / "package" / CARD).gate
    except ServingError as error:
        return f"unknown: {error}"


def read_reign(lake: Lake) -> "Reign":
    """The champion and the models that are held, by the ledger of releases."""
    from pipeline.release.reign import find_reign

    return find_reign(read_rows(lake, "releases"))


def digest_release(
    lake: Lake, raw_store: RawStore, trainer: Trainer, trained: Sequence[TrainingSpec] | None = None
) -> str:
    """Digest of what a weighing rests on: data, models, rule, champion, and whom people have barred.

    The stored table carries the digest under the champion that it has chosen: as long as the same champion
    reigns over the same challengers there is nothing to weigh.

    Args:
        trained: the models that were weighed; None = those that are trained now.
    """
    reign, catalog = read_reign(lake), raw_store.catalog
    rule = catalog.promotion.model_dump(mode="json", exclude={"retrain"})
    kinds = [catalog.degradations[name] for name in catalog.promotion.exam.degradations]
    trained = list_trained(lake, raw_store, trainer) if trained is None else trained
    models = sorted(spec.model_id for spec in trained)
    stated = {"rule": rule, "kinds": digest_entries(kinds), "models": models}
    return lake.digest_inputs(
        [SPLIT, *GATE_INPUTS], {**stated, "champion": reign.model_id, "held": sorted(reign.held)}
    )


def read_gate_now(lake: Lake) -> dict[str, str]:
    """Check -> passed, or what it found, on the present split `patient`; `verdict` is that of all."""
    from pipeline.curation.gate import decide_verdict

    findings = inspect(lake, PROTOCOL)
    checks = {one.check: "passed" if one.passed else f"failed: {one.detail}" for one in findings}
    return {**checks, "verdict": decide_verdict(findings, PROTOCOL)}


def known_table(model_id: str) -> str:
    """The lake's name of what a released model was trained and validated on."""
    return f"known/{model_id}"


def prepare_exam(lake: Lake, champion: str) -> "Exam":
    """The val images that are new to the champion, or all val images where there is none.

    Raises:
        ReleaseError: what the champion was trained on is lost.
            Or no val image is left.
    """
    from pipeline.release.exam import set_exam

    known = None
    if champion:
        name = known_table(champion)
        if lake.manifest(name) is None:
            raise ReleaseError(
                f"what the champion {champion[:12]} was trained on is not in the lake "
                f"({lake.path(name)}), so no val image can be called new to it; restore the table from a "
                "backup, or take the champion back with `make rollback`"
            )
        known = lake.read(name)
    return set_exam(lake.read(SPLIT), lake.read("groups"), known)


def examine(
    context: dg.AssetExecutionContext,
    exam: "Exam",
    challengers: Sequence[Challenger],
    champion: "tuple[Reign, Path] | None",
    raw_store: RawStore,
    trainer: Trainer,
) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Let all packages answer the exam in one process; table `exams`, and what breaks whose contract."""
    import json

    import pyarrow.parquet as pq

    from pipeline.release.sitting import ExamSpec, Sitter
    from pipeline.tables import from_arrow

    catalog, work = raw_store.catalog, Path(raw_store.home) / "release"
    sitters = [
        Sitter(model_id=s.model_id, recipe=s.recipe.name, seed=s.seed, package=str(one.package))
        for one in challengers
        for s in [one.spec]
    ]
    if champion:
        reign, package = champion
        known = {"model_id": reign.model_id, "recipe": reign.recipe, "seed": reign.seed}
        sitters.append(Sitter(**known, package=str(package)))
    rule = catalog.promotion.exam
    spec = ExamSpec(
        sitters=tuple(sitters),
        rows=exam.rows.to_dict("records"),
        degradations=tuple(catalog.degradations[name] for name in rule.degradations),
        severity=rule.severity,
        images_a_label=rule.images_a_label,
        folders={name: str(folder) for name, folder in raw_store.folders().items()},
        cache=str(raw_store.cache_root),
        output=str(work / "exams.parquet"),
        contracts=str(work / "contracts.json"),
        device=read_result(Path(challengers[0].spec.work)).device,
        threads=trainer.threads,
        workers=trainer.workers,
    )
    write_text(work / "exam.json", spec.model_dump_json(indent=2))
    trainer.run(context, "examine", work / "exam.json")
    answers = from_arrow("exams", pq.read_table(spec.output))
    return answers, json.loads((work / "contracts.json").read_text(encoding="utf-8"))
