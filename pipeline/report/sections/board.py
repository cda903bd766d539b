"""The board of the release report: every recipe under every protocol, each score beside its optimism."""

from collections.abc import Callable

from pipeline.pages.markup import Html, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.plots import plot_optimism
from pipeline.report.style import OTHER_COLOUR, PROTOCOL_COLOURS

Address = Callable[[str, str], str]
"""(recipe, protocol) -> relative address of the model report."""


def render_board(page: Marker, address: Address) -> Html:
    """Chart and table of recipes × protocols, each score beside its optimism."""
    places = [place.split("/", 1) for place in page.list("places")]
    protocols = {
        recipe: [protocol for one, protocol in places if one == recipe] for recipe in page.list("recipes")
    }
    named = list(dict.fromkeys(protocol for _, protocol in places))
    legend = [
        tag(
            "span",
            tag("i", "", style=f"background:{PROTOCOL_COLOURS.get(one, OTHER_COLOUR)}"),
            tag("code", one),
        )
        for one in named
    ]
    heads = (
        "recipe",
        "protocol",
        "macro-F1",
        "optimism",
        "accuracy",
        "missed tumours",
        "images",
        "groups",
        "seeds",
    )
    rows = [_tell_place(page, recipe, protocol, address) for recipe, protocol in places]
    words = (
        "Optimism: macro-F1 minus that under `patient`, same recipe; its interval draws "
        "whole groups of both test "
        "sets. Only scores under `patient` are ones to stand behind."
    )
    return join(
        [
            tag("h2", "What the split adds to the score", id="optimism"),
            tag("div", *legend, class_="legend"),
            tag(
                "div",
                plot_optimism(page, page.list("recipes"), lambda recipe: protocols[recipe]),
                class_="wide",
            ),
            _list_sentences(page, "optimism", "No recipe has a score under two protocols yet."),
            table(heads, rows, texts=2),
            tag("p", prose(words), class_="small"),
            tag("h3", "What the gate found"),
            tag("ul", *(tag("li", tag("code", one), ": ", page.show(f"gate/{one}")) for one in named)),
            tag("h3", "Does the split change which recipe is better?"),
            _list_sentences(page, "ranking", "No two recipes have scores under two protocols yet."),
        ]
    )


def _tell_place(page: Marker, recipe: str, protocol: str, address: Address) -> list[object]:
    key = f"board/{recipe}/{protocol}"
    spread = [tag("div", "± ", page.show(f"{key}/spread"), class_="ends")] if f"{key}/spread" in page else []
    numbers = (page.show(f"{key}/{column}") for column in ("accuracy", "miss_rate", "n", "groups", "seeds"))
    return [
        tag("a", recipe, href=address(recipe, protocol)),
        tag("code", protocol),
        join([page.cell(f"{key}/macro_f1"), *spread]),
        page.cell(f"{key}/optimism"),
        *numbers,
    ]


def _list_sentences(page: Marker, name: str, otherwise: str) -> Html:
    keys = page.list(name)
    return (
        tag("ul", *(tag("li", page.show(key)) for key in keys))
        if keys
        else tag("p", otherwise, class_="note")
    )
