"""The second Kaggle collection of the sources: the first one again, and the reference with masks beside."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.labels import LABELS, TUMOURS, Label
from pipeline.phantoms.patients import Slice
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.shelves import COPY_KINDS, THUMBS, Plan, Shelf, deal_people, treat_copy

NAME = "indk214"
CLASSES = "DATASET/classification"
SEGMENTS = "DATASET/Segmentation"
SPELLING: dict[Label, str] = {"glioma": "Glioma", "meningioma": "Meningioma", "pituitary": "Pituitary tumor"}
FEWEST = 12
IDENTICAL_EVERY = 4


def publish_compilation(
    shelf: Shelf, scale: float, source: str, reference: Mapping[Label, Sequence[Slice]]
) -> None:
    """Plan the classification part, taken from collection `source`, and the segmentation part."""
    for label in LABELS:
        _copy_class(shelf, label, source, max(FEWEST, round(52 * scale)))
    for label in TUMOURS:
        _publish_segments(shelf, label, reference[label], max(3, round(16 * scale)))
    _litter(shelf, f"{CLASSES}/Testing/glioma/Thumbs.db", THUMBS, "not_an_image")
    _litter(shelf, f"{CLASSES}/Training/notumor/empty.jpg", b"", "empty")


def _copy_class(shelf: Shelf, label: Label, source: str, count: int) -> None:
    """Files of one class as `source` has them, three in four byte for byte, in the same folders."""
    rng = shelf.rng("compilation", label)
    plans = [plan for plan in shelf.of(source) if plan.label == label and not plan.contradicts]
    tests = [plan for plan in plans if plan.split == "test"]
    tests = [tests[index] for index in rng.permutation(len(tests))[: round(count / 4)]]
    trains = [plan for plan in plans if plan.split == "train"]
    trains = deal_people(trains, lambda plan: plan.shown.patient if plan.shown else "", rng)
    trains = trains[: count - len(tests)]
    for index, plan in enumerate(trains + tests):
        how = COPY_KINDS[index % len(COPY_KINDS)] if index % IDENTICAL_EVERY == 1 else ("bytes",)
        treatment = treat_copy(plan.treatment, how, rng)
        shelf.add(replace(plan, collection=NAME, path=f"{CLASSES}/{plan.path}", treatment=treatment, how=how))


def _publish_segments(shelf: Shelf, label: Label, slices: Sequence[Slice], count: int) -> None:
    """Enhanced pictures of the reference, each beside its mask; the first of a class has 16 bits."""
    rng = shelf.rng("segments", label)
    order = rng.permutation(len(slices))[:count]
    for index, number in enumerate(sorted(int(place) for place in order)):
        shown = slices[number]
        stem = f"{SEGMENTS}/{SPELLING[label]}/enh_{number + 1}"
        gain, lift = float(rng.uniform(1.05, 1.25)), float(rng.uniform(-8, 0))
        bright = Treatment(gain=gain, lift=lift, format="PNG", mode="I;16" if index == 0 else "L")
        plan = Plan(NAME, f"{stem}.png", shown, bright, SPELLING[label], how=("re-brightened",))
        shelf.add(plan)
        mask = Treatment(format="PNG", mask=True)
        shelf.add(replace(plan, path=f"{stem}_mask.png", treatment=mask, how=("mask",), quarantine="mask"))


def _litter(shelf: Shelf, path: str, data: bytes, reason: str) -> None:
    shelf.add(Plan(NAME, path, None, Treatment(), how=("litter",), quarantine=reason, litter=data))
