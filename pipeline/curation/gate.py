"""The gate: what is recomputed from the evidence before any model may be trained behind a split.

Nothing that the split's maker says is trusted: pictures, patients and labels come from their own tables.
Definitions, for a row of the split that is used (train, val or test):

- shared_md5: its image_id is also in a split that it must not meet;
- shared_picture: its picture_id is (so byte-identical twins count too);
- shared_patient: its patient_id is (where a patient is known, its picture's copies count too).

Test must not meet train or val; val must not meet train. The count of a finding is the number of test rows
(files under `published`, images otherwise) with such a twin; only if there are none, that of val rows.
Under `patient`, `fold:<k>` and `external:<collection>` a failed check stops training; under `published` and
`stratified` leaks are what is measured.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from pipeline.errors import GateError
from pipeline.labels import LABELS, SPLITS
from pipeline.protocols import collection_of, is_guarded
from pipeline.tables import list_cells, list_rows, map_cells

USED = ("train", "val", "test")
LEAKS = ("shared_md5", "shared_picture", "shared_patient")
EXAMPLES = 5

File = tuple[str, str]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: name of the check.
        passed: whether nothing is wrong.
        count: how many rows are wrong.
        detail: one sentence with the observed values.
        examples: up to five of them, one line each.
    """

    check: str
    passed: bool
    count: int
    detail: str
    examples: tuple[str, ...]


@dataclass(slots=True)
class _Used:
    """One used row of the split."""

    image_id: str
    collection: str
    path: str
    label: object
    split: str
    picture_id: object
    copy_rank: Any

    def __str__(self) -> str:
        return f"{self.collection}/{self.path}"


def inspect_split(
    split: pd.DataFrame,
    images: pd.DataFrame,
    pictures: pd.DataFrame,
    patients: pd.DataFrame,
    groups: pd.DataFrame,
    *,
    protocol: str,
) -> list[Finding]:
    """All checks on one split, from the tables it rests on; the same findings for any order of rows.

    `counts_add_up`: under `published` each member file with a published split, of the collections that the
    split names, is there once; otherwise each image is there once, under its canonical file; nothing else
    is; and pictures, patients and groups hold exactly the images. `labels_mapped`: each used row has one of
    the four labels, the one that `images` gives it (under `published`: its own folder's), and does not
    contradict the reference or, where that is silent, a used copy of its picture; under a guarded protocol
    the reference's label may stand in place of the image's own, since the reference decides.
    `classes_present`: every label is in train, val and test. Under `external:<collection>` it also counts
    against `counts_add_up` if a test row lies outside that collection, or a train or val row in it alone.
    `one_copy`: under a guarded protocol each used row names the picture that it shows, and no two copies of a
    picture have one rank, so that one of them stands for it.

    Args:
        split: table `splits` of `protocol`.
        images: table `images`.
        pictures: table `pictures`.
        patients: table `patients`.
        groups: table `groups`.
        protocol: published, stratified, patient, fold:<k> or external:<collection>.
    """
    ordered = split.sort_values(["collection", "path"])
    cells = [list_cells(ordered[field.name]) for field in fields(_Used)]
    rows = [_Used(*row) for row in zip(*cells, strict=True)]
    used = [row for row in rows if row.split in USED]
    shown = map_cells(pictures, "image_id", "picture_id")
    heads = map_cells(patients, "image_id", "patient_id")
    tables = {"pictures": pictures, "patients": patients, "groups": groups}
    return [
        _find_shared("shared_md5", used, lambda image_id: image_id),
        _find_shared("shared_picture", used, shown.get),
        _find_shared("shared_patient", used, heads.get),
        _check_counts(rows, images, tables, protocol),
        _check_labels(used, images, shown, patients, protocol),
        _check_classes(used, split, groups),
        _check_copies(used, shown, protocol),
    ]


