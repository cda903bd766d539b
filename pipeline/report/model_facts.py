"""The facts of one model: its score and what a sceptic asks of it, in the order of the page."""

from collections.abc import Mapping

import pandas as pd
import yaml

from pipeline.evaluation import mistakes
from pipeline.evaluation.bootstrap import count_confusions
from pipeline.evaluation.leaderboard import HONEST, OPTIMISTIC
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.misses import SHOWN, list_misses
from pipeline.evaluation.predictions import read_answers
from pipeline.evaluation.roc import trace_roc
from pipeline.evaluation.safety import tell_safety
from pipeline.labels import LABELS, TUMOURS
from pipeline.report.evidence_facts import add_evidence
from pipeline.report.facts import Document, Tally, find_first, key_rows
from pipeline.report.sources import ModelSources
from pipeline.report.training_facts import add_contract, add_training
from pipeline.tables import list_rows

PARTS = ("train", "val", "test")
OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "miss_rate")
BY_CLASS = ("precision", "recall", "f1", "roc_auc", "miss_rate")
HOW = {
    "accuracy": "share of right answers",
    "balanced_accuracy": "mean of the classes' recalls",
    "macro_f1": "mean of the classes' F1",
    "precision": "of the images called this class, the share that are",
    "recall": "of the images of this class, the share called so",
    "f1": "harmonic mean of precision and recall",
    "roc_auc": "chance that an image of the class outscores one of the rest",
    "miss_rate": "share of tumours called no_tumor",
}


def gather_model(sources: ModelSources, *, code: str, tables: Mapping[str, str]) -> Document:
    """Every fact of the model report and card.

    Args:
        sources: tables and files; the same content in any order of rows gives the same document.
        code: version of the code that gathers and renders.
        tables: tables that the sources came from -> their digests.
    """
    tally = Tally()
    _add_subject(tally, sources)
    _add_claim(tally, sources)
    _add_data(tally, sources)
    _add_metrics(tally, sources)
    add_evidence(tally, sources)
    _add_misses(tally, sources)
    _add_mistakes(tally, sources)
    _add_robustness(tally, sources)
    add_training(tally, sources)
    add_contract(tally, sources)
    name = f"{sources.recipe.name} under {sources.protocol}"
    return tally.close("model", name, code=code, tables=tables)


def _add_subject(tally: Tally, sources: ModelSources) -> None:
    """Names that the page needs to speak: they hold no result."""
    recipe = sources.recipe
    tally.order("subject", [recipe.name, sources.protocol])
    file = "package/recipe.json"
    tally.text("recipe/title", recipe.title, file, "title of the recipe")
    tally.text("recipe/description", " ".join(recipe.description.split()), file, "what the recipe is")
    tally.order("collections", [one.name for one in sources.collections])
    barred = [one.name for one in sources.collections if one.redistribute != "yes"]
    tally.order("barred", barred)
    fields = recipe.model_dump(mode="json")
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=96, default_flow_style=None)
    tally.text("recipe/text", text, file, "the recipe, every field")


def _add_claim(tally: Tally, sources: ModelSources) -> None:
    place, own, answers = f"predictions/{sources.place}", sources.own, sources.answers
    score = {"value": own["macro_f1"], "low": own["macro_f1_low"], "high": own["macro_f1_high"]}
    how = "macro-F1 of the clean test images, mean over seeds; interval: group bootstrap"
    tally.figure("claim/macro_f1", score, place, how)
    tally.count("claim/n", own["n"], place, "clean test images")
    tally.count("claim/groups", own["groups"], place, "groups of the test images")
    tally.count("claim/seeds", own["seeds"], place, "seeds trained")
    if sources.seeds > 1:
        tally.number("claim/spread", own["macro_f1_spread"], place, "standard deviation over seeds")
        tally.count("claim/seed", answers["seed"].iloc[0], place, "the seed that is shown below")
    known = answers[["image_id"]].drop_duplicates().merge(sources.patients, on="image_id")["patient_id"]
    tally.count("claim/patients", known.nunique(), "patients", "known patients among the test images")
    tally.count("claim/with_patient", known.notna().sum(), "patients", "test images with a known patient")
    told = tell_safety(sources.protocol, answers, sources.groups)
    tally.text("claim/safety", told, "groups", "what may not lie on both sides of the split")
    tally.text("claim/gate", sources.gate, f"splits/{sources.place.rsplit('/', 1)[0]}", "verdict of the gate")
    if sources.card.gate != sources.gate:
        tally.text("claim/gate_then", sources.card.gate, "package/card.json", "the verdict before training")
    _add_optimism(tally, sources)


def _add_optimism(tally: Tally, sources: ModelSources) -> None:
    """The recipe's scores under the other protocols, and what a protocol adds to the score."""
    for row in list_rows(sources.board):
        protocol = row["protocol"]
        place = f"predictions/{protocol}/{sources.recipe.name}"
        score = {"value": row["macro_f1"], "low": row["macro_f1_low"], "high": row["macro_f1_high"]}
        tally.figure(f"board/{protocol}/macro_f1", score, place, f"macro-F1 under {protocol}")
        tally.count(f"board/{protocol}/n", row["n"], place, "test images")
        tally.count(f"board/{protocol}/groups", row["groups"], place, "test groups")
        if protocol in OPTIMISTIC and pd.notna(row["optimism"]):
            optimism = {"value": row["optimism"], "low": row["optimism_low"], "high": row["optimism_high"]}
            how = f"macro-F1 under {protocol} minus that under {HONEST}, same recipe"
            tally.figure(f"board/{protocol}/optimism", optimism, place, how, "+z.3f")
    tally.order("protocols", sources.board["protocol"])


