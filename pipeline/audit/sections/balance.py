"""Eighth: what each protocol trains and tests on, and what crosses its border."""

from collections import defaultdict
from itertools import groupby

from pipeline.audit.balance import FOLD
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Cell, Facts
from pipeline.digests import seed_for
from pipeline.labels import LABELS
from pipeline.pages.gallery import Gallery, sheet
from pipeline.pages.markup import Html, count, details, join, percent, table, tag
from pipeline.tables import list_rows

EXAMPLES = 8
PROTOCOL_ORDER = ("published", "stratified", "patient")  # then external ones, then the folds
ORDER = {"train": 0, "val": 1, "test": 2, "left_out": 3}


def render_splits(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """What crosses each protocol, then part × label for each, then collections, patients and examples."""
    parts = [
        tag("h2", "Splits", id="splits"),
        tag("h3", "What lies on both sides"),
        _tabulate_crossings(facts),
        tag(
            "p",
            "Recounted here from pictures and patients. Only known patients can be counted; what is unknown "
            "may still cross.",
            class_="note",
        ),
    ]
    ordered = sorted(facts.cells, key=lambda one: _place(one.protocol))
    for protocol, cells in groupby(ordered, key=lambda one: one.protocol):
        parts.append(_render_protocol(protocol, list(cells), facts))
    parts.append(_show_examples(evidence, gallery))
    return join(parts)


def _tabulate_crossings(facts: Facts) -> Html:
    rows = []
    for one in sorted(facts.crossings, key=lambda one: _place(one.protocol)):
        good = "good" if not one.affected else "bad"
        share = f"{count(one.affected)} ({percent(one.affected, one.test)})"
        rows.append(
            (
                _name(one.protocol), count(one.test), count(one.images), count(one.pictures),
                count(one.patients), tag("b", share, class_=good),
            )
        )  # fmt: skip
    crossing = (f"{what} on both sides" for what in ("images", "pictures", "known patients"))
    head = ("protocol", "test rows", *crossing, "test rows that share one")
    return table(head, rows)


def _place(protocol: str) -> tuple[int, str]:
    known = PROTOCOL_ORDER.index(protocol) if protocol in PROTOCOL_ORDER else len(PROTOCOL_ORDER)
    return known + (protocol == FOLD), protocol


def _name(protocol: str) -> str:
    return "five folds" if protocol == FOLD else protocol


def _render_protocol(protocol: str, cells: list[Cell], facts: Facts) -> Html:
    names = sorted({one.part for one in cells}, key=lambda part: (ORDER.get(part, 0), part))
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in cells:
        sums[one.part, one.label][0] += one.rows
        sums[one.part, one.label][1] += one.trained
    totals = {label: sum(sums[part, label][0] for part in names) for label in LABELS}
    rows = [
        (
            label,
            *(
                f"{count(sums[part, label][0])} ({percent(sums[part, label][0], totals[label])})"
                for part in names
            ),
        )
        for label in LABELS
    ]  # fmt: skip
    unit = "files" if protocol == "published" else "images"
    heads = (f"fold {part}" if protocol == FOLD else part.replace("_", " ") for part in names)
    left = [(one.why, count(one.rows)) for one in facts.left_out if one.protocol == protocol]
    head = (
        "class", "collection", "part", unit, "one a picture", "pictures", "known patients", "groups",
    )  # fmt: skip
    detailed = [
        (
            one.label, one.collection, one.part.replace("_", " "), count(one.rows), count(one.trained),
            count(one.pictures), count(one.patients), count(one.groups),
        )
        for one in sorted(
            cells, key=lambda one: (LABELS.index(one.label), one.collection, names.index(one.part))
        )
    ]  # fmt: skip
    return join(
        [
            tag("h3", f"{_name(protocol)}: {unit}, and their share of the class"),
            table(("class", *heads), rows),
            details(
                "By class, collection and part: pictures, patients, groups",
                table(head, detailed, texts=3),
            ),
            details("Left out, and why", table(("rule", "rows"), left)) if left else "",
        ]
    )  # fmt: skip


def _show_examples(evidence: Evidence, gallery: Gallery) -> Html:
    split = evidence.splits.get("patient")
    if split is None:
        return Html("")
    parts: list[Html] = []
    for label in LABELS:
        rows = list_rows(split[(split["split"] == "test") & (split["label"] == label)])
        rows = sorted(rows, key=lambda row: seed_for("audit", "test", row["image_id"]))[:EXAMPLES]
        figures = (gallery.tile(row["image_id"], f"{row['collection']}/{row['path']}") for row in rows)
        parts += [tag("h3", label), sheet(figures)]
    return details("Test images under patient, drawn by a hash", *parts)
