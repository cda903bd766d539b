"""What the reports are made from: which tables and files, taken from the lake or counted anew."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from assets.answered import find_predictions, is_answered, name_table
from assets.audit import COUNTED
from assets.evaluation import DRAWS, PAIRED_DRAWS
from assets.gate import inspect
from assets.materials import code_version, digest_entries
from assets.robustness import JUDGE, find_answered, measure_all, measure_model, read_judge
from assets.trainings import digest_data, judge, read_result, select_rows, work_folder
from pipeline.errors import ReportError, ServingError
from pipeline.labels import PROTOCOLS
from pipeline.protocols import list_protocols, protocol_path, split_table
from pipeline.recipe import Recipe
from resources.lake import Lake
from resources.ledgers import read_rows
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.audit.facts import CollectionFact
    from pipeline.report.sources import ModelSources, ReleaseSources
    from pipeline.serving.card import ModelCard

CODE = code_version(
    *("report", "pages", "evaluation", "schemas/evaluation.py", "schemas/release.py"),
    *("audit/gathering.py", "audit/counts.py", "audit/facts.py", "curation/gate.py", "serving/card.py"),
)
ANSWERS = ("predictions", "validations")
COUNTS = ("metrics", "evidence")
KNOWN = ("groups", "patients", "files", "thumbnails")


def name_code(raw_store: RawStore) -> str:
    """Version of the code and of the catalog's words that a page is made by."""
    return f"{CODE}-{digest_entries(raw_store.catalog.collections.values())[:8]}"


def gather_model_sources(
    lake: Lake, raw_store: RawStore, recipe: str, protocol: str, *, anew: bool = False
) -> "ModelSources":
    """Everything behind the report of a recipe under a protocol; of several seeds the first is shown.

    Args:
        anew: count metrics and evidence from the answers, and not take those stored.

    Raises:
        ReportError: what training left is missing, or the answers are of an earlier split.
        TableError: a table is missing or damaged.
    """
    from pipeline.report.sources import ModelSources
    from pipeline.serving.card import read_card

    place = f"{protocol_path(protocol)}/{recipe}"
    predictions = lake.read(f"predictions/{place}")
    first = predictions[predictions["seed"] == predictions["seed"].min()]
    model_id, seed = str(first["model_id"].iloc[0]), int(first["seed"].iloc[0])
    clean = first[first["variant"] == "clean"].reset_index(drop=True)
    validated = lake.read(f"validations/{place}")
    validated = validated[validated["model_id"] == model_id]
    work = work_folder(raw_store, recipe, protocol, seed, model_id)
    known, card = read_recipe(work), read_card(work / "package" / "card.json")
    if not is_of_today(lake, known, protocol, card):
        raise ReportError(tell_outdated(recipe, protocol))
    metrics, evidence = (
        count(clean, validated) if anew else (take(lake, name, place, model_id) for name in COUNTS)
    )
    used = select_rows(lake.read(split_table(protocol)), known, protocol)
    return ModelSources(
        recipe=known,
        protocol=protocol,
        gate=judge(known, tell_verdict(lake, protocol)),
        answers=clean,
        metrics=metrics[metrics["variant"] == "clean"],
        evidence=evidence,
        robustness=measure_one(lake, first, validated, protocol),
        board=rank_one(lake, known, protocol),
        used=used,
        groups=lake.read("groups"),
        patients=lake.read("patients"),
        collections=describe_collections(lake, raw_store, sorted(used["collection"].unique())),
        result=read_result(work),
        history=[json.loads(line) for line in (work / "history.jsonl").read_text("utf-8").splitlines()],
        card=card,
        place=place,
    )


def is_of_today(lake: Lake, recipe: Recipe, protocol: str, card: "ModelCard") -> bool:
    """Whether a model was trained on, and answered, what its recipe would be given now."""
    digest = digest_data(recipe, protocol, lake)[: len(card.data_digest)]
    return card.data_digest == digest and is_answered(lake, recipe, protocol)


def tell_outdated(recipe: str, protocol: str) -> str:
    """What to say of answers that are of an earlier split."""
    return (
        f"{recipe} under {protocol}: the split has changed since it was trained, so its score stands for "
        f"images of then; make train RECIPE={recipe} PROTOCOL={protocol} trains and reports it anew"
    )


def take(lake: Lake, name: str, place: str, model_id: str) -> "pd.DataFrame":
    """A model's rows of a stored table."""
    frame = lake.read(f"{name}/{place}")
    return frame[frame["model_id"] == model_id]


