"""Paint a head: tissues from outside to inside, each over what lies below it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.phantoms.anatomy import SELLA, Head, Surfaces
from pipeline.phantoms.geometry import Point, Points, ellipsoid, inside, soft_union, step
from pipeline.phantoms.textures import Field

Sequence = Literal["t1c", "t2", "flair"]

# Brightness of each tissue, 0 to 1, by kind of scan; by eye against published slices.
TISSUES: Mapping[Sequence, Mapping[str, float]] = {
    "t1c": {
        "air": 0.02, "fat": 0.80, "muscle": 0.34, "bone": 0.06, "marrow": 0.30, "fluid": 0.12, "grey": 0.34,
        "white": 0.47, "stem": 0.43, "dura": 0.46, "vessel": 0.80, "gland": 0.66, "eye": 0.16, "mucosa": 0.62,
    },
    "t2": {
        "air": 0.02, "fat": 0.62, "muscle": 0.22, "bone": 0.05, "marrow": 0.28, "fluid": 0.95, "grey": 0.50,
        "white": 0.33, "stem": 0.36, "dura": 0.12, "vessel": 0.06, "gland": 0.45, "eye": 0.92, "mucosa": 0.70,
    },
    "flair": {
        "air": 0.02, "fat": 0.70, "muscle": 0.28, "bone": 0.05, "marrow": 0.30, "fluid": 0.08, "grey": 0.52,
        "white": 0.42, "stem": 0.45, "dura": 0.22, "vessel": 0.12, "gland": 0.50, "eye": 0.10, "mucosa": 0.60,
    },
}  # fmt: skip


@dataclass
class Canvas:
    """A slice that is being painted: brightness, float32 [height, width], 0 to 1."""

    image: Field
    tissues: Mapping[str, float]

    def lay(self, tissue: str | float | np.float32 | Field, share: Field) -> None:
        """Cover each pixel's `share` with a tissue, or with a brightness."""
        value = np.float32(self.tissues[tissue]) if isinstance(tissue, str) else tissue
        self.image += share * (value - self.image)


def paint_head(head: Head, surfaces: Surfaces, sequence: Sequence) -> Canvas:
    """A head without tumour."""
    canvas = Canvas(np.full_like(surfaces.skin, TISSUES[sequence]["air"]), TISSUES[sequence])
    _paint_soft_parts(canvas, head, surfaces)
    _paint_face(canvas, surfaces)
    _paint_neck(canvas, surfaces)
    _paint_skull(canvas, head, surfaces)
    _paint_cerebrum(canvas, head, surfaces)
    _paint_hindbrain(canvas, surfaces)
    _paint_depths(canvas, head, surfaces)
    _paint_midline(canvas, surfaces)
    _paint_vessels(canvas, head, surfaces)
    _paint_sella(canvas, head, surfaces)
    return canvas


def both_sides(points: Points, centre: Point, radii: Point) -> Field:
    """A pair of ellipsoids, left and right of the midline."""
    return ellipsoid(Points(np.abs(points.x), points.y, points.z), centre, radii)


def _paint_soft_parts(canvas: Canvas, head: Head, s: Surfaces) -> None:
    body = inside(s.skin, 0.02)
    canvas.lay("muscle", body)
    canvas.lay("fat", body * step(s.grain + s.fine * np.float32(0.6), 0.75, 0.9) * np.float32(0.7))
    canvas.lay("bone", body * step(-s.grain + s.coarse * np.float32(0.5), 1.0, 0.7) * np.float32(0.6))
    rind = np.maximum(s.skin + np.float32(head.scalp), -s.skull)
    shine = np.float32(canvas.tissues["fat"]) * (1 + np.clip(s.coarse * 0.10 + s.grain * 0.05, -0.4, 0.25))
    canvas.lay(shine, body * np.clip(1 + rind / np.float32(0.012), 0, 1) * inside(-s.skull, 0.02))
    canvas.lay(shine, inside(np.abs(s.skin + np.float32(0.030)) - np.float32(0.022), 0.02) * body)


def _paint_face(canvas: Canvas, s: Surfaces) -> None:
    p = s.points
    wet = step(s.grain, 0.5, 0.5)
    canvas.lay("fat", inside(both_sides(p, (0.30, 0.60, -0.35), (0.19, 0.24, 0.17)), 0.03))
    canvas.lay("muscle", inside(both_sides(p, (0.28, 0.48, -0.35), (0.045, 0.22, 0.04)), 0.02))
    globe = both_sides(p, (0.31, 0.72, -0.35), (0.125, 0.125, 0.125))
    canvas.lay("muscle", inside(globe, 0.02))
    canvas.lay("eye", inside(globe + np.float32(0.02), 0.02))
    air = soft_union(
        ellipsoid(p, (0, 0.58, -0.56), (0.13, 0.26, 0.17)),
        soft_union(
            ellipsoid(p, (0, 0.33, -0.52), (0.15, 0.15, 0.10)),
            both_sides(p, (0.29, 0.56, -0.66), (0.14, 0.15, 0.14)),
            0.02,
        ),
        0.02,
    )
    hollow = inside(air, 0.02)
    canvas.lay("bone", hollow)
    canvas.lay("mucosa", hollow * wet * np.float32(0.9))
    canvas.lay("mucosa", inside(np.abs(air) - np.float32(0.012), 0.015) * np.float32(0.7))
    throat = ellipsoid(p, (0, 0.22, -0.86), (0.09, 0.09, 0.30))
    mouth = ellipsoid(p, (0, 0.62, -0.86), (0.24, 0.22, 0.025))
    canvas.lay("air", inside(soft_union(throat, mouth, 0.03), 0.02))
    mastoid = both_sides(p, (0.52, -0.18, -0.52), (0.17, 0.22, 0.14)) + s.fine * np.float32(0.02)
    canvas.lay("bone", inside(mastoid, 0.04) * (1 - wet * np.float32(0.5)))


