"""First: how many published test images are in training, and as what."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Facts, TestSet
from pipeline.audit.twins import TWIN_WORDS, TWINS, Twin, find_twins
from pipeline.digests import seed_for
from pipeline.pages.charts import legend, stacked_bars
from pipeline.pages.gallery import Gallery, sheet
from pipeline.pages.markup import Html, count, details, few, join, percent, table, tag
from pipeline.pages.style import TWIN_COLOURS
from pipeline.tables import list_rows

SHOWN = 10
LEGEND = "From left: test image, training image, training image laid over the test image, what differs."
WHOSE_WORDS = {"own": "own training", "any": "any training"}

Row = dict[Hashable, Any]


def render_headline(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """The sentence, the bars, each class, and sampled test images beside their twins."""
    whole = [one for one in facts.tests if one.label is None]
    if not whole:
        return join(
            [
                tag("h1", "No collection here publishes a test folder"),
                tag("p", "So no published score can be checked against its own training set.", class_="lead"),
            ]
        )
    either = [one for one in whole if one.whose == "any"]
    twins = {one.collection: find_twins(evidence.members, one.collection, "any") for one in either}
    return join(
        [
            _say_all(whole),
            legend({twin: (TWIN_COLOURS[twin], TWIN_WORDS[twin]) for twin in TWINS}),
            stacked_bars([_bar(one) for one in whole], TWIN_COLOURS, title="Published test images by twin"),
            _show_examples(max(either, key=lambda one: one.total), twins, gallery),
            tag("h3", "By class, against any training"),
            stacked_bars(
                [_bar(one) for one in facts.tests if one.label is not None and one.whose == "any"],
                TWIN_COLOURS,
                title="Published test images by class and twin",
            ),
            _tabulate(facts),
            *(
                _show_twins(twins[one.collection], gallery, one.collection, twin)
                for one in either
                for twin in TWINS
                if _count(one, twin)
            ),
        ]
    )


def _show_examples(one: TestSet, twins: Mapping[str, pd.DataFrame], gallery: Gallery) -> Html:
    """One test image of each kind of twin, open to the eye: drawn, not chosen."""
    drawn = {twin: _draw(twins[one.collection], one.collection, twin)[:1] for twin in TWINS[:-1]}
    figures = [
        _show_pair(row, twin, one.collection, gallery, tag("b", TWIN_WORDS[twin], Html("<br>")))
        for twin, rows in drawn.items()
        for row in rows
    ]
    if not figures:
        return Html("")
    words = f"One of each kind from {one.collection}, drawn by a hash, not chosen. {LEGEND}"
    return join([tag("h3", "What that looks like"), tag("p", words, class_="small"), sheet(figures)])


def _say_all(whole: list[TestSet]) -> Html:
    either = [one for one in whole if one.whose == "any"]
    total, found = sum(one.total for one in either), sum(one.in_training for one in either)
    same = sum(_count(one, twin) for one in either for twin in TWINS[:3])
    parts = [
        tag(
            "h1",
            f"Of {count(total)} published test images, {percent(found, total)} are in training",
        ),
        tag(
            "p",
            f"{count(same)} ({percent(same, total)}) as the very same picture, a further "
            f"{count(found - same)} by another slice of a patient who is in training. "
            "A score on these test sets measures memory as much as skill.",
            class_="lead",
        ),
        tag(
            "p",
            "In training: in the training folder of any collection here; the bars show the own one apart. "
            "How a copy is told from a neighbouring slice: ",
            tag("a", "copy or neighbour?", href="#copies"),
            class_="small",
        ),
    ]
    return join(parts)


def _bar(one: TestSet) -> tuple[str, dict[str, int], str]:
    name = f"{one.collection}, {one.label}" if one.label else f"{one.collection}, {WHOSE_WORDS[one.whose]}"
    counts = {str(twin): _count(one, twin) for twin in TWINS}
    return name, counts, f"{percent(one.in_training, one.total)} of {count(one.total)}"


def _count(one: TestSet, twin: Twin) -> int:
    return int(getattr(one, twin))


def _tabulate(facts: Facts) -> Html:
    rows = [
        (
            one.collection,
            one.whose,
            one.label or "all classes",
            count(one.total),
            *(count(_count(one, twin)) for twin in TWINS),
            percent(one.in_training, one.total),
        )
        for one in facts.tests
    ]
    heads = ("byte-identical", "re-encoded or re-scaled", "only mirrored or turned", "same patient", "none")
    head = ("test set", "against training", "class", "test files", *heads, "in training")
    note = tag(
        "p",
        "Each test file is counted once, under the strongest evidence. Unit: a file of a published test "
        "folder. Training: files of published training folders; files set aside count on neither side.",
        class_="small",
    )
    return details("The counts, for each class", table(head, rows, texts=3), note)


def _draw(twins: pd.DataFrame, collection: str, twin: Twin) -> list[Row]:
    """The test images of one kind, in the order of a hash of their paths."""
    rows = list_rows(twins[twins["twin"] == twin])
    return sorted(rows, key=lambda row: seed_for("audit", collection, row["path"]))


def _show_pair(row: Row, twin: Twin, collection: str, gallery: Gallery, head: Html) -> Html:
    """A test image beside the training image that proves its kind."""
    way = gallery.between(row["image_id"], row["twin_image"]) if twin != "same_patient" else None
    words = [
        *(head, tag("b", "test "), f"{collection}/{row['path']}", Html("<br>")),
        *(tag("b", "training "), f"{row['twin_collection']}/{row['twin_path']}"),
    ]
    return gallery.pair(row["image_id"], row["twin_image"], way, join(words))


def _show_twins(twins: pd.DataFrame, gallery: Gallery, collection: str, twin: Twin) -> Html:
    """Test images of one kind beside the training image that proves it."""
    rows = _draw(twins, collection, twin)
    shown = rows[:SHOWN] if twin != "none" else rows[: 3 * SHOWN]
    figures = [
        gallery.tile(row["image_id"], f"{row['path']}")
        if twin == "none"
        else _show_pair(row, twin, collection, gallery, Html(""))
        for row in shown
    ]
    words = {
        "none": "Test images without a known twin.",
        "same_patient": "Left: test image. Right: a training image of the same patient.",
    }.get(twin, LEGEND)
    title = f"{collection}: {TWIN_WORDS[twin]} ({few(len(rows), len(shown), 'test image')})"
    return details(title, tag("p", words, class_="small"), sheet(figures))
