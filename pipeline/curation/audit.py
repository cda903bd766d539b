"""The audit: what the collections hold, how many published test images are in training, counted.

Definitions of section `leaks`, for one collection's published test folder. The unit is a file, as published:
byte-identical test files count each. A training file is a file of a published training folder; files that
are set aside count on neither side. For each measure, the number of test files with at least one training
file

- byte_identical: of the same bytes (MD5);
- same_picture: of the same picture, byte-identical twins included;
- same_picture_only_mirrored: the part of same_picture whose training twins all show it turned over (mirrored
  left–right, upside down, or both), none in the test file's own orientation;
- same_patient: of the same known patient; copies of the patient's slices included, whether or not they are
  the same picture;
- any_twin: of the same picture or the same known patient.

`<measure>_anywhere` counts against the published training folders of all collections together: what a model
sees that trains on all of them. A collection without published folders is in no such training.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.labels import LABELS, SPLITS
from pipeline.tables import find_table

TWINS = ("byte_identical", "same_picture", "same_picture_only_mirrored", "same_patient", "any_twin")
LEAK_MEASURES = ("test_files", *TWINS, *(f"{measure}_anywhere" for measure in TWINS))
COLLECTION_MEASURES = (
    "files", "quarantined", "members", "images", "pictures", "with_patient", "patients", "groups"
)  # fmt: skip
ALL = "all"

Count = tuple[str, str, str, int, int]
Values = dict[tuple[str, str, str], tuple[int, int]]


def audit_collections(
    files: pd.DataFrame,
    quarantine: pd.DataFrame,
    images: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    splits: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """The table `audit`: counts by section, subject and measure, each with what it is out of.

    - collections: per collection, and for all together: files, quarantined, members (of images), images
      (MD5-distinct), pictures, with_patient (images), patients, groups. An image whose files lie in two
      collections counts in both and once in `all`.
    - quarantine: per collection, files by reason.
    - leaks: per published test folder, see above; `test_files` out of all member files.
    - splits: per protocol, `<split> <label> images` (files under `published`) and `… groups`, out of all
      rows and all groups of the label.
    """
    counts = [
        *_count_collections(files, quarantine, images, pictures, patients, groups),
        *_count_quarantine(files, quarantine),
        *_count_leaks(_list_shown(images, pictures, patients)),
        *(count for name in sorted(splits) for count in _count_split(name, splits[name], groups)),
    ]
    table = find_table("audit")
    frame = pd.DataFrame(counts, columns=table.names)
    return frame.sort_values(list(table.key), ignore_index=True)


def _count_collections(
    files: pd.DataFrame,
    quarantine: pd.DataFrame,
    images: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
) -> Iterator[Count]:
    owners = images[["image_id", "members"]].explode("members", ignore_index=True)
    owners["collection"] = [member["collection"] for member in owners["members"]]
    known = owners.merge(pictures, on="image_id").merge(patients, on="image_id").merge(groups, on="image_id")
    for name in [ALL, *sorted(set(files["collection"]))]:
        own, aside, held = (
            frame if name == ALL else frame[frame["collection"] == name]
            for frame in (files, quarantine, known)
        )
        distinct = held.drop_duplicates("image_id")
        size = len(distinct)
        yield ("collections", name, "files", len(own), len(own))
        yield ("collections", name, "quarantined", len(aside), len(own))
        yield ("collections", name, "members", len(held), len(own))
        yield ("collections", name, "images", size, len(held))
        yield ("collections", name, "pictures", distinct["picture_id"].nunique(), size)
        yield ("collections", name, "with_patient", int(distinct["patient_id"].notna().sum()), size)
        yield ("collections", name, "patients", distinct["patient_id"].nunique(), size)
        yield ("collections", name, "groups", distinct["group_id"].nunique(), size)


def _count_quarantine(files: pd.DataFrame, quarantine: pd.DataFrame) -> Iterator[Count]:
    totals = Counter(files["collection"])
    reasons = Counter(zip(quarantine["collection"], quarantine["reason"], strict=True))
    for (name, reason), count in sorted(reasons.items()):
        yield ("quarantine", name, reason, count, totals[name])


@dataclass(frozen=True)
class _Shown:
    """One member file, with what it shows."""

    collection: str
    split: str | None
    image_id: str
    picture_id: str
    turned: tuple[bool, bool]
    patient_id: str | None


def _list_shown(images: pd.DataFrame, pictures: pd.DataFrame, patients: pd.DataFrame) -> list[_Shown]:
    known = images.merge(pictures, on="image_id").merge(patients, on="image_id")
    return [
        _Shown(
            collection=member["collection"],
            split=member["published_split"] if isinstance(member["published_split"], str) else None,
            image_id=row["image_id"],
            picture_id=row["picture_id"],
            turned=(bool(row["mirrored"]), bool(row["flipped"])),
            patient_id=row["patient_id"] if isinstance(row["patient_id"], str) else None,
        )
        for row in known.to_dict("records")
        for member in row["members"]
    ]


def _count_leaks(shown: list[_Shown]) -> Iterator[Count]:
    anywhere = [one for one in shown if one.split == "train"]
    for name in sorted({one.collection for one in shown if one.split == "test"}):
        tests = [one for one in shown if one.collection == name and one.split == "test"]
        own = [one for one in anywhere if one.collection == name]
        members = sum(one.collection == name for one in shown)
        yield ("leaks", name, "test_files", len(tests), members)
        for suffix, training in (("", own), ("_anywhere", anywhere)):
            for measure, count in _count_twins(tests, training).items():
                yield ("leaks", name, measure + suffix, count, len(tests))


def _count_twins(tests: list[_Shown], training: list[_Shown]) -> dict[str, int]:
    bytes_seen = {one.image_id for one in training}
    pictures_seen = {one.picture_id for one in training}
    orientations_seen = {(one.picture_id, one.turned) for one in training}
    patients_seen = {one.patient_id for one in training} - {None}
    picture = [one for one in tests if one.picture_id in pictures_seen]
    return {
        "byte_identical": sum(one.image_id in bytes_seen for one in tests),
        "same_picture": len(picture),
        "same_picture_only_mirrored": sum(
            (one.picture_id, one.turned) not in orientations_seen for one in picture
        ),
        "same_patient": sum(one.patient_id in patients_seen for one in tests),
        "any_twin": sum(one.picture_id in pictures_seen or one.patient_id in patients_seen for one in tests),
    }


def _count_split(name: str, split: pd.DataFrame, groups: pd.DataFrame) -> Iterator[Count]:
    known = split.merge(groups, on="image_id")
    for label in LABELS:
        rows = known[known["label"] == label]
        total = rows["group_id"].nunique()
        for part in SPLITS:
            own = rows[rows["split"] == part]
            yield ("splits", name, f"{part} {label} images", len(own), len(rows))
            yield ("splits", name, f"{part} {label} groups", own["group_id"].nunique(), total)
    unlabelled = int(known["label"].isna().sum())
    yield ("splits", name, "left_out unlabelled images", unlabelled, len(known))


def render_audit(audit: pd.DataFrame) -> str:
    """The audit as markdown: a sentence for each published test folder, then the tables.

    The sentences come first, since they answer what a reader asks: is the test set in the training set?
    """
    values: Values = {
        (row["section"], row["subject"], row["measure"]): (row["value"], row["total"])
        for row in audit.to_dict("records")
    }
    parts = [
        "\n".join(_say_leaks(values)),
        "## Collections\n\n" + _tabulate(values, "collections", COLLECTION_MEASURES),
        "## Published test files with a twin in training\n\n" + _tabulate(values, "leaks", LEAK_MEASURES),
    ]
    reasons = sorted({measure for section, _, measure in values if section == "quarantine"})
    if reasons:
        parts.append("## Quarantine\n\n" + _tabulate(values, "quarantine", reasons))
    for name in sorted({subject for section, subject, _ in values if section == "splits"}):
        parts.append(f"## Split `{name}`: images (groups)\n\n" + _tabulate_split(values, name))
    return "\n\n".join(parts) + "\n"


def _say_leaks(values: Values) -> Iterator[str]:
    names = sorted({subject for section, subject, _ in values if section == "leaks"})
    if not names:
        yield "No collection here publishes a test folder."
    for name in names:
        for suffix, whose in (("", "in its own training folder"), ("_anywhere", "in any training folder")):
            value = {one: values["leaks", name, one + suffix][0] for one in TWINS}
            total = values["leaks", name, "any_twin"][1]
            yield (
                f"- Of {total:,} published test images of `{name}`, {_percent(value['any_twin'], total)} "
                f"have a twin {whose}: byte-identical {value['byte_identical']:,}, same picture "
                f"{value['same_picture']:,} (only mirrored {value['same_picture_only_mirrored']:,}), "
                f"same patient {value['same_patient']:,}."
            )


def _percent(value: int, total: int) -> str:
    return f"{100 * value / total:.1f} %" if total else "0 %"


def _tabulate(values: Values, section: str, measures: Sequence[str]) -> str:
    subjects = sorted(
        {subject for one, subject, _ in values if one == section}, key=lambda one: (one == ALL, one)
    )
    rows = [
        [subject, *(f"{values.get((section, subject, one), (0, 0))[0]:,}" for one in measures)]
        for subject in subjects
    ]
    return _write_table(["collection", *(one.replace("_", " ") for one in measures)], rows)


def _tabulate_split(values: Values, name: str) -> str:
    rows = []
    for label in LABELS:
        cells = []
        for part in SPLITS:
            count, total = values["splits", name, f"{part} {label} images"]
            groups = values["splits", name, f"{part} {label} groups"][0]
            cells.append(f"{count:,} ({groups:,}), {_percent(count, total)}")
        rows.append([label, *cells])
    return _write_table(["label", *SPLITS], rows)


def _write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
