"""The table `audit`: counted facts about the data, each with what it is out of.

Section `leaks`, for one collection's published test folder (subject `<collection>`), and section `class
leaks`, for one label of it (subject `<collection>/<label>`, the label that the test file carries). For each
measure, the number of test files with at least one training file (see `pipeline.audit.twins`)

- byte_identical: of the same bytes (MD5);
- same_picture: of the same picture, byte-identical twins included;
- same_picture_only_mirrored: the part of same_picture whose training twins all show it mirrored or turned
  against the test file, none in its own orientation;
- same_patient: of the same known patient; copies of the patient's slices included, whether or not they are
  the same picture;
- any_twin: of the same picture or the same known patient.

`<measure>_anywhere` counts against the published training folders of all collections together: what a model
sees that trains on all of them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import pandas as pd

from pipeline.audit.twins import find_twins, list_members, published_tests
from pipeline.labels import LABELS, SPLITS
from pipeline.tables import find_table

TWIN_MEASURES = (
    "byte_identical", "same_picture", "same_picture_only_mirrored", "same_patient", "any_twin"
)  # fmt: skip
LEAK_MEASURES = ("test_files", *TWIN_MEASURES, *(f"{measure}_anywhere" for measure in TWIN_MEASURES))
COLLECTION_MEASURES = (
    "files", "quarantined", "members", "images", "pictures", "with_patient", "patients", "groups"
)  # fmt: skip
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
    *,
    conflicts: pd.DataFrame | None = None,
    foreign: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table `audit`: counts by section, subject and measure, each with what it is out of.

    - collections: per collection, and for all together: files, quarantined, members (of images), images
      (MD5-distinct), pictures, with_patient (images), patients, groups. An image whose files lie in two
      collections counts in both and once in `all`.
    - quarantine: per collection, files by reason.
    - leaks, class leaks: see above; `test_files` out of all member files (of that label).
    - conflicts, foreign: per collection and for all, images by kind, out of the collection's images.
    - splits: per protocol, `<split> <label> images` (files under `published`) and `… groups`, out of all
      rows and all groups of the label.

    Args:
        splits: table `splits` by protocol; an image that is in no group is refused by the gate, not here.
        conflicts, foreign: the tables; None counts nothing.
    """
    counts = [
        *_count_collections(files, quarantine, images, pictures, patients, groups),
        *_count_quarantine(files, quarantine),
        *_count_leaks(list_members(images, pictures, patients)),
        *_count_kinds("conflicts", conflicts, images),
        *_count_kinds("foreign", foreign, images),
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


def _count_leaks(members: pd.DataFrame) -> Iterator[Count]:
    for name in published_tests(members):
        held = members[members["collection"] == name]
        own, anywhere = (find_twins(members, name, whose) for whose in ("own", "any"))
        yield from _count_twins("leaks", name, own, anywhere, len(held))
        for label in LABELS:
            parts = [frame[frame["label"] == label] for frame in (own, anywhere)]
            size = int((held["label"] == label).sum())
            yield from _count_twins("class leaks", f"{name}/{label}", parts[0], parts[1], size)


def _count_twins(
    section: str, subject: str, own: pd.DataFrame, anywhere: pd.DataFrame, members: int
) -> Iterator[Count]:
    yield (section, subject, "test_files", len(own), members)
    for suffix, twins in (("", own), ("_anywhere", anywhere)):
        for measure, column in zip(TWIN_MEASURES[:4], twins.columns[3:7], strict=True):
            yield (section, subject, measure + suffix, int(twins[column].sum()), len(twins))
        yield (section, subject, "any_twin" + suffix, int((twins["twin"] != "none").sum()), len(twins))


def _count_kinds(section: str, table: pd.DataFrame | None, images: pd.DataFrame) -> Iterator[Count]:
    if table is None:
        return
    totals = Counter(images["collection"]) + Counter({ALL: len(images)})
    kinds = Counter(zip(table["collection"], table["kind"], strict=True))
    kinds += Counter((ALL, kind) for kind in table["kind"])
    for (name, kind), count in sorted(kinds.items()):
        yield (section, name, kind, count, totals[name])


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
