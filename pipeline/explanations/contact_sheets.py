"""Contact sheets of explained slices: the slice with the tumour's box, and the heat of each method on it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from pipeline.atomic import replacing_file
from pipeline.evaluation.canvas import BLACK, MAX_BYTES, SKY, WIDTH_INCHES, new_figure, png
from pipeline.explanations.heat import METHODS, overlay_heat
from pipeline.explanations.pointing import measure_pointing

COLUMNS = 2
TILE, GAP, CAPTION, HEAD, FOOT, MARGIN = 1.05, 0.05, 0.36, 0.62, 0.25, 0.16
"""Inches: side of a tile, gap between tiles, room for a caption, head, foot and side of the sheet."""
FULL_BYTES = 2_000_000
NAMES = {"grad_cam": "Grad-CAM", "saliency": "saliency"}


@dataclass(frozen=True)
class Case:
    """One slice and the heat of the class that the model answered."""

    pixels: NDArray[np.uint8]
    """[s, s], grey."""
    box: tuple[float, ...]
    """Centre x, centre y, width, height, fractions."""
    heats: tuple[NDArray[np.float32], ...]
    """[s, s] each, in the order of METHODS."""
    label: str
    called: str
    probability: float
    area: float
    """Share of the pixels inside the box."""


def draw_cases(path: Path, title: str, cases: Sequence[Case], *, total: int) -> None:
    """Write a sheet of `cases` as PNG, whole or not at all; without cases it says so.

    Args:
        total: how many there are, of which `cases` are shown.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(png(cases_figure(title, cases, total=total), max_bytes=FULL_BYTES))


def cases_figure(title: str, cases: Sequence[Case], *, total: int) -> Figure:
    """A sheet of cases, two a row; each is the slice, then the heat of each method over it, the box in blue.

    The heat is that of the class that the model answered.
    """
    rows = max(1, -(-len(cases) // COLUMNS))
    height = HEAD + rows * (TILE + CAPTION) + FOOT
    subtitle = "no such image" if not cases else _describe(len(cases), total)
    figure = new_figure(title, subtitle, height)
    width = len(METHODS) + 1
    step = (WIDTH_INCHES - 2 * MARGIN) / COLUMNS
    for index, case in enumerate(cases):
        left = MARGIN + index % COLUMNS * step
        bottom = height - HEAD - (index // COLUMNS) * (TILE + CAPTION) - TILE - CAPTION
        figure.text(
            left / WIDTH_INCHES,
            (bottom + TILE + 0.04) / height,
            _caption(case),
            fontsize=7.5,
            color=BLACK,
            va="bottom",
            linespacing=1.2,
        )
        pictures = [
            np.repeat(case.pixels[..., None], 3, axis=2),
            *(overlay_heat(case.pixels, heat) for heat in case.heats),
        ]
        for place in range(width):
            at = ((left + place * (TILE + GAP)) / WIDTH_INCHES, bottom / height)
            axes = figure.add_axes((*at, TILE / WIDTH_INCHES, TILE / height))
            _draw_tile(axes, pictures[place], case.box)
    return figure


def shrink_sheet(sheet: bytes, *, limit: int = MAX_BYTES) -> bytes:
    """A sheet of at most `limit` bytes, for Dagster's event log: fewer colours first, then fewer pixels.

    Raises:
        ValueError: it stays larger even at a third of its side.
    """
    if len(sheet) <= limit:
        return sheet
    with Image.open(io.BytesIO(sheet)) as image:
        picture = image.convert("RGB")
    for share in (1.0, 0.85, 0.7, 0.5, 0.33):
        size = (round(picture.width * share), round(picture.height * share))
        for colours in (256, 128):
            small = picture.resize(size, Image.Resampling.LANCZOS) if share < 1 else picture
            stream = io.BytesIO()
            small.quantize(colours, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
            if stream.tell() <= limit:
                return stream.getvalue()
    raise ValueError(f"the sheet takes {stream.tell()} bytes even at a third of its side; show fewer images")


def _draw_tile(axes: Axes, picture: NDArray[np.uint8], box: tuple[float, ...]) -> None:
    axes.imshow(picture, extent=(0, 1, 1, 0), interpolation="nearest")
    x, y, width, height = box
    frame = Rectangle(
        (x - width / 2, y - height / 2), width, height, fill=False, edgecolor=SKY, linewidth=1.2
    )
    axes.add_patch(frame)
    axes.set_axis_off()


def _describe(shown: int, total: int) -> str:
    which = "all" if shown == total else f"{shown} of {total}"
    return f"{which}; slice, Grad-CAM, saliency of the class answered; in blue the tumour's box"


def _caption(case: Case) -> str:
    said = f"{case.label}, called {case.called} {case.probability:.2f}"
    parts = []
    for method, heat in zip(METHODS, case.heats, strict=True):
        found = measure_pointing(heat[None], np.array([case.box]))
        if found.empty[0]:
            parts.append(f"{NAMES[method]}: no heat")
        else:
            where = "in" if found.hit[0] >= 0.5 else "out"
            parts.append(f"{NAMES[method]}: peak {where}, {found.share[0]:.0%} inside")
    return f"{said} (box {case.area:.0%})\n" + " · ".join(parts)
