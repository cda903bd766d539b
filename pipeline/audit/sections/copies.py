"""Fifth: how copies are told from neighbours: scores, the gap, the pairs nearest to the threshold."""

from collections.abc import Mapping, Sequence

from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Comparison, Facts, Pair, Scores
from pipeline.audit.plots import score_histogram
from pipeline.pages.charts import legend
from pipeline.pages.gallery import Gallery, Transform, sheet
from pipeline.pages.markup import Html, count, details, few, join, table, tag
from pipeline.pages.style import VERDICT_COLOURS

SHOWN = 24
LISTED = 500
VERDICT_WORDS = {
    "copy": "proven copy",
    "review": "grey band: never joined unless a person accepts it",
    "rejected": "rejected",
}
EVIDENCE_WORDS = {
    "aligned": "aligned local correlation",
    "ncc": "correlation of the thumbnails",
    "lncc": "local correlation of the thumbnails",
    "coarse": "a coarse alignment alone, given up early",
}
Transforms = Mapping[tuple[str, str], Transform]
LEGEND = "From left: first image, second image, the second laid over the first, what differs (×2)."


def render_copies(evidence: Evidence, facts: Facts, gallery: Gallery) -> Html:
    """The histogram, then the weakest accepted, the strongest rejected, and the grey band, as sheets.

    Pairs that were aligned come first; those that a quicker comparison already proved follow, folded.
    """
    found = facts.comparison
    columns = (evidence.pairs[name] for name in ("first", "second", "transform"))
    transforms = {(first, second): transform for first, second, transform in zip(*columns, strict=True)}
    parts = [tag("h2", "Copy or neighbour?", id="copies"), tag("p", _say_comparison(found))]
    if not found.scores:
        return join(parts)
    parts.append(legend({name: (VERDICT_COLOURS[name], words) for name, words in VERDICT_WORDS.items()}))
    first, *others = (_render_scores(one, transforms, gallery) for one in found.scores)
    parts += [first, _show_pairs("The grey band: for a person to decide", found.review, transforms, gallery)]
    parts.append(_list_review(found.review))
    for one, shown in zip(found.scores[1:], others, strict=True):
        parts.append(details(f"Pairs compared by {EVIDENCE_WORDS.get(one.evidence, one.evidence)}", shown))
    return join(parts)


def _render_scores(found: Scores, transforms: Transforms, gallery: Gallery) -> Html:
    words = EVIDENCE_WORDS.get(found.evidence, found.evidence)
    marks = {"strongest rejected": found.highest_rejected, "weakest copy": found.lowest_copy}
    return join(
        [
            tag("h3", f"Score by {words}"),
            tag("p", _say_scores(found)),
            score_histogram(found.histogram, marks),
            _show_pairs(
                "The weakest accepted pairs: are these copies?",
                found.nearest_copies,
                transforms,
                gallery,
                found.by_verdict.get("copy", 0),
            ),
            _show_pairs(
                "The strongest rejected pairs: are these different pictures?",
                found.nearest_rejected,
                transforms,
                gallery,
                found.by_verdict.get("rejected", 0),
            ),
        ]
    )


def _say_comparison(found: Comparison) -> str:
    if not found.pairs:
        return "No two images were alike enough to be compared closely."
    by = found.by_verdict
    return (
        f"{count(found.pairs)} pairs were compared closely: {count(by.get('copy', 0))} are proven copies, "
        f"{count(by.get('review', 0))} lie in the grey band and are not joined unless a person accepts them, "
        f"{count(by.get('rejected', 0))} are rejected." + _say_proofs(found)
    )


def _say_proofs(found: Comparison) -> str:
    """By what copies were proven: the histogram that stands open shows one kind alone."""
    proofs = [(one.by_verdict.get("copy", 0), one.evidence) for one in found.scores]
    told = [f"{EVIDENCE_WORDS.get(name, name)} {count(size)}" for size, name in proofs if size]
    return f" What proved the copies: {'; '.join(told)}." if len(told) > 1 else ""


def _say_scores(found: Scores) -> str:
    low, high = found.lowest_copy, found.highest_rejected
    if low is None or high is None:
        total = sum(found.by_verdict.values())
        return f"{count(total)} pairs, all of one kind: " + ", ".join(found.by_verdict) + "."
    if low > high:
        grey = f" In between lie the {count(found.by_verdict['review'])} pairs of the grey band."
        return f"The strongest rejected pair scores {high:.3f}, the weakest accepted {low:.3f}." + (
            grey if found.by_verdict.get("review") else " Nothing lies in between."
        )
    return (
        f"The strongest rejected pair scores {high:.3f}, above the weakest accepted with {low:.3f}: the "
        "score alone does not decide. Each pair names the rule that did."
    )


def _show_pairs(
    title: str, pairs: Sequence[Pair], transforms: Transforms, gallery: Gallery, total: int = 0
) -> Html:
    """Pairs as strips; `total`: how many there are, where `pairs` holds the nearest alone."""
    figures = [
        gallery.pair(one.first, one.second, transforms.get((one.first, one.second)), _caption(one))
        for one in pairs[:SHOWN]
    ]
    if not figures:
        return details(f"{title} (none)", tag("p", "There is none."))
    return details(
        f"{title} ({few(total or len(pairs), SHOWN, 'pair')}, nearest first)",
        tag("p", LEGEND, class_="small"),
        sheet(figures),
    )


def _caption(one: Pair) -> str:
    worst = f", worst block {one.worst:.2f}" if one.worst is not None else ""
    labels = f"{one.first_label or 'no label'} | {one.second_label or 'no label'}"
    return (
        f"{one.score:.3f} {one.evidence}{worst}: {one.first_file} | {one.second_file} ({labels}). {one.why}"
    )


def _list_review(pairs: Sequence[Pair]) -> Html:
    if not pairs:
        return Html("")
    lines = [
        (
            f"{one.score:.3f}", "–" if one.worst is None else f"{one.worst:.2f}", tag("code", one.first),
            tag("code", one.first_file), tag("code", one.second), tag("code", one.second_file),
            one.decision or "open",
        )
        for one in pairs[:LISTED]
    ]  # fmt: skip
    head = ("score", "worst block", "first", "", "second", "", "decision")
    note = tag(
        "p",
        "To decide a pair, add a line to the decision file: accept or reject, both ids, who, why. The next "
        "run reads it.",
        class_="small",
    )
    title = f"The review list ({few(len(pairs), LISTED, 'pair')}; all in audit.json)"
    return details(title, note, table(head, lines, texts=99))
