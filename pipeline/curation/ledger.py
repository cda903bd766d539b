"""The frozen ledger: whoever has been in test stays in test, whatever is added, removed or proven later.

Each image that was ever placed has a home, its first split, for good. The ledger also remembers as which
picture and patient an image was last known, so that what is gone still keeps its patient's newcomers out of
train. Rows are only ever added.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.curation.eligibility import Entry
from pipeline.curation.groups import Key, connect, list_keys
from pipeline.errors import GateError
from pipeline.tables import find_table, list_rows, map_cells

MOST_LOST = 0.25
"""Of the images. On the real collections 0.69 would be lost where the reference comes last, and none are
where all come at once."""

PARTS = ("train", "val", "test")  # weakest first: what gives way when two turn out to be connected


@dataclass(frozen=True)
class Memory:
    """What the ledger says of one image: as what it was last known, and its homes, for good.

    Attributes:
        split: train, val or test; None where it was only ever in a fold.
        fold: 1 to 5; None where it was in none.
        why: the rule that put it into its split; empty without one.
    """

    picture_id: str
    patient_id: str | None
    split: str | None = None
    fold: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Home:
    """Where an image belongs, by which rule, and what may not cross from there: picture and patient."""

    part: str
    why: str
    keys: tuple[Key, ...]


def read_ledger(ledger: pd.DataFrame | None) -> dict[str, Memory]:
    """What the ledger says of each image; nothing where there is none yet.

    Raises:
        GateError: an image has two homes, or one that does not exist.
    """
    found: dict[str, Memory] = {}
    if ledger is None:
        return found
    for row in list_rows(ledger.sort_values(["image_id", "release"])):
        now = Memory(
            row["picture_id"],
            _text(row["patient_id"]),
            _text(row["split"]),
            None if pd.isna(row["fold"]) else int(row["fold"]),
            row["why"],
        )
        before = found.get(row["image_id"], now)
        if now.split not in (None, *PARTS) or _moves(before, now):
            raise GateError(
                f"the ledger contradicts itself: {row['image_id']} has {_tell(before)}, and {_tell(now)} in "
                f"release {row['release']}. Its rows are only ever added: restore the table from a backup"
            )
        found[row["image_id"]] = now
    return found


def recall_splits(ledger: pd.DataFrame | None) -> dict[str, Home]:
    """image_id -> its home under `patient`, also of images that are gone.

    Raises:
        GateError: the ledger contradicts itself.
    """
    memories = read_ledger(ledger).items()
    return {
        one: Home(found.split, found.why, list_keys(found.picture_id, found.patient_id))
        for one, found in memories
        if found.split is not None
    }


def recall_folds(ledger: pd.DataFrame | None, why: str) -> dict[str, Home]:
    """image_id -> its home among the folds, `why` for all, also of images that are gone.

    Raises:
        GateError: the ledger contradicts itself.
    """
    memories = read_ledger(ledger).items()
    return {
        one: Home(str(found.fold), why, list_keys(found.picture_id, found.patient_id))
        for one, found in memories
        if found.fold is not None
    }


def extend_ledger(
    ledger: pd.DataFrame | None,
    split: pd.DataFrame | None = None,
    *,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    folds: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The ledger with what is new in a split or in folds: first homes, and new identities of old images.

    New rows carry the next release number, one for all; where nothing is new there is none. Images that are
    left out get no home. Extending twice by the same tables is extending once.

    Args:
        ledger: table `ledger`; None where there is none yet.
        split: table `splits` of protocol `patient`.
        pictures: table `pictures`, which with `patients` says as what an image is known today.
        patients: table `patients`.
        folds: table `folds`.

    Raises:
        GateError: the ledger contradicts itself, or `split` or `folds` contradicts it.
    """
    known, news = read_ledger(ledger), _list_homes(split, folds)
    names, today = find_table("ledger").names, _identify(split, pictures, patients)
    rows = [] if ledger is None else list(ledger[names].itertuples(index=False, name=None))
    release = 1 + max((int(row[1]) for row in rows), default=0)
    for image_id in sorted(known | news):
        old = known.get(image_id)
        new = _remember(image_id, old, news.get(image_id, Memory("", None)), today.get(image_id))
        if new != old:
            rows.append((image_id, release, new.picture_id, new.patient_id, new.split, new.fold, new.why))
    kinds = {"release": "int64", "fold": "Int64", "patient_id": "str", "split": "str"}
    frame = pd.DataFrame(rows, columns=names).astype(kinds)
    return frame.sort_values(["image_id", "release"], ignore_index=True)


def _list_homes(split: pd.DataFrame | None, folds: pd.DataFrame | None) -> dict[str, Memory]:
    """The homes that a split and folds give, by image_id; nothing is said of the images' identity."""
    homes: dict[str, Memory] = {}
    for row in [] if split is None else list_rows(split):
        if row["split"] in PARTS:
            homes[row["image_id"]] = Memory("", None, row["split"], None, row["why"])
    for row in [] if folds is None else list_rows(folds):
        if not pd.isna(row["fold"]):
            home = homes.get(row["image_id"], Memory("", None))
            homes[row["image_id"]] = replace(home, fold=int(row["fold"]))
    return homes


def _identify(
    split: pd.DataFrame | None, pictures: pd.DataFrame, patients: pd.DataFrame
) -> dict[str, tuple[str, str | None]]:
    """image_id -> picture and patient of today; of images that only an old split knows, the picture."""
    told: dict[str, tuple[str, str | None]] = {}
    if split is not None:
        rows = split[split["picture_id"].notna()]
        told = {
            one: (picture, None) for one, picture in zip(rows["image_id"], rows["picture_id"], strict=True)
        }
    heads = map_cells(patients, "image_id", "patient_id")
    shown = zip(pictures["image_id"], pictures["picture_id"], strict=True)
    return told | {one: (picture, _text(heads.get(one))) for one, picture in shown}


