"""Slices through a head: where each pixel lies in space, and how far from a surface.

Space: x from the patient's right (−) to left (+), y from back (−) to front (+), z from below (−) to
above (+), in units of half a head's length (about 95 mm); the origin lies in the middle of the skull.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline.phantoms.textures import Field, sample_slab

Plane = Literal["axial", "coronal", "sagittal"]
Point = tuple[float, float, float]


class Points(NamedTuple):
    """Coordinates of all pixels of a slice, each float32 [height, width]."""

    x: Field
    y: Field
    z: Field


@dataclass(frozen=True)
class View:
    """One slice: its plane, where it cuts, and how the head lies in the frame.

    Args:
        offset: position along the plane's normal, in head units.
        extent: half of the field of view, in head units.
        shift: centre of the frame in the plane, (across, down), in head units.
        tilt: in-plane rotation, radians.
    """

    plane: Plane
    offset: float
    extent: float = 1.12
    shift: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0


def place_pixels(view: View, size: int) -> tuple[Field, Field]:
    """In-plane coordinates (across, up) of the pixel centres, each float32 [size, size]."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * view.extent
    across, up = (np.asarray(field, np.float32) for field in np.meshgrid(axis, -axis))
    across, up = across + np.float32(view.shift[0]), up + np.float32(view.shift[1])
    cosine, sine = np.float32(np.cos(view.tilt)), np.float32(np.sin(view.tilt))
    return across * cosine - up * sine, across * sine + up * cosine


def lay_points(view: View, across: Field, up: Field) -> Points:
    """Points of a slice: axial shows front above, coronal top above, sagittal the face on the left."""
    flat = np.full_like(across, view.offset)
    if view.plane == "axial":
        return Points(across, up, flat)
    if view.plane == "coronal":
        return Points(across, flat, up)
    return Points(flat, -across, up)


def sample_texture(name: str, points: Points, view: View, period: float, origin: Point) -> Field:
    """Noise of a volume at the points, `period` head units a repeat, moved by `origin`.

    A slice cuts the volume along its own axis, so slices of one plane belong together.
    """
    x, y, z = (
        (value + np.float32(start)) / np.float32(period) for value, start in zip(points, origin, strict=True)
    )
    middle = x.shape[0] // 2
    if view.plane == "axial":
        return sample_slab(name, float(z[middle, middle]), x, y)
    if view.plane == "coronal":
        return sample_slab(name, float(y[middle, middle]), x, z)
    return sample_slab(name, float(x[middle, middle]), y, z)


def ellipsoid(points: Points, centre: Point, radii: Point) -> Field:
    """Approximate signed distance to an ellipsoid, negative inside, in head units; exact on the surface.

    First order: (|p/r| − 1) · |p/r| / |p/r²|.
    """
    x, y, z = ((value - np.float32(middle)) for value, middle in zip(points, centre, strict=True))
    squares = [np.square(v / np.float32(r)) for v, r in zip((x, y, z), radii, strict=True)]
    norm = np.sqrt(squares[0] + squares[1] + squares[2])
    slope = np.sqrt(
        sum(s / np.float32(r * r) for s, r in zip(squares, radii, strict=True)) + np.float32(1e-6)
    )
    return np.asarray(norm * (norm - 1) / slope, np.float32)


def capsule(points: Points, start: Point, end: Point, radius: tuple[float, float]) -> Field:
    """Signed distance to a rod whose radius goes from `radius[0]` at `start` to `radius[1]` at `end`."""
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    axis = b - a
    rx, ry, rz = points.x - a[0], points.y - a[1], points.z - a[2]
    along = np.clip((rx * axis[0] + ry * axis[1] + rz * axis[2]) / float(axis @ axis), 0, 1)
    gap = np.sqrt((rx - along * axis[0]) ** 2 + (ry - along * axis[1]) ** 2 + (rz - along * axis[2]) ** 2)
    return np.asarray(gap - (radius[0] + (radius[1] - radius[0]) * along), np.float32)


def soft_union(first: Field, second: Field, width: float) -> Field:
    """Union of two shapes whose seam is rounded over `width` (polynomial smooth minimum)."""
    mix = np.clip(np.float32(0.5) + (second - first) / np.float32(2 * width), 0, 1)
    return np.asarray(second + (first - second) * mix - np.float32(width) * mix * (1 - mix), np.float32)


def soft_cut(first: Field, second: Field, width: float) -> Field:
    """Intersection of two shapes whose edge is rounded over `width`."""
    return -soft_union(-first, -second, width)


def inside(distance: Field, width: float = 0.012) -> Field:
    """Share of each pixel inside a surface: 1 inside, 0 outside, a ramp of `width` between."""
    return np.asarray(np.clip(np.float32(0.5) - distance / np.float32(width), 0, 1), np.float32)


def step(value: Field, at: float, width: float) -> Field:
    """0 below `at`, 1 above, a smooth ramp of `width` between."""
    t = np.clip((value - np.float32(at)) / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
