"""The eight orientations of a picture, and affine transforms between pictures.

An orientation is a number 0 to 7: bit 0 says mirrored left–right, the rest how many quarter turns
counter-clockwise follow. A transform is float64 [2, 3] in fractions of width and height, x right, y down: it
takes a point of one picture to the point of the other that shows the same.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ORIENTATIONS = 8
INVERSES = np.array([0, 1, 6, 3, 4, 5, 2, 7])  # a mirrored picture is its own way back

Transform = npt.NDArray[np.float64]

_MIRROR = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
_QUARTER = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def turn(stack: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """A stack [..., side, side] in that orientation: mirrored, then turned counter-clockwise; a view."""
    mirrored = stack[..., ::-1] if orientation & 1 else stack
    return np.rot90(mirrored, orientation >> 1, axes=(-2, -1))


def turn_spectra(spectra: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Cosine spectra [..., k, k] (rows, columns) of stacks that `turn` would turn.

    Mirroring changes the sign of a cosine of odd order, and a quarter turn exchanges the axes besides.
    """
    signs = np.where(np.arange(spectra.shape[-1]) % 2, np.float32(-1), np.float32(1))
    turned = spectra * signs if orientation & 1 else spectra
    for _ in range(orientation >> 1):
        turned = np.swapaxes(turned, -1, -2) * signs[:, None]
    return turned


def turn_sides(sides: npt.NDArray[np.bool_], orientation: int) -> npt.NDArray[np.bool_]:
    """Flags [..., 4] of left, top, right and bottom sides, for the turned picture."""
    turned = sides[..., [2, 1, 0, 3]] if orientation & 1 else sides
    for _ in range(orientation >> 1):
        turned = turned[..., [1, 2, 3, 0]]
    return turned


def orient(orientation: int) -> Transform:
    """The transform from a picture to itself in that orientation."""
    matrix = _MIRROR if orientation & 1 else np.eye(3)
    for _ in range(orientation >> 1):
        matrix = _QUARTER @ matrix
    return matrix[:2].copy()


def name_orientation(transform: Transform) -> tuple[bool, int]:
    """Mirrored or not, and degrees counter-clockwise (0, 90, 180, 270): the orientation nearest to it."""
    mirrored, turned = name_orientations(transform[None])
    return bool(mirrored[0]), int(turned[0])


def name_orientations(transforms: Transform) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """`name_orientation` of many, [n, 2, 3]: bool [n] and degrees [n]; ties go to the smaller orientation."""
    upright = np.stack([orient(orientation)[:, :2] for orientation in range(ORIENTATIONS)])
    fits = np.einsum("nij,kij->nk", transforms[:, :, :2], upright).round(9)
    best = fits.argmax(axis=1)
    return best % 2 == 1, 90 * (best // 2)


def compose(after: Transform, before: Transform) -> Transform:
    """The transform that applies `before`, then `after`."""
    linear = after[:, :2] @ before[:, :2]
    shift = after[:, :2] @ before[:, 2] + after[:, 2]
    return np.column_stack([linear, shift])


def invert(transform: Transform) -> Transform:
    """The way back. The linear part must not be singular."""
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def flatten(transform: Transform) -> list[float]:
    """Six floats a…f, rounded to 6 decimals; no negative zero."""
    return [float(value) + 0.0 for value in transform.ravel().round(6)]


def unflatten(numbers: Sequence[float]) -> Transform:
    """The transform of six floats a…f."""
    return np.array(numbers, dtype=np.float64).reshape(2, 3)
