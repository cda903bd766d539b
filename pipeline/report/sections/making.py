"""Last: how it was made, what the packaged model promises, the card, and what to distrust."""

from pipeline.pages.markup import Html, details, join, table, tag
from pipeline.report.marks import Marker, prose
from pipeline.report.plots import plot_history
from pipeline.report.style import AFTER, BEFORE
from pipeline.report.words import LIMITS


def render_training(page: Marker) -> Html:
    """Curves, counts and the whole recipe."""
    said = [
        "Best of ",
        page.show("training/epochs"),
        " epochs: ",
        page.show("training/best_epoch"),
        ", by ",
        page.show("training/monitor"),
        " (",
        page.show("training/monitor_value"),
        "). ",
        page.show("training/n_train"),
        " training and ",
        page.show("training/n_val"),
        " val images; ",
        page.show("training/parameters"),
        " parameters, ",
        page.show("training/trainable"),
        " of them trained; ",
        page.show("training/device"),
        ".",
    ]
    caption = join(
        [
            *(_swatch("#8a959b"), "loss on train "),
            *(_swatch(AFTER), "loss on val "),
            *(_swatch(BEFORE), "macro-F1 on val. "),
            *("Losses are drawn as shares of the highest, ", page.show("training/highest_loss"), "."),
        ]
    )
    return join(
        [
            tag("h2", "Training", id="training"),
            tag("p", *said),
            tag("div", tag("figure", plot_history(page), tag("figcaption", caption)), class_="charts"),
            details("The recipe, every field", page.block("recipe/text")),
        ]
    )


def _swatch(colour: str) -> Html:
    return tag("span", "", class_="swatch", style=f"border-color:{colour}")


def render_contract(page: Marker) -> Html:
    """What the packaged model takes and gives; it enforces this itself."""
    rows: list[tuple[object, object]] = [
        (
            "input",
            join(
                [
                    page.show("contract/size"),
                    " × ",
                    page.show("contract/size"),
                    " pixels, channels ",
                    page.show("contract/channels"),
                    ", scale ",
                    page.show("contract/normalise"),
                ]
            ),
        ),
        ("answers, in order", ", ".join(page.list("classes"))),
    ]
    if "contract/temperature" in page:
        rows.append(("logits are divided by", page.show("contract/temperature")))
    if "contract/least" in page:
        cover = [page.show("contract/least"), ", for a coverage of ", page.show("contract/coverage")]
        rows.append(("a class is in the set from probability", join(cover)))
    if "contract/distance" in page:
        far = [page.show("contract/distance"), " from ", page.show("contract/reference"), " training images"]
        rows.append(("images are refused beyond", join(far)))
    for name in ("model_id", "data_digest", "weights_digest", "recipe_digest"):
        rows.append((name.replace("_", " "), page.name(f"contract/{name}")))
    body = tag("tbody", *(tag("tr", tag("th", words), tag("td", value)) for words, value in rows))
    versions = [(tag("code", name), page.show(f"version/{name}")) for name in page.list("packages")]
    return join(
        [
            tag("h2", "Contract", id="contract"),
            tag("div", tag("table", body), class_="wide"),
            details("Versions that trained and packaged it", table(("package", "version"), versions)),
        ]
    )


def render_card(page: Marker) -> Html:
    """Intended use and limits."""
    own = [tag("li", page.show(key)) for key in page.list("limits")]
    return join(
        [
            tag("h2", "Model card", id="card"),
            tag("p", tag("b", "Intended use. "), page.show("contract/intended_use")),
            tag("p", tag("b", "Out of scope. "), page.show("contract/disclaimer")),
            tag("h3", "Limits"),
            tag("ul", *own, *(tag("li", prose(words)) for words in LIMITS), class_="small"),
        ]
    )


def render_footer(page: Marker, facts_file: str) -> Html:
    """Where each number comes from, and how to check."""
    words = [
        "Every number on this page is a fact in ",
        tag("code", facts_file),
        ", with what it was counted from; ",
        tag("code", "make verify"),
        " counts them all again from the stored answers and fails on a difference.",
    ]
    tables = [
        (tag("code", name), tag("code", digest)) for name, digest in sorted(page.document.tables.items())
    ]
    listed = details("The tables that it was made from", table(("table", prose("SHA-256")), tables, texts=2))
    return tag("footer", tag("p", *words, class_="small"), listed)
