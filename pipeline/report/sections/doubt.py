"""Does it know when it is wrong? Calibration, abstention, conformal sets, missed tumours, poorer images."""

from collections.abc import Mapping

from pipeline.evaluation.abstention import COVERAGES
from pipeline.evaluation.calibration import SCORES
from pipeline.labels import LABELS
from pipeline.pages.gallery import sheet
from pipeline.pages.markup import Html, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.plots import plot_reliability, plot_risk
from pipeline.report.style import AFTER, BEFORE

CALIBRATION = {
    "nll": "mean negative log-likelihood of the true class",
    "brier": "Brier score, 0 to 2",
    "ece": "expected calibration error, 15 bins",
}
SETS = {
    "coverage/all": "sets that hold the truth",
    "group_coverage/all": "the same, each group one voice",
    "groups_short/all": "groups covered less than 90 %",
    "set_size/all": "labels in a set, mean",
    "single_sets/all": "sets of one label",
    "empty_sets/all": "empty sets",
}


def render_calibration(page: Marker) -> Html:
    """Before and after temperature scaling."""
    rows = [
        (
            prose(words),
            *(page.cell(f"calibration/{score}_{state}") for state in ("before", "after", "change")),
        )
        for score, words in CALIBRATION.items()
        if score in SCORES
    ]
    fitted = [
        "Logits are divided by the temperature ",
        page.show("fit/temperature"),
        ", fitted on ",
        page.show("fit/n"),
        " val images in ",
        page.show("fit/groups"),
        " groups. Above ",
        prose("1"),
        " the model was too sure.",
    ]
    caption = join(
        [
            *(tag("span", "", class_="swatch", style=f"border-color:{BEFORE}"), "before "),
            *(tag("span", "", class_="swatch", style=f"border-color:{AFTER}"), "after. "),
            prose(
                "A point is a bin of confidence, larger for more images; on the dotted line it would be "
                "right as often as it says. Bins of few images jump."
            ),
        ]
    )
    return join(
        [
            tag("h2", "Calibration, before and after", id="calibration"),
            tag("p", *fitted),
            table(("", "before", "after", "change"), rows),
            tag(
                "p",
                prose(
                    "A change below 0 helped. ECE is biased upwards where bins are nearly empty; where it "
                    "and the Brier score disagree, believe the latter."
                ),
                class_="small",
            ),
            tag("div", tag("figure", plot_reliability(page), tag("figcaption", caption)), class_="charts"),
        ]
    )


def render_abstention(page: Marker) -> Html:
    """What declining to answer buys."""
    rows = [
        (prose(f"{100 * share:.0f} %"), page.cell(f"abstention/risk_at_{round(100 * share)}"))
        for share in COVERAGES
    ]
    words = "Surest answers first, by calibrated probability. Area under the curve: "
    return join(
        [
            tag("h2", "Risk against coverage", id="abstention"),
            tag("p", words, page.figure("abstention/aurc"), ", lower is better."),
            tag(
                "div",
                tag("figure", plot_risk(page)),
                table(("images answered", "wrong among them"), rows),
                class_="charts",
            ),
        ]
    )


def render_sets(page: Marker) -> Html:
    """Conformal sets: what cannot be excluded, nine times in ten."""
    rows = [(prose(words), page.cell(f"sets/{key}")) for key, words in SETS.items()]
    by_class = [
        (label, page.cell(f"sets/coverage/{label}"), page.cell(f"sets/set_size/{label}")) for label in LABELS
    ]
    words = (
        "For each image the labels that cannot be excluded; 90 % of the sets should hold "
        "the truth, for images "
        "that are exchangeable with val. Read the coverage by class and by group before "
        "relying on the overall one."
    )
    return join(
        [
            tag("h2", "Conformal sets", id="sets"),
            tag("p", prose(words)),
            tag("p", *_tell_threshold(page)),
            tag(
                "div",
                table(("all test images", ""), rows),
                table(("true class", "coverage", "labels in a set"), by_class),
                class_="charts",
            ),
        ]
    )