def count(clean: "pd.DataFrame", validated: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Metrics and evidence of a model's clean answers, counted from them."""
    from pipeline.evaluation.evidence import weigh_evidence
    from pipeline.evaluation.metrics import score_predictions

    return score_predictions(clean, draws=DRAWS), weigh_evidence(clean, validated, draws=DRAWS)


def tell_verdict(lake: Lake, protocol: str) -> str:
    """The gate's verdict on a split as the tables are now."""
    from pipeline.curation.gate import decide_verdict

    return decide_verdict(inspect(lake, protocol), protocol)


def read_recipe(work: Path) -> Recipe:
    """The recipe that a training was given, whatever the catalog says by now.

    Raises:
        ReportError: the packaged recipe is missing or damaged.
    """
    from pydantic import ValidationError

    path = work / "package" / "recipe.json"
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ReportError(
            f"{path} holds no recipe: {error}. The answers in the lake are those of a "
            "training whose files are "
            "gone; train it again: make train RECIPE=… PROTOCOL=…"
        ) from error


def measure_one(
    lake: Lake, answers: "pd.DataFrame", validated: "pd.DataFrame", protocol: str
) -> "pd.DataFrame":
    """Rows of `robustness` of one model; none where it answered clean images alone."""
    import pandas as pd

    from pipeline.schemas import TABLES

    if not (answers["variant"] != "clean").any():
        return pd.DataFrame(columns=TABLES["robustness"].names)
    judge = read_judge(lake) if protocol == "patient" and has_table(lake, JUDGE) else None
    return measure_model(answers, validated, judge)


def rank_one(lake: Lake, recipe: Recipe, protocol: str) -> "pd.DataFrame":
    """Rows of the leaderboard of one recipe: this protocol, and the three that always exist.

    Of those, the ones that answered the test part as it is now.
    """
    from pipeline.evaluation.leaderboard import rank_recipes

    wanted = dict.fromkeys((protocol, *PROTOCOLS))
    tables = {one: name_table(recipe.name, one) for one in wanted}
    answered = [one for one in wanted if has_table(lake, tables[one]) and is_answered(lake, recipe, one)]
    frames = (lake.read(tables[one]) for one in answered)
    # The verdicts stand in each protocol's own report.
    return rank_recipes(frames, dict.fromkeys(wanted, ""), draws=DRAWS)


def describe_collections(lake: Lake, raw_store: RawStore, names: list[str]) -> "list[CollectionFact]":
    """Collections as they were measured, and what their sources say."""
    from pipeline.audit.gathering import describe_collection
    from pipeline.lock import read_lock

    lock, files = read_lock(raw_store.lock_path), lake.read("files")
    known = raw_store.catalog.collections
    return [describe_collection(known[name], lock.get(name), files) for name in names]


def gather_release_sources(lake: Lake, raw_store: RawStore, *, anew: bool = False) -> "ReleaseSources":
    """Everything behind the release report.

    Args:
        anew: count leaderboard, comparisons, robustness, audit and the candidates' macro-F1 again, and not
            take those stored.
    """
    from pipeline.report.sources import ReleaseSources

    names = ("leaderboard", "comparisons", "robustness", "audit")
    board, contests, robust, audit = recount(lake, raw_store) if anew else map(lake.read, names)
    release, exams = lake.read("release"), score_exams(lake)
    return ReleaseSources(
        release=rescore(release, exams) if anew else release,
        board=board,
        comparisons=contests,
        robustness=robust,
        audit=audit,
        exams=exams,
        openings=read_rows(lake, "openings"),
        tested=find_tested(lake, release),
    )


def recount(
    lake: Lake, raw_store: RawStore
) -> "tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]":
    """Leaderboard, comparisons, robustness and audit, counted from answers, splits and curation."""
    from pipeline.audit.counts import audit_collections
    from pipeline.evaluation.contests import compare_recipes
    from pipeline.evaluation.leaderboard import rank_recipes

    tables = find_predictions(lake, raw_store)
    clean = [frame[frame["variant"] == "clean"] for frame in map(lake.read, tables)]
    protocols = {str(frame["protocol"].iloc[0]) for frame in clean}
    verdicts = {protocol: tell_verdict(lake, protocol) for protocol in sorted(protocols)}
    audit = audit_collections(**{name: lake.read(name) for name in COUNTED}, splits={})
    return (
        rank_recipes(clean, verdicts, draws=DRAWS),
        compare_recipes(clean, draws=PAIRED_DRAWS),
        measure_all(lake, find_answered(lake, raw_store)),
        audit,
    )


def score_exams(lake: Lake) -> "pd.DataFrame":
    """Metrics of each candidate on the exam's settled clean images: what the table `release` rests on."""
    import pandas as pd

    from pipeline.evaluation.metrics import score_predictions
    from pipeline.release.exam import SETTLED
    from pipeline.schemas import TABLES

    rows = lake.read("exams")
    rows = rows[(rows["variant"] == "clean") & (rows["part"] == SETTLED)]
    parts = [score_predictions(theirs, draws=DRAWS) for _, theirs in rows.groupby("model_id")]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TABLES["metrics"].names)


