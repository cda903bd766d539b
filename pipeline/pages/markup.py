"""HTML as text that is escaped unless it says that it is HTML already."""

import html
from collections.abc import Iterable, Sequence


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Any value as HTML text; `Html` stays as it is, None is empty."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else html.escape(str(value), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after another, each escaped."""
    return Html(between.join(escape(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element; attribute names may end in `_` (`class_`), `_` inside becomes `-`; None leaves one out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>{join(content)}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, texts: int = 1) -> Html:
    """A table; the first `texts` columns are text, the others numbers, right-aligned."""

    def line(cell: str, values: Sequence[object]) -> Html:
        return tag(
            "tr",
            *(tag(cell, value, class_=None if k < texts else "n") for k, value in enumerate(values)),
        )

    body = join(line("td", row) for row in rows)
    inner = tag("table", tag("thead", line("th", head)), tag("tbody", body))
    return tag("div", inner, class_="wide")


def details(summary: object, *content: object, open_: bool = False) -> Html:
    """A part that opens on a click; without JavaScript."""
    inside = join((tag("summary", summary), tag("div", *content, class_="inside")))
    return Html(f"<details{' open' if open_ else ''}>{inside}</details>")


def count(value: int) -> str:
    """12,740."""
    return f"{value:,}"


def percent(value: float, total: float) -> str:
    """One decimal; – out of nothing. What is not all never reads 100.0, what is not none never 0.0."""
    if not total:
        return "–"
    share = 100 * value / total
    if 0 < share < 0.05:
        return "< 0.1 %"
    if 99.95 <= share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"


def few(total: int, limit: int, what: str) -> Html:
    """`1 pair`, `all 12 pairs`, or `24 of 812 pairs`: what a list that may be shortened has to say."""
    shown = min(limit, total)
    if total == 1 and shown == 1:
        return escape(f"1 {what}")
    return escape(f"all {shown:,} {what}s" if shown == total else f"{shown:,} of {total:,} {what}s")
