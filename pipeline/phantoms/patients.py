"""Phantom patients: one head, perhaps a tumour, one or more examinations, several slices of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.digests import seed_for
from pipeline.labels import Label
from pipeline.phantoms import tissues
from pipeline.phantoms.anatomy import Head, draw_head
from pipeline.phantoms.geometry import Plane, View
from pipeline.phantoms.scanner import Scan, draw_scan
from pipeline.phantoms.tumours import Tumour, draw_tumour

AXES: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
GAP = (0.055, 0.08)


@dataclass(frozen=True)
class Slice:
    """One picture before it is rendered: all that its pixels depend on.

    Args:
        picture: its name, unique among all phantoms of a seed.
        patient: the true person; pid: the id of the examination as the reference spells it.
    """

    picture: str
    patient: str
    pid: str | None
    label: Label
    head: Head
    tumour: Tumour | None
    scan: Scan
    view: View
    seed: int


def draw_slices(
    patient: str,
    label: Label,
    *,
    seed: int,
    count: int,
    pids: Sequence[str | None] = (None,),
    mixed: bool = False,
) -> list[Slice]:
    """`count` slices of one person, shared among `pids`, a function of (seed, patient) alone.

    A second examination shows the same head later: the tumour has grown or shrunk, the settings differ.
    Slices of one plane lie a few millimetres apart, so they are similar and never the same.

    Args:
        mixed: whether the examination may be T2 or FLAIR and not contrast-enhanced T1 alone.
    """
    rng = np.random.default_rng(seed_for(seed, "patient", patient))
    head = draw_head(rng)
    tumour = draw_tumour(label, head, rng)
    slices: list[Slice] = []
    for index, pid in enumerate(pids):
        share = len(range(index, count, len(pids)))
        scan = draw_scan(_draw_sequence(label, mixed, rng), rng)
        grown = _grow(tumour, rng) if index else tumour
        for view in _draw_views(head, grown, share, axial=mixed and label == "no_tumor", rng=rng):
            name = f"{patient}/{len(slices):02d}"
            slices.append(
                Slice(name, patient, pid, label, head, grown, scan, view, seed_for(seed, "noise", name))
            )
    return slices


def _draw_sequence(label: Label, mixed: bool, rng: np.random.Generator) -> tissues.Sequence:
    """Kaggle's no_tumor pictures are of all kinds; the reference holds contrast-enhanced T1 alone."""
    usual = 1.0 if not mixed else 0.25 if label == "no_tumor" else 0.90
    draw = rng.random()
    return "t1c" if draw < usual else "t2" if draw < (1 + usual) / 2 else "flair"


def _grow(tumour: Tumour | None, rng: np.random.Generator) -> Tumour | None:
    if tumour is None:
        return None
    factor = float(rng.choice([rng.uniform(0.75, 0.9), rng.uniform(1.1, 1.3)]))
    first, second, third = (radius * factor for radius in tumour.radii)
    return replace(tumour, radii=(first, second, third), uptake=tumour.uptake * rng.uniform(0.8, 1.0))


def _draw_views(
    head: Head, tumour: Tumour | None, count: int, *, axial: bool, rng: np.random.Generator
) -> list[View]:
    """Runs of neighbouring slices, plane after plane, until there are `count`."""
    chances = [0.15, 0.10, 0.75] if axial else [0.30, 0.30, 0.40]
    planes = rng.choice(list(AXES), size=3, replace=False, p=chances)
    runs = max(1, min(3, int(np.ceil(count / 2))))
    views: list[View] = []
    for run in range(runs):
        share = len(range(run, count, runs))
        views += _draw_run(planes[run], tumour, share, rng)
    return views


def _draw_run(plane: Plane, tumour: Tumour | None, count: int, rng: np.random.Generator) -> list[View]:
    axis = AXES[plane]
    gap = rng.uniform(*GAP)
    if tumour is None:
        low, high = {"sagittal": (-0.4, 0.4), "coronal": (-0.5, 0.5), "axial": (-0.4, 0.5)}[plane]
        middle = rng.uniform(low, high)
    else:
        middle = tumour.centre[axis] + rng.uniform(-0.15, 0.15) * tumour.radii[axis]
        gap = min(gap, max(GAP[0], 1.2 * tumour.radii[axis] / max(count - 1, 1)))
    extent = rng.uniform(1.04, 1.24)
    shift = rng.normal(0, 0.03, 2) - (0, 0.08 if plane != "axial" else 0)
    tilt = rng.normal(0, 0.05)
    views = []
    for index in range(count):
        offset = middle + (index - (count - 1) / 2) * gap
        if plane == "sagittal" and abs(offset) < 0.015:
            offset = 0.015
        moved = shift + rng.normal(0, 0.008, 2)
        place = (float(moved[0]), float(moved[1]))
        views.append(View(plane, float(offset), float(extent), place, float(tilt + rng.normal(0, 0.008))))
    return views