def _add_data(tally: Tally, sources: ModelSources) -> None:
    for one in sources.collections:
        key = f"data/{one.name}"
        for field in ("title", "version", "licence", "digest", "citation"):
            words = str(getattr(one, field)) or "not locked"
            tally.text(f"{key}/{field}", words, "raw.lock.json", f"{field} of the collection")
        tally.count(f"{key}/files", one.files, "raw.lock.json", "files as measured")
    split = f"splits/{sources.place.rsplit('/', 1)[0]}"
    used = sources.used.merge(sources.groups[["image_id", "group_id"]], on="image_id")
    used = used.merge(sources.patients[["image_id", "patient_id"]], on="image_id")
    for part in PARTS:
        own = used[used["split"] == part]
        for label in (*LABELS, ALL):
            rows = own if label == ALL else own[own["label"] == label]
            tally.count(f"data/{part}/{label}", len(rows), split, f"{part} rows of {label}")
        tally.count(f"data/{part}/groups", own["group_id"].nunique(), "groups", f"groups in {part}")
        tally.count(f"data/{part}/patients", own["patient_id"].nunique(), "patients", f"patients in {part}")


def _add_metrics(tally: Tally, sources: ModelSources) -> None:
    place = f"predictions/{sources.place}"
    rows = key_rows(sources.metrics, "metric", "class")
    for metric in OVERALL:
        tally.figure(f"metric/{metric}/{ALL}", rows[metric, ALL], place, HOW[metric])
    for metric in BY_CLASS:
        for label in LABELS if metric != "miss_rate" else TUMOURS:
            tally.figure(f"metric/{metric}/{label}", rows[metric, label], place, HOW[metric])
    answers = read_answers(sources.answers)
    counts = count_confusions(answers).sum(axis=0)
    for truth, label in enumerate(LABELS):
        for called, other in enumerate(LABELS):
            how = f"images of {label} called {other}"
            tally.count(f"confusion/{label}/{other}", counts[truth, called], place, how)
        tally.count(f"confusion/{label}/images", counts[truth].sum(), place, f"test images of {label}")
        tally.curve(f"roc/{label}", *trace_roc(answers, truth))


def _add_misses(tally: Tally, sources: ModelSources) -> None:
    place, misses = f"predictions/{sources.place}", list_misses(sources.answers)
    tumours = int(sources.answers["label"].isin(TUMOURS).sum())
    tally.count("misses/count", len(misses), place, "tumour images called no_tumor")
    tally.count("misses/tumours", tumours, place, "tumour images tested")
    shown = list_rows(misses.head(SHOWN))
    tally.count("misses/shown", len(shown), place, "of these shown, the surest mistakes first")
    tally.order("misses", [row["image_id"] for row in shown])
    for number, row in enumerate(shown):
        key = f"misses/{number}"
        tally.text(f"{key}/file", f"{row['collection']}/{row['path']}", place, "the missed file")
        tally.text(f"{key}/label", row["label"], place, "its true class")
        how = "probability that it was given for no_tumor"
        tally.number(f"{key}/no_tumor", row["p_no_tumor"], place, how)
        tally.number(f"{key}/right", row[f"p_{row['label']}"], place, "probability given for its true class")


def _add_mistakes(tally: Tally, sources: ModelSources) -> None:
    place, found = f"predictions/{sources.place}", mistakes.list_mistakes(sources.answers)
    wrong = int(found["wrong"].sum())
    tally.count("mistakes/wrong", wrong, place, "clean test images answered wrongly")
    tally.count("mistakes/groups", found["group_id"].nunique(), place, "groups that they lie in")
    shown = found.head(mistakes.SHOWN)
    tally.order("mistakes", shown["group_id"])
    known = sources.answers[["image_id", "group_id"]].merge(sources.patients, on="image_id")
    names = known.dropna(subset="patient_id").groupby("group_id")["patient_id"].unique()
    for number, row in enumerate(list_rows(shown)):
        key, group = f"mistakes/{number}", row["group_id"]
        tally.text(f"{key}/group", group[:12], place, "the group")
        patients = ", ".join(sorted(names.get(group, []))) or "unknown"
        tally.text(f"{key}/patients", patients, "patients", "its patients, as far as they are known")
        tally.text(f"{key}/label", row["label"], place, "the true class of its images")
        tally.text(f"{key}/called", row["called"], place, "their most frequent wrong answer")
        tally.count(f"{key}/images", row["images"], place, "its images of this class")
        tally.count(f"{key}/wrong", row["wrong"], place, "of these answered wrongly")
        tally.share(f"{key}/share", row["wrong"], wrong, place, "their share of all wrong answers")


def _add_robustness(tally: Tally, sources: ModelSources) -> None:
    place, rows = f"predictions/{sources.place}", sources.robustness
    kinds = sorted(set(rows["degradation"]) - {ALL}) if len(rows) else []
    tally.order("degradations", [*kinds, ALL] if kinds else [])
    for kind in tally.lists["degradations"]:
        own = key_rows(rows[rows["degradation"] == kind], "metric", "class")
        for metric in ("mean_accuracy", "worst_accuracy", "ece_before", "ece_after", "corruption_error"):
            if (metric, ALL) in own:
                how = f"{metric.replace('_', ' ')} under {kind}, over five severities"
                tally.figure(f"robust/{kind}/{metric}", own[metric, ALL], place, how)
        first = find_first(own)
        tally.text(f"robust/{kind}/first", first, place, "the class whose recall falls most")
        tally.figure(f"robust/{kind}/drop", own["recall_drop", first], place, f"recall that {first} loses")
