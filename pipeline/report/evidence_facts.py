"""Facts beyond the scores: calibration, abstention, conformal sets, each collection, three classes apart."""

import numpy as np

from pipeline.evaluation.abstention import COVERAGES, trace_risk
from pipeline.evaluation.calibration import BINS, SCORES, bin_answers, calibrate
from pipeline.evaluation.evidence import EVIDENCE
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.predictions import read_answers
from pipeline.evaluation.subsets import COLLECTION, THREE_CLASS
from pipeline.evaluation.subsets import SCORES as PART_SCORES
from pipeline.labels import LABELS
from pipeline.report.facts import Tally, key_rows
from pipeline.report.sources import ModelSources

STATES = ("before", "after", "change")
RISKS = tuple(f"risk_at_{round(100 * coverage)}" for coverage in COVERAGES)
SETS = ("coverage", "group_coverage", "groups_short", "set_size", "single_sets", "empty_sets")


def add_evidence(tally: Tally, sources: ModelSources) -> None:
    """Everything that table `evidence` holds of the model, and the curves behind it."""
    rows = key_rows(sources.evidence, "subset", "metric", "class")
    place, fitted = f"predictions/{sources.place}", f"validations/{sources.place}"

    def figure(key: str, subset: str, metric: str, label: str = ALL) -> None:
        if (subset, metric, label) in rows:
            form = "+z.3f" if metric.endswith("_change") else ".3f"
            tally.figure(key, rows[subset, metric, label], place, EVIDENCE[metric], form)

    temperature = float(rows["val", "temperature", ALL]["value"])
    for name in ("temperature", "conformal_threshold"):
        row = rows["val", name, ALL]
        tally.number(f"fit/{name}", row["value"], fitted, EVIDENCE[name])
        tally.count("fit/n", row["n"], fitted, "val images")
        tally.count("fit/groups", row["groups"], fitted, "val groups")
    for score in SCORES:
        for state in STATES:
            figure(f"calibration/{score}_{state}", ALL, f"{score}_{state}")
    for metric in ("aurc", *RISKS):
        figure(f"abstention/{metric}", ALL, metric)
    for metric in SETS:
        figure(f"sets/{metric}/{ALL}", ALL, metric)
    for label in LABELS:
        for metric in ("coverage", "set_size"):
            figure(f"sets/{metric}/{label}", ALL, metric, label)
    subsets = [f"{COLLECTION}{name}" for name in sorted(sources.answers["collection"].unique())]
    subsets += [THREE_CLASS] if (sources.evidence["subset"] == THREE_CLASS).any() else []
    tally.order("subsets", subsets)
    for subset in subsets:
        for metric in PART_SCORES:
            figure(f"part/{subset}/{metric}", subset, metric)
        whole = rows[subset, "accuracy", ALL]
        tally.count(f"part/{subset}/n", whole["n"], place, "images of the part")
        tally.count(f"part/{subset}/groups", whole["groups"], place, "groups of the part")
        for truth in LABELS:
            for called in LABELS:
                figure(f"part/{subset}/{truth}/{called}", subset, f"called_{called}", truth)
    _add_curves(tally, sources, temperature)


def _add_curves(tally: Tally, sources: ModelSources, temperature: float) -> None:
    answers = read_answers(sources.answers)
    scaled = calibrate(answers, temperature)
    for state, shown in (("before", answers), ("after", scaled)):
        bins = bin_answers(shown)
        tally.curve(f"reliability/{state}", np.arange(BINS), bins.count, bins.confidence, bins.accuracy)
    tally.curve("risk", *trace_risk(scaled))
