"""Group `release`: which model people should use, by a rule on val under `patient`; test has no say."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.candidates import (
    SPLIT,
    Challenger,
    digest_release,
    examine,
    known_table,
    list_challengers,
    prepare_exam,
    read_gate_now,
    read_reign,
)
from assets.gate import GATE_INPUTS
from assets.materials import code_version, preview, result_of, table_asset
from assets.splits import split_key
from pipeline.errors import ReleaseError
from resources.commit import describe_commit
from resources.instance import POOL
from resources.lake import Lake
from resources.ledgers import append_row, read_rows
from resources.raw import RawStore
from resources.registry import CHAMPION, RELEASED, registered_name
from resources.tracking import Connection, Tracking
from resources.trainer import Trainer

if TYPE_CHECKING:
    from pipeline.release.decision import Decision
    from pipeline.release.reign import Reign
    from pipeline.release.weighing import Clause

GROUP = "release"
CODE = code_version(
    *(
        "schemas/release.py",
        "release",
        "evaluation/bootstrap.py",
        "evaluation/metrics.py",
        "evaluation/findings.py",
        "evaluation/predictions.py",
    ),
    *(
        "evaluation/calibration.py",
        "curation/copies.py",
        "curation/gate.py",
        "training/inference.py",
        "training/models.py",
    ),
    *("imaging", "serving"),
)
DEPS = ["model", split_key("patient"), *GATE_INPUTS]
TABLES = ("exams", "clauses", "release")


STALE = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=35), warn_window=timedelta(days=15))
"""Nothing weighed for so long is a sign that no data arrives, or that no run gets this far."""


@table_asset("release", GROUP, CODE, DEPS, pool=POOL, freshness_policy=STALE)
def release(
    context: dg.AssetExecutionContext,
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
    tracking: Tracking,
) -> dg.MaterializeResult[Any]:
    """Challengers against the champion, clause by clause of `catalog/promotion.yaml`, on val alone.

    The winner's registered version carries the alias `champion` in MLflow, with the digests of its data and
    split, the commit of the code and the result of every check and clause.
    """
    from pipeline.release.decision import render_clauses

    digest = digest_release(lake, raw_store, trainer)
    with tracking.connected() as mlflow:
        if all(lake.is_current(name, inputs=digest, code=CODE) for name in TABLES):
            context.log.info("release: same champion, same challengers, same rule: nothing is weighed again")
        else:
            weigh(context, lake, raw_store, trainer, mlflow)
        shown = follow_ledger(context, lake, mlflow)
    manifest, frame, clauses = lake.manifest("release"), lake.read("release"), lake.read("clauses")
    assert manifest is not None
    return result_of(
        manifest,
        **shown,
        challengers=int(clauses["model_id"].nunique()),
        clauses=dg.MetadataValue.md(render_clauses(clauses)),
        releases=dg.MetadataValue.md(preview(read_rows(lake, "releases").iloc[::-1])),
        **{"openings of the test part": len(read_rows(lake, "openings"))},
        preview=dg.MetadataValue.md(preview(frame)),
    )


def weigh(
    context: dg.AssetExecutionContext,
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
    mlflow: Connection,
) -> None:
    """Examine, decide, promote, and store the tables last, under the champion that was chosen."""
    import pandas as pd

    from pipeline.release.decision import Candidate, decide
    from pipeline.tables import find_table

    reign, gate = read_reign(lake), read_gate_now(lake)
    trained = list_challengers(lake, raw_store, trainer)
    challengers = [one for one in trained if one.spec.model_id != reign.model_id]
    answers, weighed = pd.DataFrame(columns=find_table("exams").names), {}
    if challengers:
        answers, breaches = hold_exam(context, lake, raw_store, trainer, mlflow, challengers, reign)
        weighed = weigh_all(challengers, answers, breaches, reign, gate["verdict"], raw_store)
    candidates = [Candidate(c.spec.model_id, c.spec.recipe.name, c.spec.seed, c.gate) for c in challengers]
    if reign.model_id:
        candidates.append(Candidate(reign.model_id, reign.recipe, reign.seed, "passed"))
    decision = decide(candidates, weighed, reign.model_id)
    winner = next((one for one in challengers if one.spec.model_id == decision.champion), None)
    if winner is not None:
        promote(winner, weighed[decision.champion], gate, reign, lake, mlflow)
    tag_weighed(challengers, decision, mlflow)
    # Under the champion of now, and of those that were weighed: one that ended meanwhile is still to come.
    digest = digest_release(lake, raw_store, trainer, [one.spec for one in trained])
    for name, frame in zip(TABLES, (answers, decision.clauses, decision.release), strict=True):
        lake.write(name, frame, inputs=digest, code=CODE)


def hold_exam(
    context: dg.AssetExecutionContext,
    lake: Lake,
    raw_store: RawStore,
    trainer: Trainer,
    mlflow: Connection,
    challengers: Sequence[Challenger],
    reign: "Reign",
) -> Any:
    """Fetch the champion's package as people get it, and let all sit the exam.

    Raises:
        ReleaseError: the champion cannot be opened here, so nobody can be compared with it.
    """
    exam = prepare_exam(lake, reign.model_id)
    context.log.info(
        f"exam: {len(exam.rows)} val images, {exam.seen} left out as the champion has seen their group"
    )
    work = Path(raw_store.home) / "release"
    work.mkdir(parents=True, exist_ok=True)
    # In the home, which a pod sees, too.
    with tempfile.TemporaryDirectory(prefix="champion-", dir=work) as folder:
        champion = None
        if reign.model_id:
            champion = (reign, mlflow.fetch_package(RELEASED, reign.version, Path(folder)))
        answers, breaches = examine(context, exam, challengers, champion, raw_store, trainer)
    if breach := breaches.get(reign.model_id, ""):
        raise ReleaseError(
            f"the champion {reign.model_id[:12]} ({reign.recipe}) cannot be opened here, so nobody can be "
            f"compared with it and it stays: {breach}. Mend that, or take it back with `make rollback`"
        )
    return answers, breaches


def weigh_all(
    challengers: Sequence[Challenger],
    answers: Any,
    breaches: dict[str, str],
    reign: "Reign",
    gate: str,
    raw_store: RawStore,
) -> "dict[str, list[Clause]]":
    """model_id -> clauses; without a champion the absolute ones alone."""
    from pipeline.release.weighing import Facts, weigh_challenger

    parts = {str(model_id): rows for model_id, rows in answers.groupby("model_id")}
    champion, rule = parts.get(reign.model_id), raw_store.catalog.promotion
    weighed = {}
    for one in challengers:
        model_id = one.spec.model_id
        facts = Facts(gate, one.gate, breaches[model_id], reign.held.get(model_id, ""))
        own = answers[answers["model_id"] == model_id]
        weighed[model_id] = weigh_challenger(own, champion, facts, rule)
    return weighed


def promote(
    winner: Challenger,
    clauses: "Sequence[Clause]",
    gate: dict[str, str],
    reign: "Reign",
    lake: Lake,
    mlflow: Connection,
) -> None:
    """Version and tags, what the champion has seen, the ledger, which is what counts, and the alias."""
    from pipeline.release.exam import remember
    from pipeline.release.reign import PROMOTION

    spec, name = winner.spec, registered_name(winner.spec.recipe.name, "patient")
    told = {
        "data_digest": spec.data_digest[:32],
        "split_digest": lake.digest(SPLIT)[:32],
        "code_commit": describe_commit(),
    }
    tags = {f"check/{check}": text for check, text in gate.items()}
    for clause in clauses:
        tags[f"clause/{clause.clause}/{clause.against}"] = f"passed: {clause.words}"
    registered = mlflow.find_version(name, spec.model_id)
    if not registered:
        raise ReleaseError(
            f"model {spec.model_id[:12]} of {spec.recipe.name} keeps every clause but has no version of "
            f"{name} in MLflow; register it and run again: make train RECIPE={spec.recipe.name} "
            "PROTOCOL=patient"
        )
    version = mlflow.release(name, registered, tags=told | tags)
    lake.write(known_table(spec.model_id), remember(lake.read(SPLIT)), inputs="", code="")
    row = {"number": reign.number + 1, "action": PROMOTION, "model_id": spec.model_id, "version": version}
    row |= {"recipe": spec.recipe.name, "seed": spec.seed, "replaced": reign.model_id, "held": [], **told}
    row |= {"who": "rule", "why": "keeps every clause", "at": now()}
    append_row(lake, "releases", row)
    # A kill before this line: the ledger is ahead, and the next materialisation moves the alias.
    mlflow.set_alias(RELEASED, CHAMPION, version)


def tag_weighed(challengers: Sequence[Challenger], decision: "Decision", mlflow: Connection) -> None:
    """Tell in MLflow, on the version of each challenger, what became of it, and why."""
    why = dict(zip(decision.release["model_id"], decision.release["why"], strict=True))
    for one in challengers:
        taken = one.spec.model_id == decision.champion
        tags = {"promotion": "champion" if taken else "refused", "promotion_why": why[one.spec.model_id]}
        _tag_model(one.spec.recipe.name, one.spec.model_id, tags, mlflow)


def _tag_model(recipe: str, model_id: str, tags: dict[str, str], mlflow: Connection) -> None:
    name = registered_name(recipe, "patient")
    if version := mlflow.find_version(name, model_id):
        mlflow.tag(name, version, tags)


def follow_ledger(context: dg.AssetExecutionContext, lake: Lake, mlflow: Connection) -> dict[str, Any]:
    """Let alias and tags be what the ledger says, whether a person moved them or a kill left them behind."""
    reign, releases = read_reign(lake), read_rows(lake, "releases")
    if not reign.model_id:
        return {"champion": "none"}
    found = mlflow.read_alias()
    if found != reign.version:
        context.log.warning(
            f"the alias champion was on version {found or 'none'}, the ledger of releases says "
            f"{reign.version}: moved there; `make rollback VERSION=<n>` is how a person chooses another"
        )
        mlflow.set_alias(RELEASED, CHAMPION, reign.version)
    for row in releases.drop_duplicates("model_id").to_dict("records"):
        state = "champion" if row["model_id"] == reign.model_id else "replaced"
        _tag_model(row["recipe"], row["model_id"], {"promotion": state}, mlflow)
    url = dg.MetadataValue.url(mlflow.model_url(RELEASED, reign.version))
    return {"champion": f"{reign.recipe}, version {reign.version}", "registered model": url}


def now() -> str:
    """The time, UTC, to the second: for people, and in no digest that anything is made from."""
    return datetime.now(UTC).isoformat(timespec="seconds")
