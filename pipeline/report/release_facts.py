"""The facts of a release: who is champion and why, every score beside its optimism, what the audit found."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.evaluation.leaderboard import order_rows, tell_optimism
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.rankings import tell_rankings
from pipeline.report.facts import COUNT, TEXT, Document, Tally, find_first, key_rows
from pipeline.report.sources import ReleaseSources
from pipeline.tables import list_rows

LEAKS = ("any_twin", "byte_identical", "same_picture", "same_picture_only_mirrored", "same_patient")


def gather_release(sources: ReleaseSources, *, code: str, tables: Mapping[str, str]) -> Document:
    """Every fact of the release report and card.

    Args:
        sources: tables; the same content in any order of rows gives the same document.
        code: version of the code that gathers and renders.
        tables: tables that the sources came from -> their digests.
    """
    tally = Tally()
    _add_release(tally, sources)
    _add_board(tally, sources.board)
    _add_comparisons(tally, sources.comparisons)
    _add_robustness(tally, sources.robustness)
    _add_audit(tally, sources.audit)
    _add_openings(tally, sources.openings)
    return tally.close("release", "release", code=code, tables=tables)


def _add_release(tally: Tally, sources: ReleaseSources) -> None:
    """Every column of table `release`, known or not, and macro-F1 counted from the exam."""
    rows = sources.release.sort_values(["recipe", "model_id"], ignore_index=True)
    tally.order("candidates", rows["recipe"])
    tally.order("models_weighed", rows["model_id"])
    tally.order("columns", [name for name in rows.columns if name != "recipe"])
    for place, row in enumerate(list_rows(rows)):
        for column in tally.lists["columns"]:
            value, form = _choose_form(row[column])
            tally.add(f"release/{place}/{column}", value, form, "release", f"column {column}")
    chosen = rows[rows["champion"].astype(bool)].head(1)
    # Name and row of the champion; nothing where there is none.
    tally.order("champion", [part for place, name in chosen["recipe"].items() for part in (name, place)])
    # The board holds the recipe's present answers: after a refusal or a rollback those of another model.
    scored = chosen[chosen["model_id"].isin(sources.tested)]
    tally.order("champion_score", [f"board/{name}/patient" for name in scored["recipe"]])
    exams = sources.exams.sort_values("model_id")
    for row in list_rows(exams[(exams["metric"] == "macro_f1") & (exams["class"] == ALL)]):
        tally.figure(f"val/{row['model_id']}/macro_f1", row, "exams", "macro-F1 on settled val images")


def _choose_form(value: Any) -> tuple[Any, str]:
    """A cell of any table as a value and the form that it is printed in."""
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return None, TEXT
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool):
        return ("yes" if plain else "no"), TEXT
    if isinstance(plain, int):
        return plain, COUNT
    return (plain, ".4f") if isinstance(plain, float) else (str(plain).replace("`", ""), TEXT)


def _add_board(tally: Tally, board: pd.DataFrame) -> None:
    rows = order_rows(board)
    tally.order("recipes", rows["recipe"].drop_duplicates())
    tally.order("places", [f"{row['recipe']}/{row['protocol']}" for row in list_rows(rows)])
    for row in list_rows(rows):
        key, place = (
            f"board/{row['recipe']}/{row['protocol']}",
            f"predictions/{row['protocol']}/{row['recipe']}",
        )
        score = {"value": row["macro_f1"], "low": row["macro_f1_low"], "high": row["macro_f1_high"]}
        tally.figure(f"{key}/macro_f1", score, place, "macro-F1 on test, mean over seeds")
        tally.number(f"{key}/accuracy", row["accuracy"], place, "share of right answers")
        tally.number(f"{key}/miss_rate", row["miss_rate"], place, "share of tumours called no_tumor")
        for column in ("seeds", "n", "groups"):
            tally.count(f"{key}/{column}", row[column], place, column)
        tally.text(f"gate/{row['protocol']}", row["gate"], f"splits/{row['protocol']}", "verdict of the gate")
        if pd.notna(row["macro_f1_spread"]):
            tally.number(f"{key}/spread", row["macro_f1_spread"], place, "standard deviation over seeds")
        if pd.notna(row["optimism"]):
            optimism = {"value": row["optimism"], "low": row["optimism_low"], "high": row["optimism_high"]}
            tally.figure(f"{key}/optimism", optimism, place, "macro-F1 minus that under patient", "+z.3f")
    _add_sentences(tally, "optimism", tell_optimism(board), "predictions")
    _add_sentences(tally, "ranking", tell_rankings(board), "predictions")


def _add_sentences(tally: Tally, name: str, sentences: list[str], source: str) -> None:
    tally.order(name, [f"told/{name}/{place}" for place in range(len(sentences))])
    for key, sentence in zip(tally.lists[name], sentences, strict=True):
        tally.text(key, sentence.replace("`", ""), source, "in words")


def _add_comparisons(tally: Tally, comparisons: pd.DataFrame) -> None:
    rows = comparisons.sort_values(
        ["protocol", "difference", "first", "second"], ascending=[True, False, True, True]
    )
    tally.order("contests", [f"{row['protocol']}/{row['first']}/{row['second']}" for row in list_rows(rows)])
    for row in list_rows(rows):
        key = f"contest/{row['protocol']}/{row['first']}/{row['second']}"
        place = f"predictions/{row['protocol']}/*"
        score = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        tally.figure(f"{key}/difference", score, place, "macro-F1 of the first minus the second", "+z.3f")
        if pd.notna(row["above"]):
            tally.share(f"{key}/above", row["above"], 1.0, place, "draws in which the first is better")
        tally.count(f"{key}/n", row["n"], place, "test images")
        tally.count(f"{key}/groups", row["groups"], place, "test groups")


def _add_robustness(tally: Tally, robustness: pd.DataFrame) -> None:
    models = robustness.sort_values(["recipe", "seed"]).groupby(["recipe", "seed"], sort=True)
    names = []
    for (recipe, seed), rows in models:
        name = f"{recipe}/{seed}"
        names.append(name)
        place = f"predictions/patient/{recipe}"
        whole = key_rows(rows[rows["degradation"] == ALL], "metric", "class")
        for metric in ("mean_accuracy", "worst_accuracy", "ece_after", "corruption_error"):
            if (metric, ALL) in whole:
                tally.figure(f"robust/{name}/{metric}", whole[metric, ALL], place, metric.replace("_", " "))
        kinds = rows[(rows["metric"] == "worst_accuracy") & (rows["degradation"] != ALL)]
        kinds = kinds.sort_values(["value", "degradation"])
        tally.text(
            f"robust/{name}/kind", kinds.iloc[0]["degradation"], place, "the degradation that costs most"
        )
        first = find_first(whole)
        tally.text(f"robust/{name}/first", first, place, "the class whose recall falls most")
        tally.figure(f"robust/{name}/drop", whole["recall_drop", first], place, f"recall that {first} loses")
        tally.text(f"robust/{name}/seed", seed, place, "seed of the training")
    tally.order("models", names)


def _add_audit(tally: Tally, audit: pd.DataFrame) -> None:
    """Published test images that have a twin in training: each test set, and all of them."""
    leaks = audit[audit["section"] == "leaks"].set_index(["subject", "measure"])["value"].astype(int)
    subjects = sorted({str(subject) for subject, _ in leaks.index})
    tally.order("tests", subjects)
    source = "images, pictures, patients"
    total = sum(int(leaks[subject, "test_files"]) for subject in subjects)
    found = sum(int(leaks[subject, "any_twin_anywhere"]) for subject in subjects)
    tally.count("audit/total", total, source, "published test images")
    tally.count("audit/found", found, source, "of these with a twin in any training folder")
    tally.share("audit/share", found, total, source, "the same as a share")
    for subject in subjects:
        files = int(leaks[subject, "test_files"])
        tally.count(f"audit/{subject}/test_files", files, source, "published test images")
        for measure in LEAKS:
            value = int(leaks[subject, measure])
            how = f"{measure.replace('_', ' ')} in the own training folder"
            tally.count(f"audit/{subject}/{measure}", value, source, how)
            if measure == "any_twin":
                tally.share(f"audit/{subject}/share", value, files, source, f"{how}, as a share")


def _add_openings(tally: Tally, openings: pd.DataFrame) -> None:
    """How often the test part of `patient` was opened."""
    tally.count("openings/count", len(openings), "openings", "times the test part was opened")
    counted = openings["recipe"].value_counts().sort_index()
    tally.order("openers", counted.index)
    for recipe, times in counted.items():
        tally.count(f"openings/{recipe}", times, "openings", f"times by {recipe}")
