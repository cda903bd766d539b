"""Plans of files: which picture, treated how, lies where, before anything is rendered."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from pipeline.digests import seed_for
from pipeline.labels import Label
from pipeline.phantoms.patients import Slice
from pipeline.phantoms.quirks import SIZES, Format, Mode, Treatment

T = TypeVar("T")

PublishedSplit = Literal["train", "test"]

# What is done to a copy, in turn, so that a small set of copies holds every kind.
COPY_KINDS: tuple[tuple[str, ...], ...] = (
    ("bytes",),
    ("mirrored",),
    ("re-scaled",),
    ("re-encoded",),
    ("mirrored", "re-scaled"),
    ("re-brightened",),
    ("mirrored", "re-scaled", "re-brightened"),
    ("bytes",),
)

# The head of a Windows thumbnail store: an OLE2 compound file.
THUMBS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


@dataclass(frozen=True)
class Plan:
    """One file to be written: a treated picture, or bytes of its own (litter, foreign images).

    Args:
        label: the true one; published_label: as the collection spells it.
        how, quarantine, contradicts, foreign: see `pipeline.phantoms.key.Planted`.
    """

    collection: str
    path: str
    shown: Slice | None
    treatment: Treatment
    published_label: str | None = None
    split: PublishedSplit | None = None
    how: tuple[str, ...] = ("original",)
    pid: str | None = None
    quarantine: str | None = None
    contradicts: bool = False
    foreign: str | None = None
    litter: bytes = b""

    @property
    def label(self) -> Label | None:
        """The true label; None for litter."""
        return self.shown.label if self.shown else None


@dataclass
class Shelf:
    """All plans of a world of phantoms, in the order in which they were made; paths are unique."""

    seed: int
    plans: list[Plan] = field(default_factory=list)
    taken: set[tuple[str, str]] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)

    def add(self, plan: Plan) -> Plan:
        """Put a plan on the shelf.

        Raises:
            ValueError: its path is taken.
        """
        place = (plan.collection, plan.path)
        if place in self.taken:
            raise ValueError(f"{plan.collection}/{plan.path} is planned twice")
        self.taken.add(place)
        if plan.shown is not None:
            self.pictures.add(plan.shown.picture)
        self.plans.append(plan)
        return plan

    def rng(self, *parts: object) -> np.random.Generator:
        """A generator that is a function of the seed and `parts` alone."""
        return np.random.default_rng(seed_for(self.seed, *parts))

    def shows(self, shown: Slice) -> bool:
        """Whether a file planned so far shows a picture."""
        return shown.picture in self.pictures

    def of(self, collection: str) -> list[Plan]:
        """Sound plans of a collection."""
        return [plan for plan in self.plans if plan.collection == collection and plan.quarantine is None]


def deal_people(items: Sequence[T], whose: Callable[[T], str], rng: np.random.Generator) -> list[T]:
    """Shuffled, a first item of everybody before anybody's second, so that few files show many people."""
    order = [items[index] for index in rng.permutation(len(items))]
    seen: Counter[str] = Counter()
    ranks = []
    for item in order:
        ranks.append(seen[whose(item)])
        seen[whose(item)] += 1
    return [order[index] for index in np.argsort(ranks, kind="stable")]


# What the first files of every class are made to be, so that a small class holds every colour mode.
FIRST_MODES: tuple[tuple[Mode, Format], ...] = (("RGBA", "PNG"), ("P", "PNG"), ("L", "PNG"), ("RGB", "JPEG"))


def treat_original(rng: np.random.Generator, *, turn: int) -> Treatment:
    """How a republisher stores a picture: another encoding, often another size, now and then a colour mode.

    Args:
        turn: how many of the class came before; the first few are given a colour mode each.
    """
    size = SIZES[rng.integers(len(SIZES))] if rng.random() < 0.5 else None
    quality = int(rng.integers(75, 96))
    draw = rng.random()
    if 0 <= turn < len(FIRST_MODES):
        mode, form = FIRST_MODES[turn]
        return Treatment(size=(201, 233), quality=quality, mode=mode, format=form)
    return Treatment(size=size, quality=quality, mode="RGB" if draw < 0.35 else "L")


def treat_copy(source: Treatment, how: Iterable[str], rng: np.random.Generator) -> Treatment:
    """A treatment that differs from `source` by what `how` names; `bytes` is the very same."""
    steps = set(how)
    if steps == {"bytes"}:
        return source
    quality = source.quality - 4 if source.quality > 82 else source.quality + 5
    copy = replace(source, mode="L", format="JPEG", quality=quality)
    if "mirrored" in steps:
        copy = replace(copy, mirror=not source.mirror)
    if "re-scaled" in steps:
        sizes = [size for size in SIZES if size != source.size]
        copy = replace(copy, size=sizes[rng.integers(len(sizes))])
    if "re-brightened" in steps:
        gain, lift = rng.choice([rng.uniform(0.72, 0.88), rng.uniform(1.08, 1.22)]), rng.uniform(-6, 14)
        copy = replace(copy, gain=float(gain), lift=float(lift))
    return copy


def name_steps(treatment: Treatment, *, mirrored_from: bool = False) -> tuple[str, ...]:
    """What a treatment did to the rendered picture, in words."""
    steps = [
        ("mirrored", treatment.mirror != mirrored_from),
        ("re-scaled", treatment.size is not None),
        ("re-brightened", (treatment.gain, treatment.lift) != (1.0, 0.0)),
    ]
    return tuple(name for name, done in steps if done) or ("re-encoded",)