def decide_verdict(findings: Sequence[Finding], protocol: str) -> str:
    """The gate's words for a model card: `passed`, or what leaks and what fails, with counts."""
    leaks = [f"{one.count} {one.check}" for one in findings if not one.passed and one.check in LEAKS]
    fails = [f"{one.count} {one.check}" for one in findings if not one.passed and one.check not in LEAKS]
    said = [f"{word}: {', '.join(them)}" for word, them in (("leaks", leaks), ("fails", fails)) if them]
    return "; ".join(said) or "passed"


def enforce_gate(findings: Sequence[Finding], protocol: str) -> str:
    """The verdict, for a protocol that may be trained behind it.

    Raises:
        GateError: a check failed under a guarded protocol (see `is_guarded`); names each with examples.
    """
    failed = [finding for finding in findings if not finding.passed]
    if failed and is_guarded(protocol):
        lines = [f"split `{protocol}` does not pass the gate; nothing is trained behind it:"]
        for finding in failed:
            lines.append(f"  - {finding.check}: {finding.detail}")
            lines += [f"      {example}" for example in finding.examples]
        lines.append(
            "Materialise the curation assets and the split again; if it stays, the tables are wrong."
        )
        raise GateError("\n".join(lines))
    return decide_verdict(findings, protocol)


def _find_shared(check: str, used: Sequence[_Used], identify: Callable[[str], object]) -> Finding:
    what = check.removeprefix("shared_")
    holders: dict[str, dict[str, _Used]] = {part: {} for part in USED}
    for row in used:
        key = identify(row.image_id)
        if isinstance(key, str):
            holders[row.split].setdefault(key, row)
    wrong: dict[str, list[str]] = {"test": [], "val": []}
    for row in used:
        key = identify(row.image_id)
        for other in USED[: USED.index(row.split)]:
            if isinstance(key, str) and key in holders[other]:
                wrong[row.split].append(
                    f"{row} ({row.split}) and {holders[other][key]} ({other}): {what} {key}"
                )
                break
    sizes = Counter(row.split for row in used)
    detail = (
        f"{len(wrong['test'])} of {sizes['test']} in test share their {what} with train or val, "
        f"{len(wrong['val'])} of {sizes['val']} in val with train"
    )
    listed = wrong["test"] or wrong["val"]
    return Finding(check, not listed, len(listed), detail, tuple(listed[:EXAMPLES]))


def _check_counts(
    rows: Sequence[_Used], images: pd.DataFrame, tables: Mapping[str, pd.DataFrame], protocol: str
) -> Finding:
    found = Counter((row.collection, row.path, row.image_id) for row in rows)
    due = _list_due(images, protocol, {row.collection for row in rows})
    name = "{0[0]}/{0[1]} ({0[2]})".format
    wrong = [f"missing: {name(one)}" for one in sorted(set(due) - set(found))]
    wrong += [f"unknown: {name(one)}" for one in sorted(set(found) - set(due))]
    wrong += [f"{count} times: {name(one)}" for one, count in sorted(found.items()) if count > 1]
    wrong += [f"no such split: {row.split} of {row}" for row in rows if row.split not in SPLITS]
    wrong += _find_strangers(rows, images, collection_of(protocol))
    own = set(list_cells(images["image_id"]))
    for table, frame in tables.items():
        ids = Counter(list_cells(frame["image_id"]))
        differing = set(ids) ^ own | {one for one, count in ids.items() if count > 1}
        wrong += [f"{table} and images differ in {one}" for one in sorted(differing)]
    what = "files with a published split" if protocol == "published" else "images"
    detail = f"{len(rows)} rows for {len(due)} {what}, {len(wrong)} faults"
    return Finding("counts_add_up", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))


