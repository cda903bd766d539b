"""One head: its measures, and the surfaces that follow from them.

The proportions were set by eye against published T1 slices; they stand for a head, they measure none.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.phantoms.geometry import (
    Points,
    View,
    capsule,
    ellipsoid,
    sample_texture,
    soft_cut,
    soft_union,
    step,
)
from pipeline.phantoms.textures import Field

SELLA = (0.0, 0.20, -0.33)


@dataclass(frozen=True)
class Head:
    """Measures of one person, in head units; `origin` moves the noise that folds the cortex."""

    width: float
    height: float
    scalp: float
    bone: float
    atrophy: float
    ventricle: float
    asymmetry: float
    folding: float
    vessels: float
    pituitary: float
    face: float
    frontal: float
    origin: tuple[float, float, float]

    @property
    def outer(self) -> tuple[float, float, float]:
        """Radii of the head above the face, skin included."""
        return (0.80 * self.width, 0.98, 0.86 * self.height)

    @property
    def inner(self) -> tuple[float, float, float]:
        """Radii of the inside of the skull."""
        shell = self.scalp + self.bone
        return (self.outer[0] - shell, self.outer[1] - shell, self.outer[2] - shell)


def draw_head(rng: np.random.Generator) -> Head:
    """Measures of a person, drawn anew."""
    return Head(
        width=rng.uniform(0.90, 1.08),
        height=rng.uniform(0.93, 1.06),
        scalp=rng.uniform(0.035, 0.085),
        bone=rng.uniform(0.035, 0.065),
        atrophy=rng.gamma(2.0, 0.006) + 0.004,
        ventricle=float(np.clip(rng.lognormal(0, 0.35), 0.5, 2.2)),
        asymmetry=rng.normal(0, 0.025),
        folding=rng.uniform(0.8, 1.25),
        vessels=rng.uniform(0.2, 1.0),
        pituitary=rng.uniform(0.6, 1.25),
        face=rng.uniform(0.9, 1.1),
        frontal=rng.uniform(0.5, 1.3),
        origin=(rng.uniform(0, 9), rng.uniform(0, 9), rng.uniform(0, 9)),
    )


@dataclass(frozen=True)
class Surfaces:
    """Signed distances of a slice's pixels to surfaces, negative inside; float32 [height, width]."""

    points: Points
    skin: Field
    skull: Field
    cavity: Field
    cerebrum: Field
    cerebellum: Field
    stem: Field
    fine: Field
    coarse: Field
    grain: Field


def measure_surfaces(head: Head, view: View, points: Points) -> Surfaces:
    """Distances to skin, skull, brain and its parts, with the two noises that roughen them."""
    coarse = sample_texture("coarse", points, view, 4.2, head.origin)
    fine = sample_texture("fine", points, view, 1.35 / head.folding, head.origin)
    grain = sample_texture("grain", points, view, 0.62, head.origin)
    skin = _skin(head, points)
    skull = (
        ellipsoid(points, (0, -0.01, 0.05), head.outer) + np.float32(head.scalp) + coarse * np.float32(0.006)
    )
    vault = ellipsoid(points, (0, -0.01, 0.05), head.inner) + coarse * np.float32(0.006)
    cavity = soft_cut(vault, _base(points) - points.z + fine * np.float32(0.010), 0.12)
    stem = _stem(points)
    gap = np.float32(head.atrophy)
    tent = _tentorium(points)
    petrous = (points.y - np.float32(0.03) + np.float32(0.55) * np.abs(points.x)) * np.float32(0.8)
    below = np.maximum(points.z - tent, petrous) + np.float32(0.012)
    cerebrum = soft_cut(cavity + gap, -below + np.float32(0.022), 0.03)
    hindbrain = ellipsoid(points, (0, -0.42, -0.40), (0.60 * head.width, 0.44, 0.36))
    cerebellum = soft_cut(soft_cut(hindbrain, cavity + gap, 0.03), below, 0.02)
    return Surfaces(points, skin, skull, cavity, cerebrum, cerebellum, stem, fine, coarse, grain)


def _skin(head: Head, points: Points) -> Field:
    size = head.face
    skin = ellipsoid(points, (0, -0.01, 0.05), head.outer)
    jaw = ellipsoid(points, (0, 0.42, -0.62), (0.56 * size, 0.47, 0.62 * size))
    neck = ellipsoid(points, (0, -0.22, -1.25), (0.50, 0.50, 0.95))
    nose = ellipsoid(points, (0, 0.90, -0.56), (0.10, 0.20 * size, 0.18))
    chin = ellipsoid(points, (0, 0.66, -1.06), (0.30, 0.24, 0.22))
    return soft_union(soft_union(soft_union(skin, jaw, 0.10), neck, 0.14), soft_union(nose, chin, 0.06), 0.08)


def _base(points: Points) -> Field:
    """Height of the floor of the skull: high above the orbits, lower at the temples, lowest behind."""
    x, y, _ = points
    front = step(y, 0.34, 0.26)
    back = step(-y, 0.05, 0.30)
    middle = np.square(x / np.float32(0.20))
    saddle = np.exp(-middle) * np.float32(0.10) * (1 - front) * (1 - back)
    floor = np.float32(-0.45) + front * np.float32(0.25) - back * np.float32(0.26) + saddle
    return np.asarray(floor, np.float32)


def _tentorium(points: Points) -> Field:
    """Height of the roof of the cerebellum: a tent with its ridge in the middle, falling to the back."""
    x, y, _ = points
    roof = np.float32(-0.08) + np.float32(0.26) * np.clip(y, -0.9, 0.0) - np.float32(0.28) * np.abs(x)
    return np.asarray(roof, np.float32)


def _stem(points: Points) -> Field:
    medulla = capsule(points, (0, -0.17, -0.45), (0, -0.30, -1.4), (0.095, 0.065))
    midbrain = capsule(points, (0, -0.05, -0.12), (0, -0.14, -0.36), (0.12, 0.13))
    pons = ellipsoid(points, (0, -0.06, -0.36), (0.17, 0.13, 0.15))
    return soft_union(soft_union(midbrain, medulla, 0.05), pons, 0.04)
