"""First: what a sceptic has to know of the score, in one sentence, and what it was measured on."""

from pipeline.evaluation.leaderboard import HONEST, OPTIMISTIC
from pipeline.labels import LABELS
from pipeline.pages.markup import Html, details, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.words import explain_protocol
from pipeline.serving.card import DISCLAIMER

PARTS = ("train", "val", "test")


def render_claim(page: Marker) -> Html:
    """The sentence, the same recipe under other protocols, safety and gate."""
    recipe, protocol = page.list("subject")
    seeds: list[object] = [" (seeds: ", page.show("claim/seeds"), ")"]
    if "claim/spread" in page:
        seeds = [" ± ", page.show("claim/spread"), " over ", page.show("claim/seeds"), " seeds"]
    sentence = [
        tag("code", recipe),
        " under ",
        tag("code", protocol),
        ": macro-F1 ",
        tag("b", page.figure("claim/macro_f1")),
        *seeds,
        " on ",
        page.show("claim/n"),
        " test images in ",
        page.show("claim/groups"),
        " groups, ",
        page.show("claim/patients"),
        " known patients among them (",
        page.show("claim/with_patient"),
        " images). ",
        _say_optimism(page, protocol),
    ]
    return join(
        [
            tag("h1", page.show("recipe/title")),
            tag("p", prose(DISCLAIMER), class_="note warn"),
            tag(
                "div",
                tag("p", *sentence, class_="big"),
                tag("p", tag("b", "Safety: "), page.show("claim/safety"), "."),
                tag("p", tag("b", "Gate: "), page.show("claim/gate"), ".", _say_gate_then(page)),
                class_="claim",
            ),
            _tabulate_protocols(page),
            tag("p", page.show("recipe/description"), class_="small"),
        ]
    )


def _say_gate_then(page: Marker) -> Html:
    """The verdict that the model was trained behind, where collections have come or gone since."""
    key = "claim/gate_then"
    return join([" When it was trained: ", page.show(key), "."]) if key in page else join([])


def _say_optimism(page: Marker, protocol: str) -> Html:
    key = f"board/{protocol}/optimism"
    if key in page:
        words = ["On patients never seen the recipe scores ", page.show(f"board/{HONEST}/macro_f1")]
        return join([*words, ": optimism ", tag("b", page.figure(key)), "."])
    told = [
        join(
            [
                "the same recipe scores ",
                page.show(f"board/{claim}/macro_f1"),
                f" as {claim}: optimism ",
                tag("b", page.figure(f"board/{claim}/optimism")),
            ]
        )
        for claim in OPTIMISTIC
        if protocol == HONEST and f"board/{claim}/optimism" in page
    ]
    if told:
        return join(["On easier splits ", join(told, "; "), "."])
    return Html("How optimistic an easier split is cannot be said: the recipe lacks a score to compare with.")


def _tabulate_protocols(page: Marker) -> Html:
    rows = [
        (
            tag("code", protocol),
            page.cell(f"board/{protocol}/macro_f1"),
            page.cell(f"board/{protocol}/optimism"),
            page.show(f"board/{protocol}/n"),
            page.show(f"board/{protocol}/groups"),
        )
        for protocol in page.list("protocols")
    ]
    heads = ("protocol", "macro-F1", "optimism", "test images", "test groups")
    words = "Optimism: the score minus that under `patient`, same recipe, with an interval that draws groups."
    return join([table(heads, rows), tag("p", prose(words), class_="small")])


def render_data(page: Marker) -> Html:
    """Protocol in words, the parts by class, and where the collections come from."""
    _recipe, protocol = page.list("subject")
    heads = ("part", *LABELS, "all", "groups", "known patients")
    columns = (*LABELS, "all", "groups", "patients")
    rows = [(part, *(page.show(f"data/{part}/{column}") for column in columns)) for part in PARTS]
    return join(
        [
            tag("h2", "Data", id="data"),
            tag("p", tag("b", "Protocol "), tag("code", protocol), ". ", prose(explain_protocol(protocol))),
            table(heads, rows),
            tag(
                "p",
                prose("Images; under `published` files. Train and val are what training was given."),
                class_="small",
            ),
            *(_describe(page, name) for name in page.list("collections")),
        ]
    )


def _describe(page: Marker, name: str) -> Html:
    key = f"data/{name}"
    rows = [
        ("version", page.show(f"{key}/version")),
        ("licence as stated", page.show(f"{key}/licence")),
        ("files", page.show(f"{key}/files")),
        ("digest", page.name(f"{key}/digest")),
        ("cite as", page.show(f"{key}/citation")),
    ]
    body = tag("tbody", *(tag("tr", tag("th", words), tag("td", value)) for words, value in rows))
    return details(
        join([tag("code", name), ": ", page.show(f"{key}/title")]),
        tag("div", tag("table", body), class_="wide"),
    )