def _find_strangers(rows: Sequence[_Used], images: pd.DataFrame, collection: str | None) -> list[str]:
    """Under `external:<collection>`: test rows from elsewhere, and training rows from there alone."""
    if collection is None:
        return []
    homes = {
        image["image_id"]: {image["collection"], *(member["collection"] for member in image["members"])}
        for image in list_rows(images, ["image_id", "collection", "members"])
    }
    wrong = []
    for row in rows:
        found = homes.get(row.image_id, set())
        if row.split == "test" and found != {collection}:
            wrong.append(f"tested outside {collection}: {row}")
        elif row.split in ("train", "val") and found == {collection}:
            wrong.append(f"trained on {collection}: {row} ({row.split})")
    return wrong


def _list_due(images: pd.DataFrame, protocol: str, collections: set[str]) -> list[tuple[str, str, str]]:
    if protocol != "published":
        own = (list_cells(images[name]) for name in ("collection", "path", "image_id"))
        return list(zip(*own, strict=True))
    return [
        (member["collection"], member["path"], row["image_id"])
        for row in list_rows(images, ["image_id", "members"])
        for member in row["members"]
        if isinstance(member["published_split"], str) and member["collection"] in collections
    ]


def _check_labels(
    used: Sequence[_Used],
    images: pd.DataFrame,
    shown: Mapping[str, str],
    patients: pd.DataFrame,
    protocol: str,
) -> Finding:
    published = protocol == "published"
    own: dict[File, object] = {}
    for image in list_rows(images, ["collection", "path", "label", "members"]):
        own[image["collection"], image["path"]] = image["label"]
        if published:
            own |= {(member["collection"], member["path"]): member["label"] for member in image["members"]}
    reference = map_cells(patients, "image_id", "reference_label")
    seen: dict[object, set[object]] = {}
    for row in used:
        seen.setdefault(shown.get(row.image_id), set()).add(row.label)
    wrong = []
    for row in used:
        labels = seen[shown.get(row.image_id)]
        given, told = own.get((row.collection, row.path)), reference.get(row.image_id)
        if row.label not in LABELS:
            wrong.append(f"{row}: label {row.label!r} is none of {', '.join(LABELS)}")
        elif row.label != given and not (row.label == told and is_guarded(protocol)):
            wrong.append(f"{row}: {row.label} here, {given} in images")
        elif isinstance(told, str):
            if row.label != told:
                wrong.append(f"{row}: {row.label} here, {told} in the reference")
        elif len(labels) > 1:
            wrong.append(f"{row}: {row.label} here, copies of its picture say {sorted(map(str, labels))}")
    detail = f"{len(wrong)} of {len(used)} used rows have a wrong, unknown or contradicted label"
    return Finding("labels_mapped", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))


def _check_classes(used: Sequence[_Used], split: pd.DataFrame, groups: pd.DataFrame) -> Finding:
    unit = map_cells(groups, "image_id", "group_id")
    present = {(row.split, row.label) for row in used}
    wrong = [
        f"{label}: none in {part}; {len({unit.get(row.image_id) for row in used if row.label == label})} "
        "groups in all"
        for label in LABELS
        for part in USED
        if (part, label) not in present
    ]
    detail = f"{len(wrong)} of {len(USED) * len(LABELS)} split × label cells are empty"
    if not used and len(split):
        detail = f"nothing is used: {split['why'].mode().iloc[0]}"
    return Finding("classes_present", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))


def _check_copies(used: Sequence[_Used], shown: Mapping[str, str], protocol: str) -> Finding:
    """A null compares unequal to every picture, so a row without one is wrong too."""
    ranks = Counter((row.picture_id, row.copy_rank) for row in used)
    wrong = []
    for row in used if is_guarded(protocol) else ():
        if row.picture_id != shown.get(row.image_id):
            wrong.append(f"{row}: picture {row.picture_id} here, {shown.get(row.image_id)} in pictures")
        elif ranks[row.picture_id, row.copy_rank] > 1 or pd.isna(row.copy_rank):
            wrong.append(f"{row}: rank {row.copy_rank} among the copies of its picture, as another has")
    detail = f"{len(wrong)} of {len(used)} used rows do not say which copy of which picture they are"
    return Finding("one_copy", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))
