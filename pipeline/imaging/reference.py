"""The reference table of degradations in the documentation, made from the catalog.

`python -m pipeline.imaging.reference` writes it anew after a change of `catalog/degradations.yaml`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.atomic import write_text
from pipeline.catalog import Degradation, load_catalog
from pipeline.errors import FalxError
from pipeline.imaging.degrade import DEGRADERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "degradations.md"
START, END = "<!-- table: start -->", "<!-- table: end -->"


def render_table(degradations: Mapping[str, Degradation]) -> str:
    """The catalog's degradations as a Markdown table, sorted by name."""
    lines = [
        "| name | what it is | parameter | 1 | 2 | 3 | 4 | 5 | source of the numbers |",
        "|---|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for name in sorted(degradations):
        entry = degradations[name]
        what = f"{entry.title}. {_first_sentence(name)}"
        values = " | ".join(f"{value:g}" for value in entry.severities)
        lines.append(f"| `{name}` | {what} | {entry.parameter}: {entry.unit} | {values} | {entry.source} |")
    return "\n".join(lines)


def replace_table(page: str, table: str) -> str:
    """Put `table` between the two marks of a page.

    Raises:
        FalxError: a mark is missing.
    """
    if START not in page or END not in page:
        raise FalxError(f"docs/degradations.md lacks a mark; the table stands between {START} and {END}")
    head, rest = page.split(START, 1)
    return f"{head}{START}\n{table}\n{END}{rest.split(END, 1)[1]}"


def _first_sentence(name: str) -> str:
    text = (DEGRADERS[name].__doc__ or "").strip().split("\n")[0]
    return text.replace("`", "").replace("|", "\\|")


def main() -> None:
    """Write the table into the page."""
    page = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, replace_table(page, render_table(load_catalog().degradations)))
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
