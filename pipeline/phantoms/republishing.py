"""The Kaggle collections: mostly copies of the reference, some pictures of their own, and what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.labels import LABELS, TUMOURS, Label
from pipeline.phantoms.patients import Slice, draw_slices
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.shelves import (
    COPY_KINDS,
    Plan,
    PublishedSplit,
    Shelf,
    name_steps,
    treat_copy,
    treat_original,
)

FEWEST_OWN = 4
FEWEST_WEB = 12


@dataclass(frozen=True)
class Edition:
    """How one collection was put together; the counts are pictures a class at scale 1, tumours and no_tumor.

    Args:
        spelling: folder a class. names: file name patterns for train and test, with {code} and {number}.
        train, test: files a class; fewest: the least of both, whatever the scale.
        twins: share of the files that are copies of others in the same collection, tumours and no_tumor.
        own: share of the tumour pictures that come from nowhere else.
        mirrored: share of the reference's pictures that are stored mirrored.
    """

    name: str
    spelling: Mapping[Label, str]
    folders: Mapping[PublishedSplit, str]
    names: Mapping[PublishedSplit, str]
    train: tuple[int, int]
    test: tuple[int, int]
    fewest: tuple[int, int]
    twins: tuple[float, float]
    own: float
    mirrored: float


CODES: dict[Label, str] = {"glioma": "gl", "meningioma": "me", "pituitary": "pi", "no_tumor": "no"}

MASOUD = Edition(
    "masoudnickparvar",
    {"glioma": "glioma", "meningioma": "meningioma", "pituitary": "pituitary", "no_tumor": "notumor"},
    {"train": "Training", "test": "Testing"},
    {"train": "Tr-{code}_{number:04d}.jpg", "test": "Te-{code}_{number:04d}.jpg"},
    train=(124, 124),
    test=(31, 31),
    fewest=(19, 6),
    twins=(0.22, 0.42),
    own=0.22,
    mirrored=0.35,
)
SARTAJ = Edition(
    "sartajbhuvaji",
    {
        "glioma": "glioma_tumor",
        "meningioma": "meningioma_tumor",
        "pituitary": "pituitary_tumor",
        "no_tumor": "no_tumor",
    },
    {"train": "Training", "test": "Testing"},
    {"train": "{code} ({number}).jpg", "test": "image({number}).jpg"},
    train=(66, 34),
    test=(14, 12),
    fewest=(10, 4),
    twins=(0.12, 0.15),
    own=0.20,
    mirrored=0.5,
)


def draw_strangers(shelf: Shelf, owner: str, scale: float) -> dict[Label, list[Slice]]:
    """Tumour slices of patients whom no collection names, two to four each."""
    patients = max(FEWEST_OWN, round(11 * scale))
    most = 4 if scale >= 0.5 else 2
    return {
        label: [
            shown
            for index in range(patients)
            for shown in draw_slices(
                f"{owner}:{label}-{index:03d}",
                label,
                seed=shelf.seed,
                count=int(shelf.rng("stranger", owner, label, index).integers(2, most + 1)),
                mixed=True,
            )
        ]
        for label in TUMOURS
    }


def draw_healthy(shelf: Shelf, scale: float) -> list[Slice]:
    """Slices without tumour from the web, one to three a person; the Kaggle collections share them."""
    people = max(FEWEST_WEB, round(58 * scale))
    return [
        shown
        for index in range(people)
        for shown in draw_slices(
            f"web:no_tumor-{index:03d}",
            "no_tumor",
            seed=shelf.seed,
            count=int(shelf.rng("web", index).integers(1, 4)),
            mixed=True,
        )
    ]


def publish_edition(
    shelf: Shelf,
    edition: Edition,
    scale: float,
    reference: Mapping[Label, Sequence[Slice]],
    strangers: Mapping[Label, Sequence[Slice]],
    healthy: Sequence[Slice],
) -> None:
    """Plan a collection's files, class after class."""
    for label in LABELS:
        kind = int(label == "no_tumor")
        rng = shelf.rng("edition", edition.name, label)
        train = max(edition.fewest[0], round(edition.train[kind] * scale))
        test = max(edition.fewest[1], round(edition.test[kind] * scale))
        base = round((train + test) * (1 - edition.twins[kind]))
        if kind:
            pool = _deal(healthy, rng)
        else:
            own = _deal(strangers[label], rng)[: round(base * edition.own)]
            pool = own + _deal(reference[label], rng)
        _publish_class(shelf, edition, label, pool[:base], train, test, rng)


def _deal(slices: Sequence[Slice], rng: np.random.Generator) -> list[Slice]:
    """Shuffled, a first slice of everybody before anybody's second, so that few files show many people."""
    order = [slices[index] for index in rng.permutation(len(slices))]
    seen: dict[str, int] = {}
    ranks = []
    for shown in order:
        ranks.append(seen.setdefault(shown.patient, 0))
        seen[shown.patient] += 1
    return [order[index] for index in np.argsort(ranks, kind="stable")]


