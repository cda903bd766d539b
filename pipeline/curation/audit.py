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

`<measure>_anywhere` counts against the training files of all collections, and a reference collection's
files, which have no published split, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from pipeline.labels import LABELS, SPLITS
from pipeline.tables import find_table

MEASURES = ("byte_identical", "same_picture", "same_picture_only_mirrored", "same_patient", "any_twin")
ALL = "all"

Count = tuple[str, str, str, int, int]


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
    members = images[["image_id", "members"]].explode("members")
    owners = members.assign(collection=[member["collection"] for member in members["members"]])
    known = owners.merge(pictures, on="image_id").merge(patients, on="image_id").merge(groups, on="image_id")
    for name in [ALL, *sorted(set(files["collection"]))]:
        of = slice(None) if name == ALL else None
        own = files if of else files[files["collection"] == name]
        aside = quarantine if of else quarantine[quarantine["collection"] == name]
        held = known if of else known[known["collection"] == name]
        distinct = held.drop_duplicates("image_id")
        patient, total = int(distinct["patient_id"].notna().sum()), len(own)
        yield ("collections", name, "files", total, total)
        yield ("collections", name, "quarantined", len(aside), total)
        yield ("collections", name, "members", len(held), total)
        yield ("collections", name, "images", len(distinct), len(held))
        yield ("collections", name, "pictures", distinct["picture_id"].nunique(), len(distinct))
        yield ("collections", name, "with_patient", patient, len(distinct))
        yield ("collections", name, "patients", distinct["patient_id"].nunique(), len(distinct))
        yield ("collections", name, "groups", distinct["group_id"].nunique(), len(distinct))


def _count_quarantine(files: pd.DataFrame, quarantine: pd.DataFrame) -> Iterator[Count]:
    totals = files["collection"].value_counts()
    for (name, reason), count in quarantine.groupby(["collection", "reason"]).size().items():  # type: ignore[misc]
        yield ("quarantine", name, reason, int(count), int(totals[name]))


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
    references = {one.collection for one in shown} - {one.collection for one in shown if one.split}
    anywhere = [one for one in shown if one.split == "train" or one.collection in references]
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
        "any_twin": sum(
            one.picture_id in pictures_seen or one.patient_id in patients_seen for one in tests
        ),
    }


def _count_split(name: str, split: pd.DataFrame, groups: pd.DataFrame) -> Iterator[Count]:
    known = split.merge(groups, on="image_id")
    for label in LABELS:
        of = known[known["label"] == label]
        for part in SPLITS:
            rows = of[of["split"] == part]
            yield ("splits", name, f"{part} {label} images", len(rows), len(of))
            yield (
                "splits", name, f"{part} {label} groups", rows["group_id"].nunique(), of["group_id"].nunique()
            )  # fmt: skip
    unlabelled = known[known["label"].isna()]
    yield ("splits", name, "left_out unlabelled images", len(unlabelled), len(known))


def render_audit(audit: pd.DataFrame) -> str:
    """The audit as markdown: one sentence a published test folder, then the tables; ends with a newline.

    The sentences come first, since they are what a reader asks; each says what is out of how many.
    """
    values = {(row.section, row.subject, row.measure): (row.value, row.total) for row in audit.itertuples()}
    parts = [
        "\n".join(_render_sentences(values)),
        "## Collections\n\n" + _render_counts(audit, "collections", _COLUMNS),
        "## Published test folders with a twin in training\n\n" + _render_leaks(values),
    ]
    if (audit["section"] == "quarantine").any():
        parts.append("## Quarantine\n\n" + _render_quarantine(audit))
    protocols = sorted(set(audit.loc[audit["section"] == "splits", "subject"]))
    parts += [f"## Split `{name}`\n\n" + _render_split(name, values) for name in protocols]
    return "\n\n".join(parts) + "\n"
