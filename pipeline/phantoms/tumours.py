"""Three kinds of tumour: where each grows, how it looks under contrast, and the mask that it leaves."""

from dataclasses import dataclass

import numpy as np

from pipeline.labels import Label
from pipeline.phantoms.anatomy import SELLA, Head, Surfaces
from pipeline.phantoms.geometry import Point, Points, ellipsoid, inside, step
from pipeline.phantoms.textures import Field
from pipeline.phantoms.tissues import Canvas


@dataclass(frozen=True)
class Tumour:
    """One tumour: place and radii in head units, the rest as shares of full effect.

    Args:
        rough: how far noise pushes the rim, as a share of the radius.
        uptake: brightness of what takes up contrast, 0 to 1.
        core: how much of the inside is dead and dark, 0 to 1.
        oedema: how much the brain around it is darkened, 0 to 1.
        tail: how far the dura beside it lights up (meningioma), 0 to 1.
    """

    label: Label
    centre: Point
    radii: Point
    rough: float
    uptake: float
    core: float
    oedema: float
    tail: float

    @property
    def radius(self) -> float:
        """Mean radius, head units."""
        return float(np.mean(self.radii))


def draw_tumour(label: Label, head: Head, rng: np.random.Generator) -> Tumour | None:
    """A tumour of a kind in a head, drawn anew; None for `no_tumor`."""
    draw = {"glioma": _draw_glioma, "meningioma": _draw_meningioma, "pituitary": _draw_pituitary}.get(label)
    return draw(head, rng) if draw else None


def _draw_glioma(head: Head, rng: np.random.Generator) -> Tumour:
    side = rng.choice([-1.0, 1.0])
    radius = rng.uniform(0.14, 0.31)
    centre = (
        side * rng.uniform(0.14, 0.42) * head.width, rng.uniform(-0.45, 0.48), rng.uniform(-0.06, 0.45)
    )  # fmt: skip
    low_grade = rng.random() < 0.10
    solid = rng.random() < 0.12
    return Tumour(
        "glioma",
        centre,
        _vary(radius, 0.30, rng),
        rough=rng.uniform(0.18, 0.50),
        uptake=rng.uniform(0.15, 0.35) if low_grade else rng.uniform(0.6, 1.0),
        core=rng.uniform(0.0, 0.35) if solid else rng.uniform(0.5, 1.0),
        oedema=rng.uniform(0.5, 1.0),
        tail=0.0,
    )


def _draw_meningioma(head: Head, rng: np.random.Generator) -> Tumour:
    radius = rng.uniform(0.12, 0.26)
    place = rng.random()
    side = rng.choice([-1.0, 1.0])
    if place < 0.60:
        centre = _convexity(head, radius, side, rng)
    elif place < 0.80:
        centre = (side * radius * rng.uniform(0.5, 0.9), rng.uniform(-0.55, 0.55), rng.uniform(0.30, 0.55))
    else:
        centre = (
            side * rng.uniform(0.05, 0.34), rng.uniform(0.18, 0.42), rng.uniform(-0.28, -0.20) + 0.6 * radius
        )  # fmt: skip
    return Tumour(
        "meningioma",
        centre,
        _vary(radius, 0.12, rng),
        rough=rng.uniform(0.02, 0.14),
        uptake=rng.uniform(0.55, 1.0),
        core=rng.uniform(0.0, 0.25) if rng.random() < 0.9 else rng.uniform(0.4, 0.8),
        oedema=rng.uniform(0.0, 0.6),
        tail=rng.uniform(0.0, 1.0),
    )


def _convexity(head: Head, radius: float, side: float, rng: np.random.Generator) -> Point:
    """A centre so far inside the vault that the tumour sits on the dura with a broad base."""
    azimuth, height = rng.uniform(-np.pi / 2, np.pi / 2), rng.uniform(-0.1, 1.1)
    direction = (side * np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height))
    reach = 1 / np.sqrt(sum((d / r) ** 2 for d, r in zip(direction, head.inner, strict=True)))
    reach -= radius * rng.uniform(0.45, 0.85)
    x, y, z = (float(d * reach) for d in direction)
    return (x, y - 0.01, z + 0.05)


def _draw_pituitary(head: Head, rng: np.random.Generator) -> Tumour:
    radius = rng.uniform(0.08, 0.17)
    rise = rng.uniform(0.0, 0.9) * radius
    return Tumour(
        "pituitary",
        (rng.normal(0, 0.02), SELLA[1] + rng.normal(0, 0.015), SELLA[2] + rise),
        (radius * rng.uniform(0.85, 1.3), radius * rng.uniform(0.75, 1.0), radius * rng.uniform(0.85, 1.4)),
        rough=rng.uniform(0.04, 0.20),
        uptake=rng.uniform(0.45, 0.95),
        core=rng.uniform(0.0, 0.3) if rng.random() < 0.75 else rng.uniform(0.5, 1.0),
        oedema=0.0,
        tail=0.0,
    )


def _vary(radius: float, spread: float, rng: np.random.Generator) -> Point:
    first, second, third = radius * rng.uniform(1 - spread, 1 + spread, 3)
    return (float(first), float(second), float(third))


