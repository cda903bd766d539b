"""The ways in which one picture is looked at when another asks for it."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.curation.orientation import ORIENTATIONS, turn_sides, turn_spectra
from pipeline.curation.spectra import ANGLES, ORDER, Spectra, crop_matrix, round_spectra
from pipeline.curation.thumbnails import Floats

CROPS = (0.0, 0.12)  # of the box, on each side where the asking picture touches its rim


Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class View:
    """Turned by `ANGLES[angle]`, then whole (`cut` None), or its box less `CROPS[cut]` on the four sides."""

    angle: int
    cut: tuple[int, int, int, int] | None

    @property
    def is_cut(self) -> bool:
        """Whether a side is cut, so that not every picture may ask in every orientation."""
        return self.cut is not None and any(self.cut)


@cache
def list_views() -> tuple[View, ...]:
    """All views, those of whole frames first."""
    angles = range(len(ANGLES))
    left, top, right, bottom = (range(len(CROPS)) for _ in range(4))
    cuts = product(left, top, right, bottom)
    whole = [View(angle, None) for angle in angles]
    return tuple(whole + [View(angle, cut) for cut in cuts for angle in angles])


def count_whole() -> int:
    """How many of `list_views` are of whole frames."""
    return len(ANGLES)


class Queries:
    """Pictures as they ask: upright, whole or cut to their box."""

    def __init__(self, spectra: Spectra) -> None:
        self.touches = spectra.touches
        self._whole = spectra.full[0]
        self._box = spectra.box[0][..., :ORDER, :ORDER]
        self._turned = [turn_sides(self.touches, orientation) for orientation in range(ORIENTATIONS)]

    def admit(self, view: View, orientation: int, rows: Rows) -> Rows:
        """Positions in `rows` of pictures that, so oriented, touch each side that the view cuts."""
        if view.cut is None:
            return np.arange(len(rows))
        untouched = ~self._turned[orientation][rows] & (np.array(view.cut) > 0)
        return np.flatnonzero(~untouched.any(axis=1))

    def refuse(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """The same for all views at once: bool [rows, orientations, views], True where not admitted."""
        cuts = np.array([view.cut or (0, 0, 0, 0) for view in list_views()]) > 0
        untouched = np.stack([~turned[rows] for turned in self._turned], axis=1)
        return np.asarray((untouched[:, :, None, :] & cuts).any(axis=-1), np.bool_)

    def ask(self, view: View, orientation: int, rows: Rows) -> Floats:
        """Spectra [rows, d] of oriented pictures."""
        return turn_spectra(self.take_upright(view, rows), orientation).reshape(len(rows), 2 * ORDER * ORDER)

    def take_upright(self, view: View, rows: Rows) -> Floats:
        """The same upright: [rows, 2, 8, 8]."""
        chosen = (self._whole if view.cut is None else self._box)[rows].astype(np.float32)
        return chosen if view.cut is None else round_spectra(chosen)


class Bank:
    """Some pictures in all views: `spectra` float32 [views, rows, d], in the order of `list_views`."""

    def __init__(self, spectra: Spectra, rows: slice | Rows) -> None:
        cuts = [(crop_matrix(low, 1 - high), (low, high)) for low, high in product(CROPS, repeat=2)]
        matrices = {sides: matrix for matrix, sides in cuts}
        shown = []
        for view in list_views():
            if view.cut is None:
                seen = spectra.full[view.angle][rows].astype(np.float32)
            else:
                left, top, right, bottom = (CROPS[k] for k in view.cut)
                box = spectra.box[view.angle][rows].astype(np.float32)
                seen = round_spectra(matrices[top, bottom] @ box @ matrices[left, right].T)
            shown.append(seen.reshape(len(seen), -1))
        self.spectra: Floats = np.stack(shown)

    def __len__(self) -> int:
        return int(self.spectra.shape[1])
