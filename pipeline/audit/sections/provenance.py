"""Second and third: where everything comes from, who holds the same pictures, what each label means."""

from collections.abc import Sequence

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import CollectionFact, Facts, Shared
from pipeline.audit.sankey import SHARED, draw_flow
from pipeline.digests import seed_for
from pipeline.labels import LABELS
from pipeline.pages.gallery import Gallery, sheet
from pipeline.pages.markup import Html, count, details, join, percent, table, tag
from pipeline.tables import list_rows

EXAMPLES = 8
LARGEST = 3
COPIES = 10

_SAFETY_WORDS = {
    "patient": "a known patient: split by patient",
    "picture": "several images of one picture, patient unknown: split by picture",
    "image": "neither: a picture shown once, patient unknown",
}


def render_flow(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """The flow figure, its table, what the groups are known by, and the most copied pictures."""
    head = (
        "collection", "files", "set aside", "distinct images", "distinct pictures", "of these elsewhere too",
        "images with a patient", "patients", "pictures of unknown patients",
    )  # fmt: skip
    rows = [
        (
            one.collection, count(one.files), count(one.set_aside), count(one.images), count(one.pictures),
            f"{count(one.pictures_elsewhere)} ({percent(one.pictures_elsewhere, one.pictures)})",
            f"{count(one.with_patient)} ({percent(one.with_patient, one.images)})", count(one.patients),
            count(one.pictures_unknown),
        )
        for one in facts.flow
    ]  # fmt: skip
    total = sum(facts.safety.values())
    known = [(_SAFETY_WORDS[name], count(size), percent(size, total)) for name, size in facts.safety.items()]
    return join(
        [
            tag("h2", "From files to patients", id="flow"),
            draw_flow(facts.flow, _count_images(evidence), _count_pictures(evidence)),
            table(head, rows),
            tag("h3", "What keeps images together in a split"),
            table(("the group is known by", "images", "share"), known),
            tag(
                "p",
                "Images of unknown patients are never counted as patients: two of them may show one person.",
                class_="note",
            ),
            *_show_most_copied(evidence, gallery),
            _show_boxes(evidence, gallery),
            tag("h3", "Which collections hold the same pictures"),
            _draw_matrix(facts.shared, facts),
            tag(
                "p",
                "A cell: pictures of the row that the column shows too, and their share of the row; below, "
                "how many of them no two files of the two show in one orientation (mirrored or turned). The "
                "data say what is shared, not who copied.",
                class_="small",
            ),
        ]
    )


def _count_images(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Collection -> images whose picture it alone shows, and others; by canonical collection."""
    homes = evidence.members.groupby("picture_id")["collection"].nunique()
    several = set(homes.index[homes > 1])
    shown = evidence.images.merge(evidence.pictures[["image_id", "picture_id"]], on="image_id")
    also = shown["picture_id"].isin(several)
    return {
        name: (int((own & ~also).sum()), int((own & also).sum()))
        for name in evidence.names
        for own in [shown["collection"] == name]
    }


def _count_pictures(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Collection, or `shared` -> pictures that it alone shows, with a known patient and without."""
    by_picture = evidence.members.groupby("picture_id")
    several = by_picture["collection"].nunique() > 1
    home = by_picture["collection"].min().mask(several, SHARED)
    known = by_picture["patient_id"].count() > 0
    return {
        name: (int((own & known).sum()), int((own & ~known).sum()))
        for name in (SHARED, *evidence.names)
        for own in [home == name]
    }


def _draw_matrix(shared: Sequence[Shared], facts: Facts) -> Html:
    pictures = {one.collection: one.pictures for one in facts.flow}
    found = {frozenset((one.first, one.second)): one for one in shared}
    names = [one.name for one in facts.collections]
    lines = []
    for row in names:
        cells = [tag("th", row)]
        for column in names:
            one = found.get(frozenset((row, column)))
            if one is None:
                cells.append(tag("td", count(pictures[row]), class_="n small"))
                continue
            share = one.pictures / pictures[row] if pictures[row] else 0
            words = [f"{count(one.pictures)} ({percent(one.pictures, pictures[row])})"]
            words += [Html("<br>"), tag("span", f"{count(one.turned)} only turned", class_="small")]
            paper = f"padding-left:8px;background:rgba(194,69,45,{round(0.5 * share, 2)})"
            cells.append(tag("td", *words, class_="n", style=paper))
        lines.append(tag("tr", *cells))
    head = tag("tr", tag("th", "pictures of ↓ also in →"), *(tag("th", name, class_="n") for name in names))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *lines)), class_="wide matrix")