def push_points(points: Points, tumour: Tumour | None) -> Points:
    """Points of the brain before the tumour pushed them aside: tissue is displaced, not only covered."""
    if tumour is None or tumour.label == "pituitary":
        return points
    steps = [value - np.float32(middle) for value, middle in zip(points, tumour.centre, strict=True)]
    square = (steps[0] ** 2 + steps[1] ** 2 + steps[2] ** 2) / np.float32((1.9 * tumour.radius) ** 2)
    pull = np.float32(0.35) * np.exp(-square)
    return Points(*(value - gap * pull for value, gap in zip(points, steps, strict=True)))


def paint_tumour(canvas: Canvas, tumour: Tumour, surfaces: Surfaces, points: Points) -> Field:
    """Paint a tumour over a head; `points` are those before any displacement.

    Returns:
        Share of each pixel that is tumour, float32 [height, width].
    """
    rim = ellipsoid(points, tumour.centre, tumour.radii)
    noise = (
        surfaces.coarse * np.float32(0.6)
        + surfaces.fine * np.float32(0.5)
        + surfaces.grain * np.float32(0.25)
    )
    rim = rim + noise * np.float32(tumour.rough * tumour.radius * 0.8)
    paint = {"glioma": _paint_glioma, "meningioma": _paint_meningioma, "pituitary": _paint_pituitary}
    return paint[tumour.label](canvas, tumour, surfaces, rim)


def _paint_glioma(canvas: Canvas, tumour: Tumour, s: Surfaces, rim: Field) -> Field:
    brain = np.maximum(inside(s.cerebrum, 0.02), inside(s.cerebellum, 0.02))
    radius = np.float32(tumour.radius)
    fluid = np.float32(canvas.tissues["fluid"])
    swelling = np.exp(-np.square(np.maximum(rim, 0) / (radius * np.float32(0.8))))
    swollen = canvas.image + (fluid - canvas.image) * np.float32(0.55 * tumour.oedema)
    patchy = step(s.coarse * np.float32(0.5) + s.fine * np.float32(0.4), -0.7, 1.2)
    canvas.lay(swollen, swelling * brain * (np.float32(0.4) + np.float32(0.6) * patchy))
    mass = inside(rim, 0.03) * brain
    base = np.float32(canvas.tissues["grey"]) * (1 + s.grain * np.float32(0.10) + s.fine * np.float32(0.10))
    canvas.lay(base, mass * np.float32(0.85))
    depth = -rim / radius
    bright = np.float32(canvas.tissues["grey"] + (0.95 - canvas.tissues["grey"]) * tumour.uptake)
    ring = np.exp(-np.square((depth - np.float32(0.22)) / np.float32(0.20)))
    lit = step(s.fine * np.float32(0.8) + s.coarse * np.float32(0.5), -0.9, 1.2)
    canvas.lay(bright, mass * lit * np.maximum(ring, np.float32(1 - tumour.core) * step(depth, 0.1, 0.3)))
    dead = step(depth + s.fine * np.float32(0.10), 0.52, 0.25) * np.float32(tumour.core)
    canvas.lay(fluid * np.float32(1.3), mass * dead)
    return mass


def _paint_meningioma(canvas: Canvas, tumour: Tumour, s: Surfaces, rim: Field) -> Field:
    room = inside(s.cavity, 0.02)
    swelling = np.exp(-np.square(np.maximum(rim, 0) / np.float32(tumour.radius * 0.7)))
    swollen = canvas.image + (np.float32(canvas.tissues["fluid"]) - canvas.image) * np.float32(
        0.4 * tumour.oedema
    )
    canvas.lay(swollen, swelling * inside(s.cerebrum, 0.02))
    canvas.lay("fluid", inside(rim - np.float32(0.014), 0.02) * room * np.float32(0.7))
    mass = inside(rim, 0.02) * room
    grey = canvas.tissues["grey"]
    bright = np.float32(grey + (0.92 - grey) * tumour.uptake)
    texture = 1 + s.grain * np.float32(0.035) + s.fine * np.float32(0.035)
    canvas.lay(bright * texture, mass)
    dead = step(-rim / np.float32(tumour.radius) + s.fine * np.float32(0.2), 0.75, 0.3)
    canvas.lay(np.float32(grey * 0.8), mass * dead * np.float32(tumour.core))
    dura = inside(np.abs(s.cavity + np.float32(0.012)) - np.float32(0.012), 0.012)
    canvas.lay(
        bright, dura * step(-rim, -0.6 * tumour.radius, 0.5 * tumour.radius) * np.float32(tumour.tail * 0.8)
    )
    return mass


def _paint_pituitary(canvas: Canvas, tumour: Tumour, s: Surfaces, rim: Field) -> Field:
    mass = inside(rim, 0.02)
    grey = canvas.tissues["grey"]
    bright = np.float32(grey + (0.92 - grey) * tumour.uptake)
    canvas.lay("fluid", inside(rim - np.float32(0.016), 0.02) * np.float32(0.6))
    canvas.lay(bright * (1 + s.grain * np.float32(0.05) + s.fine * np.float32(0.06)), mass)
    dead = step(-rim / np.float32(tumour.radius) + s.fine * np.float32(0.12), 0.45, 0.3)
    canvas.lay("fluid", mass * dead * np.float32(tumour.core * 0.8))
    return mass
