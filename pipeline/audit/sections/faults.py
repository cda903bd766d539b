"""Fourth: contradicted labels, files set aside, images that are no brain MR slice."""

from collections import Counter
from itertools import groupby

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Conflict, Facts, Foreign
from pipeline.digests import seed_for
from pipeline.pages.gallery import Gallery, sheet
from pipeline.pages.markup import Html, count, details, few, join, table, tag
from pipeline.tables import list_rows

SHOWN = 24
LISTED = 1500
TILES = 20

KIND_WORDS = {
    "reference": "the reference gives the picture another label",
    "bytes": "files of the same bytes carry different labels",
    "copies": "copies of one picture carry different labels, and no reference decides",
}
FOREIGN_WORDS = {"ct": "CT"}


def render_conflicts(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """Contradicted labels: counts, a sheet, and every file."""
    rows = facts.conflicts
    parts = [tag("h2", "Contradicted labels", id="conflicts")]
    if not rows:
        return join([*parts, tag("p", "None: no picture carries two labels.", class_="good")])
    aside = sum(one.set_aside for one in rows)
    parts.append(
        tag(
            "p",
            f"Files whose label their own copies or the reference contradict: {count(len(rows))}. "
            f"Set aside from training under the protocol patient: {count(aside)}; resolved by a stated rule "
            f"and used: {count(len(rows) - aside)}.",
        )
    )
    return join([*parts, _count_conflicts(rows), _show_conflicts(rows, gallery), _list_conflicts(rows)])


def _count_conflicts(rows: list[Conflict]) -> Html:
    counts = Counter(
        (one.collection, one.kind, one.label or "none", one.reference_label or "–", one.set_aside)
        for one in rows
    )
    lines = [
        (name, KIND_WORDS.get(kind, kind), label, reference, "yes" if aside else "no", count(size))
        for (name, kind, label, reference, aside), size in sorted(
            counts.items(), key=lambda item: (-item[1], item[0])
        )
    ]
    head = ("collection", "what contradicts", "label there", "label of the reference", "set aside", "files")
    return table(head, lines, texts=5)


def _show_conflicts(rows: list[Conflict], gallery: Gallery) -> Html:
    proven = [one for one in rows if one.witness is not None]
    drawn = sorted(proven, key=lambda one: seed_for("audit", "conflict", one.collection, one.path))[:SHOWN]
    figures = [
        gallery.pair(
            one.image_id,
            one.witness or "",
            gallery.between(one.image_id, one.witness or ""),
            f"{one.collection}/{one.path}: “{one.label}” here, {_say_others(one)} there",
        )
        for one in drawn
    ]
    words = tag(
        "p",
        "From left: the file, the copy or reference slice that contradicts it, that one laid over the file, "
        "what differs.",
        class_="small",
    )
    return details(
        f"Contradicted files beside what contradicts them ({few(len(proven), SHOWN, 'file')})",
        words,
        sheet(figures),
    )


def _say_others(one: Conflict) -> str:
    if one.reference_label:
        return f"“{one.reference_label}”"
    return " or ".join(f"“{label}”" for label in one.labels if label != one.label) or "another"


def _list_conflicts(rows: list[Conflict]) -> Html:
    lines = [
        (
            tag("code", f"{one.collection}/{one.path}"), one.label, ", ".join(one.labels),
            one.reference_label or "–", one.resolved or "nothing", one.rule,
        )
        for one in rows[:LISTED]
    ]  # fmt: skip
    head = ("file", "label there", "labels of the picture", "reference", "resolved to", "rule")
    return details(
        f"By file ({few(len(rows), LISTED, 'file')}; all in audit.json)", table(head, lines, texts=6)
    )


def render_aside(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """Files set aside by reason, with pictures where there are some, and foreign images by kind."""
    parts = [tag("h2", "Set aside", id="aside")]
    if facts.aside:
        lines = [(one.reason, one.meaning, one.collection, count(one.files)) for one in facts.aside]
        parts.append(table(("reason", "what it means", "collection", "files"), lines, texts=3))
        parts += _show_aside(evidence, gallery)
    else:
        parts.append(tag("p", "No file is set aside."))
    parts.append(tag("h3", "Images that do not look like a brain MR slice"))
    if not facts.foreign:
        return join([*parts, tag("p", "None was found by the statistics of the scan.")])
    counts = Counter((one.kind, one.collection, one.kept) for one in facts.foreign)
    lines = [
        (FOREIGN_WORDS.get(kind, kind), name, "kept by a decision" if kept else "set aside", count(size))
        for (kind, name, kept), size in sorted(counts.items())
    ]
    parts.append(table(("looks like", "collection", "verdict", "images"), lines, texts=3))
    for kind, rows in groupby(sorted(facts.foreign, key=lambda one: one.kind), key=lambda one: one.kind):
        parts.append(_show_foreign(kind, list(rows), gallery))
    return join(parts)


def _show_foreign(kind: str, rows: list[Foreign], gallery: Gallery) -> Html:
    drawn = sorted(rows, key=lambda one: seed_for("audit", "foreign", one.image_id))[: 2 * TILES]
    figures = (gallery.tile(one.image_id, f"{one.collection}/{one.path}") for one in drawn)
    lines = [(tag("code", f"{one.collection}/{one.path}"), one.detail) for one in rows[:LISTED]]
    listed = details(
        f"What was measured ({few(len(rows), LISTED, 'image')})", table(("file", "found"), lines, texts=2)
    )
    return details(
        f"{FOREIGN_WORDS.get(kind, kind)} ({few(len(rows), 2 * TILES, 'image')})", sheet(figures), listed
    )


def _show_aside(evidence: Evidence, gallery: Gallery) -> list[Html]:
    """One gallery a reason: tiles for what could be decoded, a list for the rest."""
    digests = evidence.files.set_index(["collection", "path"])["md5"]
    parts = []
    for reason, rows in evidence.quarantine.sort_values(["reason", "collection", "path"]).groupby("reason"):
        found = [(digests.get((row["collection"], row["path"])), row) for row in list_rows(rows)]
        seen = [(md5, row) for md5, row in found if md5 in gallery]
        unseen = [row for md5, row in found if md5 not in gallery]
        seen = sorted(seen, key=lambda item: seed_for("audit", "aside", item[1]["path"]))[:TILES]
        tiles = [
            gallery.tile(md5, f"{row['collection']}/{row['path']}: {row['detail']}") for md5, row in seen
        ]
        lines = [(tag("code", f"{row['collection']}/{row['path']}"), row["detail"]) for row in unseen[:TILES]]
        shown = [sheet(tiles)] if tiles else []
        shown += [table(("file without a picture", "what was found"), lines, texts=2)] if lines else []
        parts.append(details(f"{reason} ({few(len(found), len(tiles) + len(lines), 'file')})", *shown))
    return parts