def rescore(release: "pd.DataFrame", exams: "pd.DataFrame") -> "pd.DataFrame":
    """The table `release` with each challenger's macro-F1 as it is counted now; the champion has none."""
    whole = exams[(exams["metric"] == "macro_f1") & (exams["class"] == "all")]
    now = release["model_id"].map(whole.set_index("model_id")["value"])
    return release.assign(val_macro_f1=now.where(release["val_macro_f1"].notna()))


def find_tested(lake: Lake, release: "pd.DataFrame") -> frozenset[str]:
    """Candidates whose answers to the test part of `patient` lie in the lake."""
    recipes = {name for name in release["recipe"] if has_table(lake, f"predictions/patient/{name}")}
    return frozenset(model for name in recipes for model in list_models(lake, name, "patient"))


def list_models(lake: Lake, recipe: str, protocol: str) -> list[str]:
    """Models of all seeds whose answers are in the lake."""
    return sorted(lake.read(f"predictions/{protocol_path(protocol)}/{recipe}")["model_id"].unique())


def find_cells(lake: Lake, raw_store: RawStore) -> list[tuple[str, str]]:
    """(recipe, protocol) of every cell that can be reported: answered, scored and weighed as data is now."""
    outdated = set(find_outdated(lake, raw_store))
    return [cell for cell in list_scored(lake, raw_store) if cell not in outdated]


def find_outdated(lake: Lake, raw_store: RawStore) -> list[tuple[str, str]]:
    """(recipe, protocol) of every scored cell whose model was trained or asked under an earlier split.

    A cell whose training files are gone is not among them: its report says so.
    """
    from pipeline.serving.card import read_card

    found = []
    for recipe, protocol in list_scored(lake, raw_store):
        answers = lake.read(name_table(recipe, protocol))
        seed = int(answers["seed"].min())
        model_id = str(answers.loc[answers["seed"] == seed, "model_id"].iloc[0])
        work = work_folder(raw_store, recipe, protocol, seed, model_id)
        try:
            known, card = read_recipe(work), read_card(work / "package" / "card.json")
        except (ReportError, ServingError):
            continue
        if not is_of_today(lake, known, protocol, card):
            found.append((recipe, protocol))
    return found


def list_scored(lake: Lake, raw_store: RawStore) -> list[tuple[str, str]]:
    """(recipe, protocol) of every cell that is answered, scored and weighed."""
    return [
        (recipe, protocol)
        for recipe in raw_store.catalog.recipes
        for protocol in list_protocols(raw_store.catalog.collections)
        if all(
            lake.manifest(f"{table}/{protocol_path(protocol)}/{recipe}") is not None
            for table in (*ANSWERS, *COUNTS)
        )
    ]


def name_model_tables(lake: Lake, recipe: str, protocol: str) -> list[str]:
    """The tables that a model's report rests on; a new answer of any of them outdates it."""
    place = f"{protocol_path(protocol)}/{recipe}"
    named = [f"{table}/{place}" for table in (*ANSWERS, *COUNTS)]
    named += [f"predictions/{one}/{recipe}" for one in PROTOCOLS if one != protocol]
    named += [JUDGE] if protocol == "patient" else []
    named += [split_table(protocol), *KNOWN]
    return sorted({name for name in named if has_table(lake, name)})


def name_release_tables(lake: Lake, raw_store: RawStore) -> list[str]:
    """The tables that the release's report rests on."""
    named = [*find_predictions(lake, raw_store), "release", "exams", "openings"]
    named += ["leaderboard", "comparisons", "robustness", "audit"]
    return sorted({name for name in named if has_table(lake, name)})


def has_table(lake: Lake, name: str) -> bool:
    """Whether the lake holds a table of this name, declared or not."""
    return lake.manifest(name) is not None