def _tell_threshold(page: Marker) -> list[object]:
    if page.document.facts["fit/conformal_threshold"].value is None:
        shown = page.show("fit/conformal_threshold")
        return ["Threshold: ", shown, ": val has too few images, nothing is excluded, every set is full."]
    threshold = page.show("fit/conformal_threshold")
    return [
        "A label is in the set where one minus its probability is at most ",
        threshold,
        ", fitted on val.",
    ]


def render_misses(page: Marker, pictures: Mapping[str, Html]) -> Html:
    """Tumours called no_tumor, the surest mistakes first, with their pictures."""
    figures = [
        tag(
            "figure",
            pictures.get(image_id, tag("div", "no picture here", class_="gone")),
            tag(
                "figcaption",
                *(
                    page.show(f"misses/{place}/label"),
                    Html("<br>"),
                    "no_tumor ",
                    page.show(f"misses/{place}/no_tumor"),
                ),
                *(
                    ", true class ",
                    page.show(f"misses/{place}/right"),
                    Html("<br>"),
                    page.show(f"misses/{place}/file"),
                ),
            ),
            class_="one",
        )
        for place, image_id in enumerate(page.list("misses"))
    ]
    counted = [
        page.show("misses/count"),
        " of ",
        page.show("misses/tumours"),
        " tumour images were called no_tumor; ",
        page.show("misses/shown"),
        " are shown, the surest mistakes first, each with the probability of no_tumor and of its true class.",
    ]
    return join([tag("h2", "Missed tumours", id="misses"), tag("p", *counted), sheet(figures)])


def render_mistakes(page: Marker) -> Html:
    """The groups that hold most wrong answers."""
    head = tag("h2", "Wrong answers by patient", id="mistakes")
    groups = page.list("mistakes")
    if not groups:
        return join([head, tag("p", "Every clean test image was answered rightly.")])
    counted = [
        page.show("mistakes/wrong"),
        " clean test images were answered wrongly, in ",
        page.show("mistakes/groups"),
        " of ",
        page.show("claim/groups"),
        " groups; those with most of them:",
    ]
    heads = ("group", "patient", "true class", "most often called", "images", "wrong", "of all wrong answers")
    fields = ("group", "patients", "label", "called", "images", "wrong", "share")
    rows = [tuple(page.show(f"mistakes/{place}/{field}") for field in fields) for place in range(len(groups))]
    words = (
        "Slices of one patient are often wrong together. Where a few patients hold most of the wrong "
        "answers, the score depends on who was drawn into the test part, which is what its interval says."
    )
    return join([head, tag("p", *counted), table(heads, rows), tag("p", prose(words), class_="note")])


def render_robustness(page: Marker) -> Html:
    """Poorer images: mean and worst accuracy, the class that goes first."""
    head = tag("h2", "Poorer images", id="robustness")
    kinds = page.list("degradations")
    if not kinds:
        words = "Not measured: degraded images are answered under `patient` alone."
        return join([head, tag("p", prose(words), class_="note")])
    heads = (
        "degradation",
        "accuracy, mean",
        "at its worst",
        "ECE",
        "ECE, scaled",
        "breaks first",
        "recall lost",
        "error against cnn3",
    )
    rows = [
        (
            kind.replace("_", " "),
            *(
                page.cell(f"robust/{kind}/{metric}")
                for metric in ("mean_accuracy", "worst_accuracy", "ece_before", "ece_after")
            ),
            page.show(f"robust/{kind}/first"),
            page.cell(f"robust/{kind}/drop"),
            page.cell(f"robust/{kind}/corruption_error"),
        )
        for kind in kinds
    ]
    words = (
        "Means over five severities; `all`: over the degradations, and of the worst "
        "accuracy the worst. Error "
        "against `cnn3`: errors divided by its errors, 1 is as good; – where it has not "
        "answered these images."
    )
    return join(
        [
            head,
            table(heads, rows),
            tag("p", prose(words), class_="small"),
        ]
    )
