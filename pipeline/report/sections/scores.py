"""The scores: every metric by class, what was called what, ROC, each collection and three classes apart."""

from pipeline.evaluation.subsets import COLLECTION
from pipeline.evaluation.subsets import SCORES as PART_SCORES
from pipeline.labels import LABELS, TUMOURS
from pipeline.pages.markup import Html, details, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.plots import plot_roc
from pipeline.report.style import CLASS_COLOURS

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "precision", "recall", "f1", "roc_auc", "miss_rate")
WORDS = {"macro_f1": "macro-F1", "f1": "F1", "roc_auc": "ROC-AUC", "miss_rate": "missed tumours"}
INTERVAL = "Brackets: 95 % percentile intervals of 2,000 draws of whole groups. –: not defined."


def render_scores(page: Marker) -> Html:
    """Metrics with intervals, confusion counts, ROC."""
    rows = [
        (_word(metric), *(page.cell(f"metric/{metric}/{label}") for label in ("all", *LABELS)))
        for metric in METRICS
    ]
    several = (
        tag(
            "p",
            "Shown from here on: seed ",
            page.show("claim/seed"),
            "; the other seeds are in MLflow.",
            class_="note",
        )
        if "claim/seed" in page
        else ""
    )
    return join(
        [
            tag("h2", "Scores on test", id="scores"),
            several,
            table(("metric", "all", *LABELS), rows),
            tag("p", prose(INTERVAL), class_="small"),
            tag("h3", "What was called what"),
            _tabulate_confusion(page),
            tag("h3", "ROC, each class against the rest"),
            tag("div", tag("figure", plot_roc(page, LABELS)), _list_areas(page), class_="charts"),
        ]
    )


def _word(metric: str) -> str:
    return WORDS.get(metric, metric.replace("_", " "))


def _tabulate_confusion(page: Marker) -> Html:
    lines = []
    for truth in LABELS:
        total = float(page.document.facts[f"confusion/{truth}/images"].value or 0)
        cells = [tag("th", truth)]
        for called in LABELS:
            key = f"confusion/{truth}/{called}"
            share = float(page.document.facts[key].value or 0) / total if total else 0.0
            paper = f"background:rgba(var(--shade),{round(0.75 * share, 2)})"
            edge = ";outline:1px solid #c2452d" if truth in TUMOURS and called == "no_tumor" else ""
            cells.append(tag("td", page.show(key), class_="cell", style=paper + edge))
        cells.append(tag("td", page.show(f"confusion/{truth}/images"), class_="cell"))
        lines.append(tag("tr", *cells))
    heads = [
        tag("th", "true class ↓ called →"),
        *(tag("th", label, class_="n") for label in (*LABELS, "images")),
    ]
    inner = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))
    note = tag("p", "Framed: tumours that were called no_tumor.", class_="small")
    return join([tag("div", inner, class_="wide"), note])


def _list_areas(page: Marker) -> Html:
    rows = [
        (
            join([tag("span", "", class_="swatch", style=f"border-color:{CLASS_COLOURS[label]}"), label]),
            page.cell(f"metric/roc_auc/{label}"),
        )
        for label in LABELS
    ]
    return table(("class", "area under the curve"), rows)


def render_parts(page: Marker) -> Html:
    """Each collection by itself; the three tumours without `no_tumor`."""
    heads = ("part", *(_word(score) for score in PART_SCORES), "images", "groups")
    rows = [
        (
            _name(subset),
            *(page.cell(f"part/{subset}/{score}") for score in PART_SCORES),
            page.show(f"part/{subset}/n"),
            page.show(f"part/{subset}/groups"),
        )
        for subset in page.list("subsets")
    ]
    words = (
        "A class that all comes from one collection is recognised by its scanner; here it "
        "shows. `three_class`: "
        "images of a tumour alone, with the probability of `no_tumor` taken out."
    )
    return join(
        [
            tag("h2", "Part by part", id="parts"),
            table(heads, rows),
            tag("p", prose(words), class_="small"),
            *(_tabulate_part(page, subset) for subset in page.list("subsets")),
        ]
    )


def _name(subset: str) -> Html:
    return tag("code", subset.removeprefix(COLLECTION))


def _tabulate_part(page: Marker, subset: str) -> Html:
    rows = [
        (truth, *(page.cell(f"part/{subset}/{truth}/{called}") for called in LABELS))
        for truth in LABELS
        if any(f"part/{subset}/{truth}/{called}" in page for called in LABELS)
    ]
    heads = ("true class ↓ share called →", *LABELS)
    return details(
        join([_name(subset), ": what was called what, as shares of the true class"]), table(heads, rows)
    )
