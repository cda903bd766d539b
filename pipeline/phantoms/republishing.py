"""The Kaggle collections: mostly copies of the reference, some pictures of their own, and what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.labels import LABELS, TUMOURS, Label
from pipeline.phantoms.patients import Slice, draw_slices
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.shelves import (
    COPY_KINDS,
    THUMBS,
    Plan,
    PublishedSplit,
    Shelf,
    deal_people,
    name_steps,
    treat_copy,
    treat_original,
)

Rng = np.random.Generator

FEWEST_OWN = 4
FEWEST_WEB = 12
# Share of a published test folder that is no copy of a training picture.
FIRST_IN_TEST = 0.62


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
            pool = deal_people(healthy, patient_of, rng)
        else:
            own = deal_people(strangers[label], patient_of, rng)[: round(base * edition.own)]
            pool = own + deal_people(reference[label], patient_of, rng)
        _publish_class(shelf, edition, label, pool[:base], train, test, rng)


def patient_of(shown: Slice) -> str:
    """Whose slice it is."""
    return shown.patient


class Names:
    """Paths for one class of an edition: each folder's numbers in an order of their own."""

    def __init__(self, edition: Edition, label: Label, sizes: Mapping[PublishedSplit, int], rng: Rng) -> None:
        self.edition = edition
        self.label = label
        self.numbers = {split: iter(rng.permutation(size)) for split, size in sizes.items()}

    def next(self, split: PublishedSplit) -> str:
        """The next path in a published folder."""
        number = int(next(self.numbers[split]))
        name = self.edition.names[split].format(code=CODES[self.label], number=number)
        return f"{self.edition.folders[split]}/{self.edition.spelling[self.label]}/{name}"


def _publish_class(
    shelf: Shelf, edition: Edition, label: Label, pool: Sequence[Slice], train: int, test: int, rng: Rng
) -> None:
    """First the pictures, then copies of them until both folders are full."""
    names = Names(edition, label, {"train": train, "test": test}, rng)
    in_test = min(len(pool) - 1, round(test * FIRST_IN_TEST))
    first = _place_first(shelf, edition, pool, in_test, names, rng)
    trained = [plan for plan in first if plan.split == "train"]
    splits: list[PublishedSplit] = ["test" for _ in range(test - in_test)]
    splits += ["train" for _ in range(train - len(trained))]
    for index, split in enumerate(splits):
        source = trained[index % len(trained)] if split == "test" else first[rng.integers(len(first))]
        how = COPY_KINDS[(index + 2 * LABELS.index(label)) % len(COPY_KINDS)]
        copy = treat_copy(source.treatment, how, rng)
        shelf.add(replace(source, path=names.next(split), treatment=copy, split=split, how=how))


def _place_first(
    shelf: Shelf, edition: Edition, pool: Sequence[Slice], in_test: int, names: Names, rng: Rng
) -> list[Plan]:
    """Deal the pictures to both folders slice by slice.

    Dealing by slice and not by patient puts most patients on both sides, as the published folders do.
    """
    plans = []
    for index, number in enumerate(rng.permutation(len(pool))):
        shown = pool[number]
        split: PublishedSplit = "test" if index < in_test else "train"
        treatment = treat_original(rng, turn=index - in_test)
        if shown.pid is not None and rng.random() < edition.mirrored:
            treatment = replace(treatment, mirror=True)
        how = name_steps(treatment) if shelf.shows(shown) else ("original",)
        spelled = edition.spelling[shown.label]
        plans.append(shelf.add(Plan(edition.name, names.next(split), shown, treatment, spelled, split, how)))
    return plans


def plant_quirks(shelf: Shelf, edition: Edition, scale: float) -> None:
    """Plan what went wrong: mislabelled copies, broken files, dot-folders, litter."""
    _plant_mislabelled(shelf, edition, max(2, round(6 * scale)))
    rng = shelf.rng("quirks", edition.name)
    train = [plan for plan in shelf.of(edition.name) if plan.split == "train" and not plan.contradicts]
    source = train[rng.integers(len(train))]
    home, name = _split_path(source)
    checkpoint = f"{home}/.ipynb_checkpoints/{name.removesuffix('.jpg')}-checkpoint.jpg"
    shelf.add(replace(source, path=checkpoint, quarantine="hidden", how=("bytes",)))
    for index in range(max(1, round(3 * scale))):
        source = train[rng.integers(len(train))]
        home, _ = _split_path(source)
        cut = replace(source.treatment, format="JPEG", mode="L", cut=float(rng.uniform(0.35, 0.8)))
        broken = replace(source, treatment=cut, quarantine="truncated", how=("truncated",))
        shelf.add(replace(broken, path=f"{home}/part_{index}.jpg"))
        _litter(shelf, edition, f"{home}/empty_{index}.jpg", b"", "empty")
    home = f"{edition.folders['train']}/{edition.spelling['glioma']}"
    _litter(shelf, edition, f"{home}/Thumbs.db", THUMBS, "not_an_image")
    _litter(shelf, edition, f"{home}/readme.txt", b"see kaggle page\r\n", "not_an_image")
    _litter(shelf, edition, f"{edition.folders['test']}/.DS_Store", b"\0\0\0\1Bud1" + bytes(64), "hidden")


def _split_path(plan: Plan) -> tuple[str, str]:
    home, _, name = plan.path.rpartition("/")
    return home, name


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
