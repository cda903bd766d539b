"""Heat against a tumour's box: the pointing game, and the share of heat inside.

Pointing game after Zhang et al., Top-Down Neural Attention by Excitation Backprop (IJCV 2018, arXiv
1608.00507): does the hottest pixel lie on the object? They allow a margin of 15 pixels; here that is 15
pixels of an image of 224, or `TOLERANCE` of the side. On a tumour, which is small, such a margin can triple
what chance gives, so the game is also played without.
Shapes: n images, s × s pixels. A box is centre x, centre y, width, height, as fractions of the image. The
input of every network is the whole slice, squeezed to a square, so fractions stay what they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ExplanationError

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

TOLERANCE = 15 / 224
"""Share of the side that the hottest pixel may lie beside the box, and still be near it."""
BLOB = 1 / 6
"""Standard deviation of the centre blob, share of the side: three of them reach the edge."""


@dataclass(frozen=True)
class Pointing:
    """What the heat of n images says of their boxes, each [n], 0 to 1."""

    hit: Floats
    """Whether the hottest pixel lies inside the box; of equally hot ones, the share that does."""
    near: Floats
    """The same with `TOLERANCE` around the box."""
    share: Floats
    """Share of the heat inside the box; of a map without heat, `area`."""
    area: Floats
    """Share of the pixels inside: `hit` and `share` of heat that is the same everywhere, so chance."""
    near_area: Floats
    """Share of the pixels inside or near: what chance gives for `near`."""
    empty: Floats
    """1 where the map has no heat at all, else 0; it then points everywhere, so it counts as chance."""


def measure_pointing(heat: NDArray[np.floating], boxes: Floats) -> Pointing:
    """Play the pointing game and weigh the heat of n images.

    Args:
        heat: [n, s, s], not negative; only ratios within an image count.
        boxes: [n, 4], centre x, centre y, width, height, fractions of the image.

    Raises:
        ExplanationError: shapes do not fit, heat is negative or not finite, or a box is no box.
    """
    _check(heat, boxes)
    values = heat.astype(np.float64)
    distance = measure_distance(boxes, heat.shape[1])
    inside, near = distance == 0, distance <= TOLERANCE
    hottest = values == values.max((1, 2), keepdims=True)
    total = values.sum((1, 2))
    area = inside.mean((1, 2))
    kept = np.where(inside, values, 0).sum((1, 2))
    return Pointing(
        hit=(hottest & inside).sum((1, 2)) / hottest.sum((1, 2)),
        near=(hottest & near).sum((1, 2)) / hottest.sum((1, 2)),
        share=np.where(total > 0, kept / np.where(total > 0, total, 1), area),
        area=area,
        near_area=near.mean((1, 2)),
        empty=(total == 0).astype(np.float64),
    )


def measure_distance(boxes: Floats, side: int) -> Floats:
    """Distance of each pixel's centre to the box, 0 inside: [n, side, side], shares of the side.

    A box narrower than a pixel counts as one pixel wide, so that every box holds a pixel.
    """
    centres = (np.arange(side) + 0.5) / side
    # Rounded, since an edge that falls on a pixel's centre must not depend on the last bit.
    half = np.maximum(boxes[:, 2:], 1 / side) / 2
    gaps = np.abs(centres - boxes[:, :2, None]) - half[..., None]
    across, down = np.moveaxis(np.maximum(np.round(gaps, 9), 0), 1, 0)
    distances: Floats = np.hypot(across[:, None, :], down[:, :, None])
    return distances


def draw_blob(side: int) -> Floats:
    """The baseline that knows no image: a round Gaussian in the middle, [side, side], at most 1."""
    offset = (2 * np.arange(side) + 1 - side) / (2 * side)
    line = np.exp(-(offset**2) / (2 * BLOB**2))
    blob: Floats = np.outer(line, line) / line.max() ** 2
    return blob


def find_wrong_reasons(right: Booleans, pointing: Pointing) -> Booleans:
    """Which right answers look like luck: [n].

    A right answer for the wrong reason has its hottest pixel outside the box (of equally hot ones, most), and
    less of its heat inside than heat spread evenly would have. A map without heat is none: it says nothing.
    """
    wrong: Booleans = right & (pointing.hit < 0.5) & (pointing.share < pointing.area) & (pointing.empty == 0)
    return wrong


def _check(heat: NDArray[np.floating], boxes: Floats) -> None:
    if heat.ndim != 3 or heat.shape[1] != heat.shape[2] or boxes.shape != (len(heat), 4) or not heat.size:
        raise ExplanationError(
            f"heat is {heat.shape} and boxes are {boxes.shape}; [n, s, s] and [n, 4] are needed, n at least 1"
        )
    if not np.isfinite(heat).all() or heat.min() < 0:
        raise ExplanationError("heat must be finite and not negative; draw it with draw_heat")
    good = np.isfinite(boxes).all(1) & (boxes >= 0).all(1) & (boxes <= 1).all(1) & (boxes[:, 2:] > 0).all(1)
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        raise ExplanationError(
            f"box {first} is {boxes[first].tolist()}; centre and sides are fractions from 0 to 1, sides "
            "above 0. Materialise `patients` again"
        )