def _show_most_copied(evidence: Evidence, gallery: Gallery) -> list[Html]:
    sizes = evidence.pictures.groupby("picture_id").size()
    most = sorted(sizes.items(), key=lambda item: (-item[1], str(item[0])))[:LARGEST]
    rows = evidence.pictures.merge(evidence.images[["image_id", "collection", "path"]], on="image_id")
    parts = []
    for picture, size in most:
        own = list_rows(rows[rows["picture_id"] == picture].sort_values("image_id").head(COPIES))
        if size > 1:
            figures = [gallery.tile(row["image_id"], f"{row['collection']}/{row['path']}") for row in own]
            parts.append(figures)
    if not parts:
        return []
    words = f"The most copied pictures (up to {count(most[0][1])} images with other bytes show one picture)"
    return [details(words, *(sheet(figures) for figures in parts))]


def _show_boxes(evidence: Evidence, gallery: Gallery) -> Html:
    """Copies of reference slices with the tumour's box as it was mapped, beside the slice with its own."""
    boxes = evidence.patients[evidence.patients["box_x"].notna()].set_index("image_id")
    copies = boxes[(boxes["source"] == "copy") & boxes["reference_id"].isin(boxes.index)]
    chosen = sorted(copies.index, key=lambda one: seed_for("audit", "boxes", one))[: 2 * EXAMPLES]
    if not chosen:
        return Html("")
    columns = ["box_x", "box_y", "box_w", "box_h"]
    figures = [
        gallery.boxed(
            [(name, tuple(boxes.loc[name, columns])) for name in (boxes.loc[one, "reference_id"], one)],
            f"{boxes.loc[one, 'patient_id']}",
        )
        for one in chosen
    ]
    words = (
        "Left: reference slice with its tumour's box. Right: a copy, with the patient and box it inherits."
    )
    title = f"Patients and boxes that copies inherit ({len(chosen):,} of {len(copies):,} copies)"
    return details(title, tag("p", words, class_="small"), sheet(figures))


def render_collections(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """Version, licence, citation and source of each collection, the label map, examples of each class."""
    absent = [name for name in evidence.collections if name not in evidence.names]
    return join(
        [
            tag("h2", "Collections", id="collections"),
            *(_describe(one) for one in facts.collections),
            tag("p", f"In the catalog, but not here: {', '.join(absent)}." if absent else "", class_="small"),
            tag("h3", "Label map"),
            table(("our label", *(one.name for one in facts.collections)), _map_labels(facts), texts=99),
            *(_show_classes(evidence, gallery, name) for name in evidence.names),
        ]
    )


def _describe(one: CollectionFact) -> Html:
    passing = {"yes": "may be passed on", "no": "may not be passed on"}.get(
        one.redistribute, "not known whether it may be passed on: pixels stay here"
    )
    rows = [
        (
            "source",
            tag("a", one.address, href=one.address) if one.address.startswith("https://") else one.address,
        ),
        ("version", one.version),
        ("measured", f"{count(one.files)} files, {count(one.bytes)} bytes"),
        ("digest", tag("code", one.digest or "not locked")),
        ("licence as stated", f"{one.licence} ({passing})"),
        ("cite as", one.citation),
    ]
    title = f"{one.title} ({one.name}{', reference: names patients' if one.reference else ''})"
    body = tag("tbody", *(tag("tr", tag("th", name), tag("td", value)) for name, value in rows))
    return join([tag("h3", title), tag("p", one.description, class_="small"), tag("table", body)])


def _map_labels(facts: Facts) -> list[list[str]]:
    rows = []
    for label in LABELS:
        spelled = (
            ", ".join(f"“{there}”" for there, ours in one.labels.items() if ours == label) or "–"
            for one in facts.collections
        )
        rows.append([label, *spelled])
    return rows


def _show_classes(evidence: Evidence, gallery: Gallery, name: str) -> Html:
    members = evidence.members[evidence.members["collection"] == name].drop_duplicates("image_id")
    parts: list[Html] = []
    for label in LABELS:
        rows = list_rows(members[members["label"] == label])
        if rows:
            rows = sorted(rows, key=lambda row: seed_for("audit", "class", row["image_id"]))[:EXAMPLES]
            parts += [tag("h3", label), sheet(gallery.tile(row["image_id"], row["path"]) for row in rows)]
    return details(f"{name}: {EXAMPLES} images of each class, drawn by a hash", *parts)