def _paint_neck(canvas: Canvas, s: Surfaces) -> None:
    p = s.points
    front = np.float32(-0.02) + np.float32(0.10) * (p.z + np.float32(0.7))
    rod = np.sqrt(np.square(p.x) + np.square(p.y - front)) - np.float32(0.12)
    column = np.maximum(rod, p.z + np.float32(0.66))
    discs = step(np.cos((p.z + np.float32(0.1)) * np.float32(26)), -0.72, 0.35)
    canvas.lay("bone", inside(column - np.float32(0.02), 0.02))
    canvas.lay("marrow", inside(column, 0.02) * discs)
    canal = s.stem - np.float32(0.06)
    canvas.lay("fluid", inside(np.maximum(canal, p.z + np.float32(0.5)), 0.03))


def _paint_skull(canvas: Canvas, head: Head, s: Surfaces) -> None:
    bone = np.float32(head.bone)
    floor = inside(s.cavity - bone * np.float32(0.8) - s.grain * np.float32(0.022), 0.03)
    vault = inside(s.skull, 0.015)
    shell = np.maximum(floor * step(-s.points.z, 0.10, 0.4), vault * inside(s.cavity - bone, 0.02))
    canvas.lay("bone", shell)
    diploe = inside(np.abs(s.cavity - bone * np.float32(0.5)) - bone * np.float32(0.16), 0.02)
    patchy = step(s.coarse + s.fine * np.float32(0.5), -0.2, 1.2)
    canvas.lay("marrow", diploe * patchy)
    marrow = ellipsoid(s.points, (0, 0.04, -0.52), (0.07, 0.07, 0.16))
    canvas.lay("marrow", inside(marrow, 0.03))


def _paint_cerebrum(canvas: Canvas, head: Head, s: Surfaces) -> None:
    canvas.lay("fluid", inside(s.cavity, 0.015))
    depth = -s.cerebrum
    ridge = np.abs(s.fine + s.grain * np.float32(0.12))
    valley = ridge * np.float32(0.062) + np.maximum(depth - np.float32(0.17), 0) * np.float32(1.2)
    fissure = np.abs(s.points.x - np.float32(head.asymmetry) * (1 - np.square(s.points.y)))
    core = ellipsoid(s.points, (0, 0.0, 0.10), (0.32, 0.50, 0.22))
    fissure += np.maximum(-core, 0) * np.float32(0.8) + np.maximum(np.float32(-0.05) - s.points.z, 0)
    fold = np.minimum(np.minimum(depth, valley), fissure)
    brain = inside(s.cerebrum, 0.012)
    canvas.lay("grey", brain)
    canvas.lay("white", brain * step(fold, 0.042, 0.03))
    mottle = np.clip(s.coarse * np.float32(0.018), -0.05, 0.05)
    canvas.image += brain * mottle
    canvas.lay("fluid", brain * step(-fold, -(0.006 + head.atrophy * 0.4), 0.012) * np.float32(0.6))


def _paint_hindbrain(canvas: Canvas, s: Surfaces) -> None:
    p = s.points
    canvas.lay("stem", inside(s.stem, 0.015) * inside(p.z + np.float32(0.02), 0.1))
    small = inside(s.cerebellum, 0.012)
    canvas.lay("grey", small)
    leaf = np.sin(
        (p.z * np.float32(0.9) + p.y * np.float32(0.35)) * np.float32(95) + s.fine * np.float32(1.5)
    )
    canvas.lay("white", small * step(-s.cerebellum, 0.09, 0.08) * np.float32(0.8))
    canvas.image -= small * step(leaf, 0.4, 0.8) * np.float32(0.09)
    fourth = ellipsoid(p, (0, -0.22, -0.38), (0.07, 0.05, 0.10))
    canvas.lay("fluid", inside(fourth, 0.02))


