"""The documentation's table and picture of the degradations, made from the catalog.

`python -m pipeline.imaging.reference` makes both anew after a change of `catalog/degradations.yaml`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.atomic import write_bytes, write_text
from pipeline.catalog import Degradation, load_catalog
from pipeline.errors import FalxError
from pipeline.imaging.decode import resize_grey
from pipeline.imaging.degrade import DEGRADERS, degrade
from pipeline.imaging.sheets import fit_sheet
from pipeline.phantoms.patients import draw_slices
from pipeline.phantoms.scanner import expose_slice

PAGE = Path(__file__).resolve().parents[2] / "docs" / "degradations.md"
PICTURE = PAGE.with_suffix(".png")
_SIDE, _TILE = 224, 144
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


def draw_picture(degradations: Mapping[str, Degradation]) -> bytes:
    """A phantom slice under each degradation, as PNG: a row a kind, severity 0 to 5 from left to right.

    Degraded at 224 pixels and cut to the middle, pixel for pixel: grain, blocks and rings are lost in a sheet
    of reduced pictures.
    """
    drawn = draw_slices("documentation", "meningioma", seed=0, count=1)[0]
    exposure = expose_slice(drawn.head, drawn.tumour, drawn.scan, drawn.view, drawn.seed)
    image = torch.from_numpy(resize_grey(exposure.pixels, _SIDE)).float().div(255)[None, None]
    middle = slice((_SIDE - _TILE) // 2, (_SIDE + _TILE) // 2)
    tiles, captions = [], []
    for name in sorted(degradations):
        for severity in range(6):
            degraded = degrade(image, degradations[name], severity, [0]).mul(255).round().to(torch.uint8)
            tiles.append(degraded.numpy()[0, 0, middle, middle])
            captions.append(f"{name} {severity}")
    return fit_sheet(tiles, captions, columns=6, tile=_TILE, limit=600_000)


def _first_sentence(name: str) -> str:
    text = (DEGRADERS[name].__doc__ or "").strip().split("\n")[0]
    return text.replace("`", "").replace("|", "\\|")


def main() -> None:
    """Write the table into the page, and the picture beside it."""
    degradations = load_catalog().degradations
    write_text(PAGE, replace_table(PAGE.read_text(encoding="utf-8"), render_table(degradations)))
    write_bytes(PICTURE, draw_picture(degradations))
    sys.stdout.write(f"wrote {PAGE} and {PICTURE}\n")


if __name__ == "__main__":
    main()
