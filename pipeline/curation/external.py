"""Protocol `external:<collection>`: does a model travel to a collection that it was not trained on?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.curation.balance import assign_groups
from pipeline.curation.eligibility import Entry, list_entries, place_entries
from pipeline.curation.groups import list_keys
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.protocols import EXTERNAL

SHARES = {"train": 0.85, "val": 0.15}


@dataclass(frozen=True)
class Independence:
    """How much of a label in the tested collection is independent of all other collections, in images.

    Attributes:
        label: the label; the counts of all labels add up to the images that lie in the collection alone.
        images: those that lie in the collection alone; one with a byte-identical twin elsewhere does not.
        aside: of these, set aside, as contradicted.
        same_picture: of the rest, showing a picture that another collection shows.
        same_patient: of the rest, of a patient that another collection has.
        connected: of the rest, connected with another collection through further images.
        independent: the rest, which is tested on.
        groups: how many groups these are.
        unknown: of the independent, images of unknown patient: their picture is nowhere else, and whether
            their patient is, nobody can tell.
        training: groups of the label in the other collections, which train and validate.
    """

    label: str
    images: int
    aside: int
    same_picture: int
    same_patient: int
    connected: int
    independent: int
    groups: int
    unknown: int
    training: int


@dataclass(frozen=True)
class External:
    """What came of an external protocol.

    Attributes:
        collection: the one that is tested on.
        counts: one a label.
        split: table `splits`; None where it is refused.
        refusal: why, with counts and what to do; None where it is not refused.
        refused: where it is refused, the table `splits` that says so: every image is left out.
    """

    collection: str
    counts: tuple[Independence, ...]
    split: pd.DataFrame | None
    refusal: str | None
    refused: pd.DataFrame | None = None


def split_external(
    collection: str,
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    pictures: pd.DataFrame,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    looks: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Table `splits` of `external:<collection>`; see `explain_external` for the rule.

    Raises:
        GateError: no image, or none of some class, is independent of the training side, or the training
            side cannot hold every class in train and val; with counts and what to do.
        TableError: the tables hold different images.
    """
    found = explain_external(
        collection, images, patients, groups,
        pictures=pictures, conflicts=conflicts, keep_contradicted=keep_contradicted, looks=looks,
        foreign=foreign,
    )  # fmt: skip
    if found.split is None:
        raise GateError(str(found.refusal))
    return found.split


