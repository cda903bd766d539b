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

PIXELS_AT_ONCE = 1 << 16  # of a batch: what a step works on stays in the processor's cache
SUMMED = 2048  # pixels of a partial sum: larger products would be shared out among threads
GRID = np.float32(6144)  # adding it rounds places to 1/2048 pixel, wherever in a batch their image lies
SETTLED = 1e-4  # a step that changes the correlation by less is the last
RIDGE = 1e-9  # of the trace: a direction that no pixel decides stays as it is

Matrices = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


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


def refine_batch(first: Floats, second: Floats, matrices: Matrices, iterations: int) -> Refined:
    """Refine `matrices` [n, 2, 3] between float32 images [n, h, h], by at most so many steps each."""
    plan, matrices, likeness = _Plan(*first.shape[:2]), matrices.copy(), np.empty(len(first))
    for rows in _split_rows(len(first), first.shape[-1]):
        part = _refine_part(plan, first[rows], second[rows], matrices[rows], iterations)
        matrices[rows], likeness[rows] = part.matrices, part.likeness
    return Refined(matrices, likeness.round(6))


def correlate_batch(first: Floats, second: Floats, matrices: Matrices, least: float) -> Numbers:
    """How alike images [n, h, h] are as `matrices` lay them, their means left in: float64 [n], 6 decimals.

    −1 where they share less than `least` of a frame.
    """
    found = np.empty(len(first))
    for rows in _split_rows(len(first), first.shape[-1]):
        sampler = _Sampler(matrices[rows], first.shape[-1])
        here = first[rows].reshape(len(sampler.inside), -1) * sampler.inside
        there = sampler.sample(_pad(second[rows][..., None]))[..., 0]
        products = (_sum_pixels(here * there), _sum_pixels(here * here), _sum_pixels(there * there))
        likeness = products[0] / np.sqrt(products[1] * products[2] + 1e-9)
        found[rows] = np.where(sampler.inside.mean(axis=1) >= least, likeness, -1.0)
    return found.round(6)


def _split_rows(count: int, side: int) -> list[slice]:
    step = _count_at_once(side)
    return [slice(start, start + step) for start in range(0, count, step)]


def _count_at_once(side: int) -> int:
    return max(1, PIXELS_AT_ONCE // side**2)


def _refine_part(
    plan: "_Plan", first: Floats, second: Floats, matrices: Matrices, iterations: int
) -> Refined:
    template, moved = first.reshape(len(first), -1), _pad(_add_slopes(second))
    likeness, left = np.full(len(first), -1.0), np.arange(len(first))
    for _ in range(iterations):
        sums = plan.measure(template[left], moved[left], matrices[left])
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

    def __init__(self, count: int, side: int) -> None:
        self._half = (side - 1) / 2
        axis = ((np.arange(side) - self._half) / self._half).astype(np.float32)
        self._x, self._y = (grid.ravel() for grid in np.meshgrid(axis, axis))
        # Kept from step to step: fresh memory costs more than what is written there.
        self._rows = np.empty((min(count, _count_at_once(side)), 9, side**2), np.float32)

    def measure(self, template: Floats, moved: Floats, matrices: Matrices) -> _Sums:
        """Sums for one step; `template` [n, pixels], `moved` as `_pad(_add_slopes(…))` gives it."""
        sampler = _Sampler(matrices, moved.shape[2] - 2)
        rows = self._rows[: len(template)]
        seen = sampler.sample(moved)
        for place, channel in ((0, 1), (3, 2)):
            slopes = rows[:, place]
            np.copyto(slopes, seen[..., channel])
            np.multiply(slopes, self._x, out=rows[:, place + 1])
            np.multiply(slopes, self._y, out=rows[:, place + 2])
        np.multiply(template, sampler.inside, out=rows[:, 6])
        np.copyto(rows[:, 7], seen[..., 0])
        rows[:, 8] = sampler.inside
        products, counts = _multiply_rows(rows), np.maximum(1.0, _sum_pixels(sampler.inside))
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


class _Sampler:
    """Where `matrices` [n, 2, 3] carry the pixels of a frame.

    `inside`, float32 [n, pixels], is 1 where that is within the frame, else 0.
    """

    def __init__(self, matrices: Matrices, side: int) -> None:
        count, axis = len(matrices), np.arange(side, dtype=np.float32)
        near = matrices.astype(np.float32)[..., None]
        rows = near[:, :, 1] * axis + near[:, :, 2]  # float32 [n, 2, side]
        x, y = (rows[:, k, :, None] + near[:, k, 0, :, None] * axis for k in (0, 1))
        low, high = np.float32(-0.5), np.float32(side - 0.5)
        shown = (np.minimum(x, y) >= low) & (np.maximum(x, y) < high)
        self.inside: Floats = shown.reshape(count, -1).astype(np.float32)
        x, y = (np.clip((place + GRID) - GRID, -1, side) for place in (x, y))
        y += (np.arange(count, dtype=np.float32) * (side + 1))[:, None, None]
        self._maps = (x.reshape(-1, side) + 1, y.reshape(-1, side) + 1)

    def sample(self, padded: Floats) -> Floats:
        """Padded images at those places, bilinear, black outside: float32 [n, pixels, channels]."""
        count, _, _, channels = padded.shape
        tall = padded.reshape(-1, *padded.shape[2:])
        taken = cv2.remap(tall, *self._maps, cv2.INTER_LINEAR)
        return np.asarray(taken, np.float32).reshape(count, -1, channels)


def _pad(images: Floats) -> Floats:
    """Images [n, h, h, channels] in black frames, one row above: float32 [n, h + 1, h + 2, channels].

    One after the other, the row above an image is the row below the one before it.
    """
    count, side, _, channels = images.shape
    padded = np.zeros((count, side + 1, side + 2, channels), np.float32)
    padded[:, 1:, 1:-1] = images
    return padded


def _add_slopes(images: Floats) -> Floats:
    """Images [n, h, h] with their central differences along x and y, none at the rim: float32 [n, h, h, 4].

    The fourth channel is empty: OpenCV samples four faster than three.
    """
    made = np.zeros((*images.shape, 4), np.float32)
    made[..., 0] = images
    made[:, :, 1:-1, 1] = (images[:, :, 2:] - images[:, :, :-2]) * np.float32(0.5)
    made[:, 1:-1, :, 2] = (images[:, 2:] - images[:, :-2]) * np.float32(0.5)
    return made


def _sum_pixels(maps: Floats) -> Numbers:
    """Sums over maps [n, pixels], rounded once in each of 32 parts: float64 [n]."""
    return np.asarray(maps.reshape(len(maps), 32, -1).sum(axis=-1).sum(axis=-1, dtype=np.float64))