def _paint_depths(canvas: Canvas, head: Head, s: Surfaces) -> None:
    x = s.points.x - np.float32(head.asymmetry)
    p = Points(np.abs(x), s.points.y, s.points.z)
    size = head.ventricle**0.5
    canvas.lay("grey", inside(ellipsoid(p, (0.24, 0.05, 0.06), (0.075, 0.20, 0.10)), 0.03))
    canvas.lay("stem", inside(ellipsoid(p, (0.10, -0.06, 0.05), (0.10, 0.16, 0.09)), 0.03))
    callosum = ellipsoid(p, (0, 0.0, 0.14), (0.20, 0.40, 0.17))
    arch = np.maximum(np.abs(callosum + np.float32(0.03)) - np.float32(0.032), np.float32(0.12) - p.z)
    canvas.lay("white", inside(arch, 0.02))
    body = ellipsoid(p, (0.065 + 0.02 * size, 0.02, 0.16), (0.050 * size, 0.36, 0.075 * size))
    horn = ellipsoid(p, (0.11, 0.27, 0.11), (0.050 * size, 0.13, 0.085 * size))
    tail = ellipsoid(p, (0.20, -0.34, 0.06), (0.055 * size, 0.17, 0.085 * size))
    temple = ellipsoid(p, (0.34, -0.08, -0.20), (0.035 * size, 0.15, 0.030 * size))
    lateral = soft_union(soft_union(body, horn, 0.05), soft_union(tail, temple, 0.05), 0.05)
    lateral = np.maximum(lateral, np.float32(0.012) - p.x)
    canvas.lay("fluid", inside(lateral, 0.015))
    third = ellipsoid(p, (0, -0.02, 0.0), (0.018 * size, 0.17, 0.12))
    canvas.lay("fluid", inside(third, 0.015))
    plexus = ellipsoid(p, (0.20, -0.30, 0.06), (0.022, 0.05, 0.03))
    canvas.lay("vessel", inside(plexus, 0.03) * np.float32(0.55 * head.vessels))
    sylvian = np.maximum(np.abs(p.z + np.float32(0.08) - (p.y - 0.1) * np.float32(-0.25)) - 0.012, 0.38 - p.x)
    sylvian = np.maximum(sylvian, np.abs(p.y - np.float32(0.08)) - np.float32(0.34)) + s.fine * np.float32(
        0.006
    )
    canvas.lay("fluid", inside(sylvian, 0.02) * inside(s.cavity) * np.float32(0.85))


def _paint_midline(canvas: Canvas, s: Surfaces) -> None:
    p = s.points
    room = inside(s.cavity + np.float32(0.004))
    falx = np.maximum(np.abs(p.x) - np.float32(0.004), np.float32(0.24) - p.z)
    canvas.lay("dura", inside(falx, 0.012) * room * np.float32(0.8))
    basin = both_sides(p, (0.0, 0.16, -0.25), (0.14, 0.12, 0.07))
    canvas.lay("fluid", inside(basin, 0.03) * room * np.float32(0.8))
    tent = np.abs(s.cerebrum - s.cerebellum)
    canvas.lay(
        "dura", inside(tent - 0.004, 0.012) * room * inside(s.cerebellum - np.float32(0.03)) * np.float32(0.6)
    )


def _paint_vessels(canvas: Canvas, head: Head, s: Surfaces) -> None:
    p = s.points
    strength = np.float32(0.4 + 0.6 * head.vessels)
    sinus = np.maximum(
        np.abs(s.cavity + np.float32(0.02)) - np.float32(0.028), np.abs(p.x) - np.float32(0.035)
    )
    sinus = np.maximum(sinus, np.minimum(np.float32(0.1) - p.z, p.y + np.float32(0.35)))
    canvas.lay("vessel", inside(sinus, 0.02) * strength)
    deep = ellipsoid(p, (0, -0.36, 0.07), (0.025, 0.10, 0.03))
    canvas.lay("vessel", inside(deep, 0.025) * strength)
    artery = both_sides(p, (0.26, 0.12, -0.22), (0.12, 0.025, 0.02)) + s.coarse * np.float32(0.006)
    canvas.lay("vessel", inside(artery, 0.02) * strength * np.float32(0.8))
    carotid = both_sides(p, (0.13, 0.17, -0.36), (0.035, 0.06, 0.045))
    canvas.lay("vessel", inside(carotid, 0.02) * np.float32(0.75) * strength)
    basilar = ellipsoid(p, (0, 0.09, -0.34), (0.018, 0.018, 0.14))
    canvas.lay("vessel", inside(basilar, 0.02) * strength * np.float32(0.7))
    bridging = np.abs(s.coarse - np.float32(0.9)) * np.float32(0.10) + np.abs(s.cavity + np.float32(0.03))
    canvas.lay("vessel", inside(bridging - np.float32(0.022), 0.015) * strength * np.float32(0.7))


def _paint_sella(canvas: Canvas, head: Head, s: Surfaces) -> None:
    size = 0.055 * head.pituitary
    gland = ellipsoid(s.points, (0, SELLA[1], SELLA[2] - 0.03), (1.3 * size, size, 0.75 * size))
    stalk = ellipsoid(s.points, (0, SELLA[1] - 0.02, SELLA[2] + 0.05), (0.013, 0.016, 0.07))
    canvas.lay(
        "bone", inside(gland - np.float32(0.022), 0.02) * inside(s.points.z - np.float32(SELLA[2]), 0.04)
    )
    canvas.lay("gland", inside(gland, 0.02))
    canvas.lay("vessel", inside(stalk, 0.015) * np.float32(0.6))
