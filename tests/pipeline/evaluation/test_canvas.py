import base64
import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.evaluation.canvas import SVG_CHARACTERS, add_panel, embed, new_figure, png, sparkline_svg


def chunk_names(data: bytes) -> list[str]:
    names, place = [], 8
    while place < len(data):
        names.append(data[place + 4 : place + 8].decode())
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return names


def test_png_is_the_same_each_time_and_carries_no_metadata() -> None:
    def draw() -> bytes:
        figure = new_figure("title", "subtitle", 3)
        add_panel(figure, 1, 1, 4, 1).plot([1, 2, 3])
        return png(figure)

    data = draw()
    assert draw() == data
    assert set(chunk_names(data)) == {"IHDR", "pHYs", "IDAT", "IEND"}
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (700, 300)


def test_png_reduces_colours_before_it_gives_up() -> None:
    figure = new_figure("noise", "", 3)
    add_panel(figure, 1, 1, 4, 1).imshow(np.random.default_rng(0).random((60, 240)), cmap="viridis")
    full = png(figure, max_bytes=10**7)
    smaller = png(figure, max_bytes=len(full) * 2 // 3)
    assert len(smaller) <= len(full) * 2 // 3
    with Image.open(io.BytesIO(smaller)) as image:
        assert image.size == (700, 300)
    with pytest.raises(ValueError, match=r"takes \d+ bytes as PNG, more than 500"):
        png(figure, max_bytes=500)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(), max_size=300))
def test_a_sparkline_is_short_and_well_formed(values: list[float]) -> None:
    if not any(math.isfinite(value) for value in values):
        return
    try:
        text = sparkline_svg(values)
    except ValueError:
        # Thinning may leave out the few finite values among hundreds.
        assert len(values) > 60
        return
    assert len(text) <= SVG_CHARACTERS
    circle = ET.fromstring(text).find("{http://www.w3.org/2000/svg}circle")
    assert circle is not None
    assert 0 <= float(circle.attrib["cx"]) <= 160
    assert 0 <= float(circle.attrib["cy"]) <= 32


def test_a_sparkline_rises_with_its_values_and_breaks_at_gaps() -> None:
    text = sparkline_svg([0.0, 1.0, float("nan"), 0.5, 1.0])
    assert 'd="M4 28L42 4M118 16L156 4"' in text
    assert "M4 16L156 16" in sparkline_svg([3, 3])


def test_a_sparkline_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are 2 values, none finite"):
        sparkline_svg([float("nan"), float("inf")])


def test_pictures_are_embedded_in_markdown() -> None:
    data = b"\x89PNG"
    assert embed(data, "roc") == f"![roc](data:image/png;base64,{base64.b64encode(data).decode()})"
    svg = sparkline_svg(range(1000))
    text = embed(svg, "curve")
    assert text.startswith("![curve](data:image/svg+xml;base64,")
    assert len(text) < 1000
