"""Affine refinement of many pairs at once: ECC (enhanced correlation coefficient) on batches of small images.

The method is that of Evangelidis and Psarakis (PAMI 30(10), 2008, forwards additive): each step solves a
6 × 6 system for the change of the transform that raises the correlation most. OpenCV's `findTransformECC`
does the same for one pair, in about 100 µs a step at 32 pixels, most of it preparation; a batch takes a
quarter of that.
What comes of a pair is a function of that pair alone: no sum runs over two pairs, and every product has the
same shape in every batch, so that its terms are added in the same order.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.curation.thumbnails import Floats

PIXELS_AT_ONCE = 1 << 17  # of a batch; twice as many leave the cache, half as many cost more calls
SUMMED = 2048  # pixels of a partial sum: larger products would be shared out among threads
GRID = np.float32(6144)  # adding it rounds places to 1/2048 pixel, exact up to 8,192: the height of a batch
SETTLED = 1e-4  # a step that changes the correlation by less is the last
RIDGE = 1e-9  # of the trace: a direction that no pixel decides stays as it is

Matrices = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Refined:
    """What came of n pairs.

    Attributes:
        matrices: float64 [n, 2, 3], from pixel centres of the first image to those of the second.
        likeness: float64 [n], correlation over the pixels that both have as it was before the last step,
            rounded to 6 decimals; −1 where the refinement diverged.
    """

    matrices: Matrices
    likeness: Numbers


def refine_batch(images: Floats, ends: Rows, matrices: Matrices, iterations: int) -> Refined:
    """Refine `matrices` [n, 2, 3] between pairs of images, by at most so many steps each.

    Args:
        images: float32 [m, h, h].
        ends: rows of the first and second image of each pair, [n, 2].
        matrices: where to start from.
        iterations: steps, one or more.
    """
    side, count = images.shape[-1], len(ends)
    plan, room, matrices, likeness = _Plan(side), _Room(side, 4), matrices.copy(), np.empty(count)
    for rows in _split_rows(count, side):
        first = images[ends[rows, 0]].reshape(-1, side**2)
        moved = room.hold_slopes(images[ends[rows, 1]])
        part = _refine_part(plan, first, moved, matrices[rows], iterations)
        matrices[rows], likeness[rows] = part.matrices, part.likeness
    return Refined(matrices, likeness.round(6))


def correlate_batch(images: Floats, ends: Rows, matrices: Matrices, least: float) -> Numbers:
    """How alike pairs of images are as `matrices` lay them, their means left in: float64 [n], 6 decimals.

    −1 where they share less than `least` of a frame. `images` and `ends` as for `refine_batch`.
    """
    side, found = images.shape[-1], np.empty(len(ends))
    room = _Room(side, 2)
    for rows in _split_rows(len(ends), side):
        seen = sample(room.hold(images[ends[rows, 1]]), matrices[rows])
        there, inside = seen[..., 0], seen[..., 1]
        here = images[ends[rows, 0]].reshape(-1, side**2) * inside
        products = (_sum_pixels(here * there), _sum_pixels(here * here), _sum_pixels(there * there))
        likeness = products[0] / np.sqrt(products[1] * products[2] + 1e-9)
        found[rows] = np.where(_sum_pixels(inside) >= least * side**2, likeness, -1.0)
    return found.round(6)


def _split_rows(count: int, side: int) -> list[slice]:
    step = _count_at_once(side)
    return [slice(start, start + step) for start in range(0, count, step)]


def _count_at_once(side: int) -> int:
    return max(1, PIXELS_AT_ONCE // side**2)


def _refine_part(plan: "_Plan", first: Floats, moved: Floats, matrices: Matrices, iterations: int) -> Refined:
    likeness, left = np.full(len(first), -1.0), np.arange(len(first))
    for _ in range(iterations):
        whole = len(left) == len(first)  # then nothing is copied
        seen = (first, moved) if whole else (first[left], moved[left])
        sums = plan.measure(*seen, matrices[left])
        going = np.abs(sums.likeness - likeness[left]) >= SETTLED
        likeness[left] = sums.likeness
        change, holds = sums.solve()
        likeness[left[~holds]] = -1.0
        going &= holds
        matrices[left[going]] += plan.to_matrices(change[going])
        left = left[going]
        if not len(left):
            break
    return Refined(matrices, likeness)


@dataclass(frozen=True)
class _Sums:
    """What one step needs of n pairs.

    Attributes:
        system: float64 [n, 6, 6], products of the slopes along the parameters.
        with_first: float64 [n, 6], their products with the first image.
        with_second: the same with the second, as it lies.
        images: float64 [n, 2, 2], products of the two images.
    """

    system: Matrices
    with_first: Numbers
    with_second: Numbers
    images: Matrices

    @property
    def likeness(self) -> Numbers:
        norms = np.maximum(self.images[:, 0, 0] * self.images[:, 1, 1], 0)
        likeness: Numbers = self.images[:, 0, 1] / np.maximum(1e-12, np.sqrt(norms))
        return likeness

    def solve(self) -> tuple[Numbers, Flags]:
        """The change of the six parameters [n, 6], and for which pairs there is one."""
        trace = np.trace(self.system, axis1=1, axis2=2)
        system = self.system + (RIDGE * trace + 1e-12)[:, None, None] * np.eye(6)
        solved = np.linalg.solve(system, np.stack([self.with_second, self.with_first], axis=-1))
        upper = self.images[:, 1, 1] - (self.with_second * solved[..., 0]).sum(axis=1)
        lower = self.images[:, 0, 1] - (self.with_first * solved[..., 0]).sum(axis=1)
        holds = lower > 0
        gain = upper / np.where(holds, lower, 1.0)
        change = gain[:, None] * solved[..., 1] - solved[..., 0]
        holds &= np.isfinite(change).all(axis=1)
        return change, holds


class _Plan:
    """Where the pixels of a frame lie, and how sums over them make the system.

    Parameters are (shift, slope along x, slope along y) of x, then of y, in coordinates −1 to 1 from the
    frame's middle, so that the system is well conditioned.
    """

    def __init__(self, side: int) -> None:
        self._half = (side - 1) / 2
        axis = ((np.arange(side) - self._half) / self._half).astype(np.float32)
        self._x, self._y = (grid.ravel() for grid in np.meshgrid(axis, axis))
        # Kept from step to step: fresh memory costs more than what is written there.
        self._rows = np.empty((_count_at_once(side), 9, side**2), np.float32)

    def measure(self, first: Floats, moved: Floats, matrices: Matrices) -> _Sums:
        """Sums for one step; `first` [n, pixels], `moved` as `_Room.hold_slopes` gives it."""
        rows, seen = self._rows[: len(first)], sample(moved, matrices)
        for place, channel in ((0, 1), (3, 2)):
            slopes = rows[:, place]
            np.copyto(slopes, seen[..., channel])
            np.multiply(slopes, self._x, out=rows[:, place + 1])
            np.multiply(slopes, self._y, out=rows[:, place + 2])
        np.copyto(rows[:, 7], seen[..., 0])
        np.copyto(rows[:, 8], seen[..., 3])
        np.multiply(first, rows[:, 8], out=rows[:, 6])
        products, counts = _multiply_rows(rows), np.maximum(1.0, _sum_pixels(rows[:, 8]))
        sums = products[:, 8]
        # Both images are freed of their mean; the slopes need not be, against images of mean zero.
        free = products[:, :8] - sums[:, :, None] * sums[:, None, :] / counts[:, None, None]
        sides = free[:, :6, 6:]
        return _Sums(products[:, :6, :6], sides[..., 0], sides[..., 1], free[:, 6:, 6:])

    def to_matrices(self, change: Numbers) -> Matrices:
        """Changes of the parameters [n, 6] as changes of matrices between pixel centres [n, 2, 3]."""
        rows = change.reshape(-1, 2, 3)
        linear = rows[..., 1:] / self._half
        shift = rows[..., 0] - linear.sum(axis=-1) * self._half
        return np.concatenate([linear, shift[..., None]], axis=-1)


def _multiply_rows(rows: Floats) -> Matrices:
    """Products of rows [n, 9, pixels] with the first eight of them: float64 [n, 9, 8].

    With all nine the factors would be equal, and for these NumPy takes a routine three times slower.
    """
    parts = [
        rows[:, :, start : start + SUMMED] @ rows[:, :8, start : start + SUMMED].swapaxes(1, 2)
        for start in range(0, rows.shape[2], SUMMED)
    ]
    return np.asarray(np.sum(parts, axis=0, dtype=np.float64))


class _Room:
    """Room for a batch of images in black frames; the last channel is 1 within an image, 0 in its frame.

    A row above and a column to either side; the row above an image is the row below the one before it.
    """

    def __init__(self, side: int, channels: int) -> None:
        self._side = side
        self._held = np.zeros((_count_at_once(side), side + 1, side + 2, channels), np.float32)
        self._held[:, 1:, 1:-1, -1] = 1

    def hold(self, images: Floats) -> Floats:
        """Images [n, h, h] as the first channel: float32 [n, h + 1, h + 2, channels]."""
        held = self._held[: len(images)]
        held[:, 1:, 1:-1, 0] = images
        return held

    def hold_slopes(self, images: Floats) -> Floats:
        """The same, and their central differences along x and y, none at the rim, as the next two."""
        held, half = self.hold(images), images * np.float32(0.5)
        np.subtract(half[:, :, 2:], half[:, :, :-2], out=held[:, 1:, 2:-2, 1])
        np.subtract(half[:, 2:], half[:, :-2], out=held[:, 2:-1, 1:-1, 2])
        return held


def sample(held: Floats, matrices: Matrices) -> Floats:
    """What images, as `_Room` holds them, show where `matrices` [n, 2, 3] carry the pixels of a frame.

    Bilinear, black outside: float32 [n, pixels, channels].
    """
    count, side, channels = len(held), held.shape[2] - 2, held.shape[3]
    axis, near = np.arange(side, dtype=np.float32), matrices.astype(np.float32)[..., None]
    rows = near[:, :, 1] * axis + near[:, :, 2]  # float32 [n, 2, side]
    places = rows[:, :, :, None] + (near[:, :, 0] * axis)[:, :, None]
    places += GRID
    places -= GRID
    np.clip(places, -1, side, out=places)
    places += 1
    places[:, 1] += (np.arange(count, dtype=np.float32) * (side + 1))[:, None, None]
    x, y = (np.ascontiguousarray(places[:, k]).reshape(-1, side) for k in (0, 1))
    taken = cv2.remap(held.reshape(-1, *held.shape[2:]), x, y, cv2.INTER_LINEAR)
    return np.asarray(taken, np.float32).reshape(count, -1, channels)


def _sum_pixels(maps: Floats) -> Numbers:
    """Sums over maps [n, pixels], rounded once in each of 32 parts: float64 [n]."""
    return np.asarray(maps.reshape(len(maps), 32, -1).sum(axis=-1).sum(axis=-1, dtype=np.float64))
