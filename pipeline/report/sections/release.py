"""The parts of the release report around its board: champion, candidates, contests, audit, openings."""

from pipeline.pages.markup import Html, details, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.words import LIMITS, LOST
from pipeline.serving.card import DISCLAIMER


def render_release_claim(page: Marker) -> Html:
    """The champion, its score on patients never seen, and why it was chosen."""
    champion = next(iter(page.list("champion")), None)
    if champion is None:
        head = tag("h1", "No model is released")
        body = tag("p", "No candidate passed: the table below says why, one by one.")
    else:
        key = next(iter(page.list("champion_score")), None)
        head = tag("h1", "Released: ", champion)
        score = (
            join(
                [
                    "macro-F1 ",
                    tag("b", page.figure(f"{key}/macro_f1")),
                    " on ",
                    page.show(f"{key}/n"),
                    " test images in ",
                    page.show(f"{key}/groups"),
                    " groups of patients and pictures never seen",
                ]
            )
            if key
            else LOST
        )
        why = f"release/{page.list('champion')[1]}/why"
        body = join(
            [
                tag(
                    "p",
                    tag("code", champion),
                    ": ",
                    score,
                    ". ",
                    *(_say_claims(page, champion) if key else ()),
                    class_="big",
                ),
                tag("p", tag("b", "Why this one: "), page.show(why), ".") if why in page else "",
                tag("p", "The choice is made on val; the test part has no say.", class_="small"),
            ]
        )
    return join([head, tag("p", prose(DISCLAIMER), class_="note warn"), tag("div", body, class_="claim")])


def _say_claims(page: Marker, recipe: str) -> list[object]:
    said: list[object] = []
    for protocol in ("published", "stratified"):
        key = f"board/{recipe}/{protocol}"
        if f"{key}/optimism" in page:
            said += [
                f"As {protocol}: ",
                page.show(f"{key}/macro_f1"),
                ", optimism ",
                page.figure(f"{key}/optimism"),
                ". ",
            ]
    return said


def render_candidates(page: Marker) -> Html:
    """Table `release`, every column, beside macro-F1 counted again from the exam."""
    columns = page.list("columns")
    heads = ("candidate", "macro-F1 on the exam", *(column.replace("_", " ") for column in columns))
    rows = [
        (
            tag("code", recipe),
            page.cell(f"val/{model}/macro_f1"),
            *(page.show(f"release/{place}/{column}") for column in columns),
        )
        for place, (recipe, model) in enumerate(
            zip(page.list("candidates"), page.list("models_weighed"), strict=True)
        )
    ]
    return join([tag("h2", "Candidates", id="candidates"), table(heads, rows, texts=99)])


def render_contests(page: Marker) -> Html:
    """Every two recipes on the same groups."""
    keys = page.list("contests")
    head = tag("h2", "Which recipes really differ", id="contests")
    if not keys:
        return join([head, tag("p", "No two recipes were tested on the same images yet.", class_="note")])
    words = (
        "10,000 draws of the same groups for both. Intervals are of one pair each: of many "
        "pairs some differ by "
        "chance. Where the interval holds 0, other patients may turn it round."
    )
    protocols = list(dict.fromkeys(key.split("/")[0] for key in keys))
    tables = [
        details(
            join(["Under ", tag("code", protocol)]),
            _tabulate_contests(page, [key for key in keys if key.split("/")[0] == protocol]),
            open_=protocol == "patient",
        )
        for protocol in protocols
    ]
    return join([head, *tables, tag("p", prose(words), class_="small")])


def _tabulate_contests(page: Marker, keys: list[str]) -> Html:
    rows = []
    for name in keys:
        _protocol, first, second = name.split("/")
        key = f"contest/{name}"
        above = page.show(f"{key}/above") if f"{key}/above" in page else ""
        shown = (page.cell(f"{key}/difference"), above, page.show(f"{key}/n"), page.show(f"{key}/groups"))
        rows.append((tag("code", first), tag("code", second), *shown))
    heads = ("first", "second", "macro-F1, difference", "draws won by the first", "images", "groups")
    return table(heads, rows, texts=2)


def render_release_robustness(page: Marker) -> Html:
    """All models on poorer images."""
    head = tag("h2", "Poorer images", id="robustness")
    names = page.list("models")
    if not names:
        return join([head, tag("p", "No model has answered degraded images yet.", class_="note")])
    heads = (
        "recipe",
        "seed",
        "accuracy, mean",
        "at its worst",
        "under",
        "breaks first",
        "recall lost",
        "ECE, scaled",
        "mCE",
    )
    rows = [
        (
            tag("code", name.rsplit("/", 1)[0]),
            page.show(f"robust/{name}/seed"),
            page.cell(f"robust/{name}/mean_accuracy"),
            page.cell(f"robust/{name}/worst_accuracy"),
            page.show(f"robust/{name}/kind"),
            page.show(f"robust/{name}/first"),
            page.cell(f"robust/{name}/drop"),
            page.cell(f"robust/{name}/ece_after"),
            page.cell(f"robust/{name}/corruption_error"),
        )
        for name in names
    ]
    words = (
        "Under `patient`, over all degradations and five severities. mCE: errors divided by "
        "those of `cnn3` on the "
        "same images; empty where it has not answered them."
    )
    return join([head, table(heads, rows), tag("p", prose(words), class_="small")])


def render_audit_headline(page: Marker) -> Html:
    """What share of published test images has a twin in training."""
    head = tag("h2", "Why published scores flatter", id="audit")
    if not page.list("tests"):
        return join([head, tag("p", "No collection here publishes a test folder.", class_="note")])
    said = [
        "Of ",
        page.show("audit/total"),
        " published test images ",
        tag("b", page.show("audit/share")),
        " (",
        page.show("audit/found"),
        ") have a twin in a training folder of a collection here.",
    ]
    measures = ("any_twin", "byte_identical", "same_picture", "same_picture_only_mirrored", "same_patient")
    heads = (
        "test set",
        "test images",
        "with a twin in its own training",
        "share",
        "the same bytes",
        "the same picture",
        "of these only mirrored or turned",
        "the same patient",
    )
    rows = [
        (
            tag("code", name),
            page.show(f"audit/{name}/test_files"),
            page.show(f"audit/{name}/{measures[0]}"),
            page.show(f"audit/{name}/share"),
            *(page.show(f"audit/{name}/{measure}") for measure in measures[1:]),
        )
        for name in page.list("tests")
    ]
    more = tag(
        "p", "The evidence, with pictures: ", tag("a", "audit", href="audit.html"), ".", class_="small"
    )
    return join([head, tag("p", *said), table(heads, rows), more])


def render_openings(page: Marker) -> Html:
    """How often the test part of `patient` was looked at."""
    said = [
        "The test part of ",
        tag("code", "patient"),
        " was opened: ",
        tag("b", page.show("openings/count")),
        ".",
    ]
    rows = [(tag("code", recipe), page.show(f"openings/{recipe}")) for recipe in page.list("openers")]
    words = (
        "Each look at a test part makes the next score on it a little less honest; so every look is counted."
    )
    return join(
        [
            tag("h2", "How often the test part was opened", id="openings"),
            tag("p", *said),
            details("By recipe", table(("recipe", "times"), rows)) if rows else "",
            tag("p", words, class_="small"),
        ]
    )


def render_release_limits() -> Html:
    """What to distrust."""
    return join(
        [
            tag("h2", "Limits", id="limits"),
            tag("ul", *(tag("li", prose(one)) for one in LIMITS), class_="small"),
        ]
    )