def explain_external(
    collection: str,
    images: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    pictures: pd.DataFrame,
    conflicts: pd.DataFrame | None = None,
    keep_contradicted: bool = False,
    looks: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> External:
    """What is left of an external protocol: the split, or why there is none.

    The training side is whole: every image with a file in another collection, 85 % of its groups train and
    15 % are val, balanced as under `patient`. Only what is independent of it is tested on: an image of
    `collection` alone whose group has no image on the training side, used or not. All else of `collection`
    is left out, with why. The question is whether a model travels to new patients, so it is the test that
    gives way, and every model of the other collections is the one that would be trained anyway.

    Args:
        collection: the one that is tested on.
        images: table `images`.
        patients: table `patients`, same image_ids.
        groups: table `groups`, same image_ids.
        pictures: table `pictures`, same image_ids.
        conflicts: table `conflicts`; without it the rules of `list_conflicts` are applied here.
        keep_contradicted: for those rules: use images that the reference contradicts, under its label.
        looks: table `looks`, for the choice between the copies of a picture.
        foreign: table `foreign`: what does not look like a brain MR slice is left out, unless kept.

    Raises:
        TableError: the tables hold different images.
    """
    entries = list_entries(
        images, patients, groups, pictures,
        conflicts=conflicts, keep_contradicted=keep_contradicted, looks=looks, foreign=foreign,
    )  # fmt: skip
    outside = [entry for entry in entries if entry.collections != {collection}]
    inside = [entry for entry in entries if entry.collections == {collection}]
    shared = _find_shared(inside, outside)
    counts = tuple(_count_label(label, inside, outside, shared) for label in LABELS)
    try:
        _refuse_dependent(collection, counts, inside, outside)
        usable = [entry for entry in outside if entry.aside is None]
        given = assign_groups(usable, {}, SHARES, protocol=f"{EXTERNAL}{collection}")
    except GateError as error:
        return External(collection, counts, None, str(error), _refuse(entries, str(error)))
    placed = {entry.image_id: (given[entry.group_id], _tell_training(entry, collection)) for entry in usable}
    for entry in inside:
        why = f"{collection}, independent of every other collection"
        placed[entry.image_id] = (
            ("left_out", shared[entry.image_id]) if entry.image_id in shared else ("test", why)
        )
    return External(collection, counts, place_entries(entries, placed), None)


def _refuse(entries: Sequence[Entry], reason: str) -> pd.DataFrame:
    """A refused split as a table `splits`: set-aside images left out as such, others for `reason`.

    It shows the refusal where a split would be, and the gate lets no training behind it.
    """
    return place_entries(entries, {entry.image_id: ("left_out", reason) for entry in entries})


def _tell_training(entry: Entry, collection: str) -> str:
    if collection in entry.collections:
        others = ", ".join(sorted(entry.collections - {collection}))
        return f"its bytes are in {others} too: 85/15 of the groups of the other collections"
    return "85/15 of the groups of the other collections"


SAME_PICTURE, SAME_PATIENT, CONNECTED = "shows a picture", "is of a patient", "is connected with images"


def _find_shared(inside: Iterable[Entry], outside: Iterable[Entry]) -> dict[str, str]:
    """image_id -> what an image inside shares with the training side."""
    holders: dict[tuple[str, str], set[str]] = {}
    for entry in outside:
        for key in (*list_keys(entry.picture_id, entry.patient_id), ("group", entry.group_id)):
            holders.setdefault(key, set()).update(entry.collections)
    found = {}
    for entry in inside:
        for key, what in (
            (("picture", entry.picture_id), SAME_PICTURE),
            (("patient", str(entry.patient_id)), SAME_PATIENT),
            (("group", entry.group_id), CONNECTED),
        ):
            others = holders.get(key, set()) - entry.collections
            if others:
                found[entry.image_id] = f"{what} of {', '.join(sorted(others))}"
                break
    return found


def _count_label(
    label: str, inside: Sequence[Entry], outside: Sequence[Entry], shared: Mapping[str, str]
) -> Independence:
    own = [entry for entry in inside if entry.label == label]
    usable = [entry for entry in own if entry.aside is None]
    reasons = [shared.get(entry.image_id, "") for entry in usable]
    free = [entry for entry in usable if entry.image_id not in shared]
    return Independence(
        label=label,
        images=len(own),
        aside=len(own) - len(usable),
        same_picture=sum(reason.startswith(SAME_PICTURE) for reason in reasons),
        same_patient=sum(reason.startswith(SAME_PATIENT) for reason in reasons),
        connected=sum(reason.startswith(CONNECTED) for reason in reasons),
        independent=len(free),
        groups=len({entry.group_id for entry in free}),
        unknown=sum(entry.patient_id is None for entry in free),
        training=len({entry.group_id for entry in outside if entry.aside is None and entry.label == label}),
    )


def _refuse_dependent(
    collection: str, counts: Sequence[Independence], inside: Sequence[Entry], outside: Sequence[Entry]
) -> None:
    name = f"{EXTERNAL}{collection}"
    if not inside:
        raise GateError(
            f"split `{name}`: no image lies in {collection} alone; name a collection that is there and is "
            "not contained in another"
        )
    if not outside:
        raise GateError(f"split `{name}`: there is no other collection to train on; bring in a second one")
    empty = [one.label for one in counts if not one.independent]
    if empty:
        others = sorted({other for entry in outside for other in entry.collections} - {collection})
        what = "nothing" if len(empty) == len(LABELS) else f"no image of {', '.join(empty)}"
        raise GateError(
            f"split `{name}`: {what} in {collection} is independent of {', '.join(others)}. Its images per "
            f"class: {'; '.join(map(_tell_count, counts))}. Test on a collection with patients of its own in "
            "every class, or take away the collections that it shares them with"
        )


def _tell_count(count: Independence) -> str:
    told = {
        "set aside": count.aside,
        "show a picture of another collection": count.same_picture,
        "are of a patient of another": count.same_patient,
        "are connected with another": count.connected,
        "are independent": count.independent,
    }
    shown = ", ".join(f"{number} {words}" for words, number in told.items() if number)
    return f"{count.label} {count.images}" + (f" ({shown})" if shown else "")
