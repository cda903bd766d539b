"""The sheet that figures are drawn on, and the bytes that they become: no pyplot, no global state, no clock.

Drawn for 700 pixels of width: 7 inches at 100 dots an inch, no text under 7 points.
Colours are those of Okabe and Ito, Color Universal Design (2008), which all common kinds of colour vision
tell apart; whatever a colour says, a marker, a dash or a word says too.
"""

import base64
import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#000000", "#5F6368"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))

NOTE = "research software, not a medical device"

WIDTH_INCHES = 7.0
DOTS_PER_INCH = 100
MAX_BYTES = 100_000

SVG_CHARACTERS = 700
_TITLE_LETTERS = 62  # of 12 points, bold, that surely fit one line
_SVG_WIDTH, _SVG_HEIGHT, _SVG_POINTS = 160, 32, 60


def new_figure(title: str, subtitle: str, height: float, note: str = NOTE) -> Figure:
    """A sheet of 7 × `height` inches with its title, subtitle and note; axes are added by `add_panel`."""
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    size = min(12.0, 12 * _TITLE_LETTERS / max(1, len(title)))
    figure.text(0.02, 1 - 0.12 / height, title, fontsize=size, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.36 / height, subtitle, fontsize=8.5, color=GREY, va="top")
    figure.text(0.98, 0.08 / height, note, fontsize=7, color=GREY, ha="right", va="bottom")
    return figure


def add_panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches, with thin lines and no frame above and to the right."""
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high))
    axes.tick_params(labelsize=8, length=3, colors=GREY, labelcolor=BLACK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.grid(visible=True, color="#E3E5E8", linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def png(figure: Figure, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The figure as PNG: the same figure gives the same bytes, without software, date or other metadata.

    Beyond `max_bytes` it is redrawn in 256, then in 32 colours: Dagster keeps metadata in its database.

    Raises:
        ValueError: it stays larger than `max_bytes`.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    data = buffer.getvalue()
    for colours in (256, 32):
        if len(data) <= max_bytes:
            break
        data = _reduce_colours(buffer.getvalue(), colours)
    if len(data) > max_bytes:
        raise ValueError(f"the figure takes {len(data)} bytes as PNG, more than {max_bytes}; draw less in it")
    return data


def sparkline_svg(values: Sequence[float]) -> str:
    """A line of at most 700 characters of SVG, 160 × 32 pixels, for inline markdown (see `embed`).

    Values that are not finite leave a gap; of more than 60, evenly spaced ones are drawn, the last included.

    Raises:
        ValueError: no value is finite.
    """
    picked = _thin(values)
    finite = [value for value in picked if math.isfinite(value)]
    if not finite:
        raise ValueError(f"a sparkline needs a finite value; there are {len(values)} values, none finite")
    # Halved, so that the span of the largest floats is still one.
    low, span = min(finite) / 2, max(finite) / 2 - min(finite) / 2
    step = (_SVG_WIDTH - 8) / max(1, len(picked) - 1)
    path, last, pen = "", (0, 0), "M"
    for index, value in enumerate(picked):
        if not math.isfinite(value):
            pen = "M"
            continue
        share = (value / 2 - low) / span if span else 0.5
        last = (round(4 + index * step), round(_SVG_HEIGHT - 4 - share * (_SVG_HEIGHT - 8)))
        path += f"{pen}{last[0]} {last[1]}"
        pen = "L"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SVG_WIDTH}" height="{_SVG_HEIGHT}">'
        f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
        f'<circle cx="{last[0]}" cy="{last[1]}" r="2.5" fill="{VERMILLION}"/></svg>'
    )


def embed(picture: bytes | str, caption: str) -> str:
    """Markdown that shows a picture, PNG bytes or SVG text, as a data URI."""
    kind, data = ("svg+xml", picture.encode()) if isinstance(picture, str) else ("png", picture)
    return f"![{caption}](data:image/{kind};base64,{base64.b64encode(data).decode()})"


def _thin(values: Sequence[float]) -> list[float]:
    if len(values) <= _SVG_POINTS:
        return list(values)
    last = len(values) - 1
    return [values[round(index * last / (_SVG_POINTS - 1))] for index in range(_SVG_POINTS)]


def _reduce_colours(data: bytes, colours: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        reduced = image.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        reduced.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