def _publish_class(
    shelf: Shelf,
    edition: Edition,
    label: Label,
    pool: Sequence[Slice],
    train: int,
    test: int,
    rng: np.random.Generator,
) -> None:
    """First the pictures, dealt to both folders slice by slice, then copies until both are full.

    Dealing by slice and not by patient puts most patients on both sides, as the published folders do.
    """
    shelf_order = [pool[index] for index in rng.permutation(len(pool))]
    in_test = min(len(pool) - 1, round(test * 0.62))
    numbers = {"train": iter(rng.permutation(4 * train)), "test": iter(rng.permutation(4 * test))}

    def place(split: PublishedSplit) -> str:
        name = edition.names[split].format(code=CODES[label], number=int(next(numbers[split])))
        return f"{edition.folders[split]}/{edition.spelling[label]}/{name}"

    first: list[Plan] = []
    for index, shown in enumerate(shelf_order):
        split: PublishedSplit = "test" if index < in_test else "train"
        treatment = treat_original(rng, turn=index - in_test)
        if shown.pid is not None and rng.random() < edition.mirrored:
            treatment = replace(treatment, mirror=True)
        how = name_steps(treatment) if shelf.shows(shown) else ("original",)
        first.append(
            shelf.add(Plan(edition.name, place(split), shown, treatment, edition.spelling[label], split, how))
        )
    trained = [plan for plan in first if plan.split == "train"]
    splits: list[PublishedSplit] = ["test"] * (test - in_test) + ["train"] * (train - len(trained))
    for index, split in enumerate(splits):
        source = trained[index % len(trained)] if split == "test" else first[rng.integers(len(first))]
        how = COPY_KINDS[index % len(COPY_KINDS)]
        copy = treat_copy(source.treatment, how, rng)
        shelf.add(replace(source, path=place(split), treatment=copy, split=split, how=how))


def plant_quirks(shelf: Shelf, edition: Edition, scale: float) -> None:
    """Plan what went wrong: mislabelled copies, broken files, dot-folders, litter, formats under false names."""
    _plant_mislabelled(shelf, edition, max(2, round(6 * scale)))
    rng = shelf.rng("quirks", edition.name)
    train = [plan for plan in shelf.of(edition.name) if plan.split == "train"]
    folder = f"{edition.folders['train']}/{edition.spelling['glioma']}"
    source = train[rng.integers(len(train))]
    hidden = replace(source, quarantine="hidden", how=("bytes",))
    home, name = source.path.rsplit("/", 1)
    stem = name.removesuffix(".jpg")
    shelf.add(replace(hidden, path=f"{home}/.ipynb_checkpoints/{stem}-checkpoint.jpg"))
    for index in range(max(1, round(3 * scale))):
        broken = train[rng.integers(len(train))]
        cut = replace(broken.treatment, format="JPEG", mode="L", cut=float(rng.uniform(0.35, 0.8)))
        home = broken.path.rsplit("/", 1)[0]
        shelf.add(
            replace(
                broken, path=f"{home}/part_{index}.jpg", treatment=cut, quarantine="truncated", how=("truncated",)
            )
        )
        _litter(shelf, edition, f"{home}/empty_{index}.jpg", b"", "empty")
    _litter(shelf, edition, f"{folder}/Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "not_an_image")
    _litter(shelf, edition, f"{folder}/readme.txt", b"see kaggle page\r\n", "not_an_image")
    _litter(shelf, edition, f"{edition.folders['test']}/.DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64), "hidden")


def _litter(shelf: Shelf, edition: Edition, path: str, data: bytes, reason: str) -> None:
    shelf.add(Plan(edition.name, path, None, Treatment(), how=("litter",), quarantine=reason, litter=data))


def _plant_mislabelled(shelf: Shelf, edition: Edition, count: int) -> None:
    """Copies of training pictures under another class: the first byte for byte, the others re-encoded."""
    rng = shelf.rng("mislabelled", edition.name)
    train = [plan for plan in shelf.of(edition.name) if plan.split == "train" and plan.label in TUMOURS]
    for index, number in enumerate(rng.choice(len(train), size=count, replace=False)):
        source = train[number]
        wrong = TUMOURS[(TUMOURS.index(source.label or "glioma") + 1 + int(rng.integers(2))) % 3]
        how = ("bytes",) if index == 0 else ("re-encoded",)
        split: PublishedSplit = "test" if index % 4 == 1 else "train"
        name = edition.names[split].format(code=CODES[wrong], number=9000 + index)
        shelf.add(
            replace(
                source,
                path=f"{edition.folders[split]}/{edition.spelling[wrong]}/{name}",
                treatment=treat_copy(source.treatment, how, rng),
                published_label=edition.spelling[wrong],
                split=split,
                how=how,
                contradicts=True,
            )
        )

