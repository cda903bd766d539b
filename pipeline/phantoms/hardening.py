"""Copies that plain thumbnails do not find: rotated, cropped, bordered, turned, filtered, blurred."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.labels import LABELS, Label
from pipeline.phantoms.compilation import CLASSES
from pipeline.phantoms.compilation import NAME as COMPILATION
from pipeline.phantoms.distortions import UNDISTORTED, Sides
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.reference import NAME as REFERENCE
from pipeline.phantoms.republishing import CODES, MASOUD, SARTAJ, Edition
from pipeline.phantoms.scanner import SIZE
from pipeline.phantoms.shelves import Plan, PublishedSplit, Shelf, treat_copy

HARD_STEPS = ("rotated", "cropped", "bordered", "turned", "equalised", "blurred")
# What is done to a hard copy, in turn: alone first, then combined with each other and with plain steps.
HARD_KINDS: tuple[tuple[str, ...], ...] = (
    ("rotated",),
    ("cropped",),
    ("bordered",),
    ("turned",),
    ("equalised",),
    ("blurred",),
    ("mirrored", "rotated"),
    ("turned", "re-scaled"),
    ("cropped", "re-brightened"),
    ("rotated", "equalised"),
    ("mirrored", "bordered"),
    ("rotated", "cropped"),
)
# Where the picture comes from, and the published folder that its hard copy goes to.
ROUTES: tuple[tuple[str, PublishedSplit], ...] = (
    ("own", "test"),
    ("reference", "train"),
    ("other", "test"),
    ("own", "train"),
    ("other", "train"),
)
FIRST_NUMBER = 5000

ANGLE = (5.0, 12.0)
CROP = (0.04, 0.10)
BORDER = (0.03, 0.09)
LEVELS = (0, 255, 0, 40)
CLIP = (1.5, 4.0)
BLUR = (0.9, 1.8)


@dataclass(frozen=True)
class Target:
    """A collection that gets hard copies: how many at scale 1 and at least, and which `other` lends.

    `start` is the kind it begins with, so that three short lists together hold every kind.
    """

    collection: str
    other: str
    edition: Edition
    prefix: str
    count: int
    fewest: int
    start: int


TARGETS = (
    Target(MASOUD.name, SARTAJ.name, MASOUD, "", 36, 12, 0),
    Target(SARTAJ.name, MASOUD.name, SARTAJ, "", 26, 8, 3),
    Target(COMPILATION, SARTAJ.name, MASOUD, f"{CLASSES}/", 18, 6, 6),
)


def plant_hard_copies(shelf: Shelf, scale: float) -> None:
    """Plan hard copies of pictures that lie in other published folders or collections.

    They come after everything else, so that the other files are the same with and without them.
    """
    sound = [plan for plan in shelf.plans if plan.quarantine is None and not plan.contradicts]
    pools: dict[tuple[str, Label, PublishedSplit | None], list[Plan]] = {}
    for plan in sound:
        if plan.label is not None:
            pools.setdefault((plan.collection, plan.label, plan.split), []).append(plan)
    for target in TARGETS:
        rng = shelf.rng("hard", target.collection)
        for index in range(max(target.fewest, round(target.count * scale))):
            shelf.add(_plan_copy(target, index, pools, rng))


def treat_hard(source: Treatment, how: Iterable[str], rng: np.random.Generator) -> Treatment:
    """A treatment that differs from `source` by what `how` names, plain steps and hard ones."""
    steps = set(how)
    plain = steps.difference(HARD_STEPS) or {"re-encoded"}
    copy = treat_copy(replace(source, tags=None), plain, rng)
    distortion = UNDISTORTED
    if "turned" in steps:
        distortion = replace(distortion, turn=int(rng.choice([90, 180, 270])))
    if "rotated" in steps:
        angle = float(rng.uniform(*ANGLE)) * float(rng.choice([-1.0, 1.0]))
        distortion = replace(distortion, angle=round(angle, 3))
    if "cropped" in steps:
        distortion = replace(distortion, crop=_draw_crop(rng))
    if "bordered" in steps:
        left, top, right, bottom = (round(float(share) * SIZE) for share in rng.uniform(*BORDER, 4))
        level = LEVELS[rng.integers(len(LEVELS))]
        distortion = replace(distortion, border=(left, top, right, bottom), level=level)
    if "equalised" in steps:
        distortion = replace(distortion, clip=round(float(rng.uniform(*CLIP)), 3))
    if "blurred" in steps:
        distortion = replace(distortion, blur=round(float(rng.uniform(*BLUR)), 3))
    return replace(copy, distortion=distortion)


def _draw_crop(rng: np.random.Generator) -> Sides:
    """Pixels off each side; of either axis at most the upper bound of `CROP` in all."""
    across, down = (int(share * SIZE) for share in rng.uniform(*CROP, 2))
    left, top = int(rng.integers(across + 1)), int(rng.integers(down + 1))
    return (left, top, across - left, down - top)


def _plan_copy(
    target: Target,
    index: int,
    pools: Mapping[tuple[str, Label, PublishedSplit | None], list[Plan]],
    rng: np.random.Generator,
) -> Plan:
    label = LABELS[(index + index // len(LABELS)) % len(LABELS)]
    how = HARD_KINDS[(index + target.start) % len(HARD_KINDS)]
    origin, split = ROUTES[index % len(ROUTES)]
    across: PublishedSplit = "train" if split == "test" else "test"
    if origin == "own":
        pool = pools[target.collection, label, across]
    elif origin == "reference" and label != "no_tumor":
        pool = pools[REFERENCE, label, None]
    else:
        pool = pools[target.other, label, across]
    source = pool[rng.integers(len(pool))]
    spelled = target.edition.spelling[label]
    name = target.edition.names[split].format(code=CODES[label], number=FIRST_NUMBER + index)
    path = f"{target.prefix}{target.edition.folders[split]}/{spelled}/{name}"
    treatment = treat_hard(source.treatment, how, rng)
    return Plan(target.collection, path, source.shown, treatment, spelled, split, how)