def _remember(
    image_id: str, old: Memory | None, new: Memory, identity: tuple[str, str | None] | None
) -> Memory:
    """What is known of an image from now on; an image that is gone keeps its last identity."""
    if old is None:
        picture_id, patient_id = identity or (image_id, None)
        return replace(new, picture_id=picture_id, patient_id=patient_id)
    if _moves(old, new):
        raise GateError(
            f"{image_id} has {_tell(old)} in the ledger, and now {_tell(new)}: nobody may be moved. Make the "
            "table again from the ledger"
        )
    picture_id, patient_id = identity or (old.picture_id, old.patient_id)
    return Memory(picture_id, patient_id, old.split or new.split, old.fold or new.fold, old.why or new.why)


def _moves(old: Memory, new: Memory) -> bool:
    """Whether a home changes; having none yet, or nothing said of it, is no change."""
    pairs = ((old.split, new.split), (old.fold, new.fold))
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _tell(memory: Memory) -> str:
    return f"split {memory.split or 'unknown'} and fold {memory.fold or 'unknown'}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def carry_forward(
    entries: Sequence[Entry], homes: Mapping[str, Home], *, strength: Callable[[str, int], int]
) -> dict[str, tuple[str, str]]:
    """What earlier assignments say of the entries of today that are not set aside.

    An image with a home is there. Where images with homes turn out to share a picture or patient (directly
    or through others with homes, also such that are gone or set aside), the strongest part keeps its images
    and the others' are left out. A newcomer that shares a picture or patient with images of one part joins
    it, also through other newcomers; one that would connect several is left out.

    Args:
        entries: the images of today.
        homes: image_id -> home, also of images that are gone.
        strength: of a part and the number of images that it has among connected ones; the strongest part
            keeps them, the first of two alike.

    Returns:
        image_id -> (part or left_out, why); what is missing is free to be given to any part.
    """
    keys = {one: home.keys for one, home in homes.items()} | {
        entry.image_id: list_keys(entry.picture_id, entry.patient_id) for entry in entries
    }
    placed = _keep_homes(entries, homes, keys, strength)
    placed |= _place_newcomers([entry for entry in entries if entry.image_id not in homes], homes, keys)
    return {entry.image_id: placed[entry.image_id] for entry in entries if entry.image_id in placed}


def check_losses(split: pd.DataFrame) -> None:
    """Refuse a split that frozen assignments have emptied: what they tear apart is left out, for good.

    That is what happens where patients become known after the split was frozen without them: nearly each has
    slices on both sides.

    Args:
        split: table `splits` of `patient`, before it is frozen.

    Raises:
        GateError: more than `MOST_LOST` of the images are left out for it; says how many.
    """
    lost = int(split["why"].str.startswith(("now shares a picture or patient", "bridges splits")).sum())
    if lost > MOST_LOST * len(split):
        raise GateError(
            f"{lost:,} of {len(split):,} images would be left out of `patient` for good, since they share a "
            "picture or patient with more than one part of the split as it was frozen. Most likely the "
            "reference came after the first split, which knew no patients"
        )


def _keep_homes(
    entries: Sequence[Entry],
    homes: Mapping[str, Home],
    keys: Mapping[str, tuple[Key, ...]],
    strength: Callable[[str, int], int],
) -> dict[str, tuple[str, str]]:
    """Images with a home stay there, but for those that are connected with a stronger part."""
    component = connect({one: keys[one] for one in homes})
    held: dict[str, Counter[str]] = {}
    for one, home in homes.items():
        held.setdefault(component[one], Counter())[home.part] += 1
    placed = {}
    for entry in entries:
        if entry.aside is not None or entry.image_id not in homes:
            continue
        home = homes[entry.image_id]
        counts = held[component[entry.image_id]]
        strongest = max(sorted(counts), key=lambda part: strength(part, counts[part]))
        why = f"now shares a picture or patient with {strongest}: {home.part} gives way"
        placed[entry.image_id] = (home.part, home.why) if home.part == strongest else ("left_out", why)
    return placed


def _place_newcomers(
    newcomers: Sequence[Entry], homes: Mapping[str, Home], keys: Mapping[str, tuple[Key, ...]]
) -> dict[str, tuple[str, str]]:
    """Newcomers join the part that they are connected with, or are left out if it is more than one."""
    touched: dict[Key, set[str]] = {}
    for one, home in homes.items():
        for key in keys[one]:
            touched.setdefault(key, set()).add(home.part)
    placed, rest = {}, []
    for entry in newcomers:
        parts = set().union(*(touched.get(key, set()) for key in keys[entry.image_id]))
        if len(parts) > 1:
            placed[entry.image_id] = (
                "left_out",
                f"bridges splits: shares a picture or patient with {_join(parts)}",
            )
        else:
            rest.append(entry)
    component = connect({one: keys[one] for one in [*homes, *(entry.image_id for entry in rest)]})
    held: dict[str, set[str]] = {}
    for one, home in homes.items():
        held.setdefault(component[one], set()).add(home.part)
    for entry in rest:
        parts = held.get(component[entry.image_id], set())
        if len(parts) > 1:
            why = f"bridges splits: connected through others with {_join(parts)}"
            placed[entry.image_id] = ("left_out", why)
        elif parts:
            (part,) = parts
            placed[entry.image_id] = (part, f"joins its group in {part}")
    return {
        entry.image_id: placed[entry.image_id]
        for entry in newcomers
        if entry.aside is None and entry.image_id in placed
    }


def _join(parts: set[str]) -> str:
    return " and ".join(sorted(parts, key=lambda part: (PARTS.index(part) if part in PARTS else 0, part)))
