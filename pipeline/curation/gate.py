"""The gate: what is recomputed from the evidence before any model may be trained behind a split.

Nothing that the split's maker says is trusted: pictures, patients and labels come from their own tables.
Definitions, for a row of the split that is used (train, val or test):

- shared_md5: its image_id is also in a split that it must not meet;
- shared_picture: its picture_id is (so byte-identical twins count too);
- shared_patient: its patient_id is (where a patient is known, its picture's copies count too).

Test must not meet train or val; val must not meet train. The count of a finding is the number of test rows
(files under `published`, images otherwise) with such a twin; only if there are none, that of val rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.errors import GateError
from pipeline.labels import LABELS, SPLITS

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


@dataclass(frozen=True)
class _Used:
    """One used row of the split."""

    image_id: str
    collection: str
    path: str
    label: object
    split: str

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
    contradict the reference or, where that is silent, a used copy of its picture.
    `classes_present`: every label is in train, val and test.

    Args:
        split: table `splits` of `protocol`.
        images: table `images`.
        pictures: table `pictures`.
        patients: table `patients`.
        groups: table `groups`.
        protocol: published, stratified, patient or external:<collection>.
    """
    rows = [
        _Used(row["image_id"], row["collection"], row["path"], row["label"], row["split"])
        for row in split.sort_values(["collection", "path"]).to_dict("records")
    ]
    used = [row for row in rows if row.split in USED]
    shown = dict(zip(pictures["image_id"], pictures["picture_id"], strict=True))
    heads = dict(zip(patients["image_id"], patients["patient_id"], strict=True))
    tables = {"pictures": pictures, "patients": patients, "groups": groups}
    return [
        _find_shared("shared_md5", used, lambda image_id: image_id),
        _find_shared("shared_picture", used, shown.get),
        _find_shared("shared_patient", used, heads.get),
        _check_counts(rows, images, tables, protocol),
        _check_labels(used, images, shown, patients, protocol),
        _check_classes(used, groups),
    ]


def decide_verdict(findings: Sequence[Finding], protocol: str) -> str:
    """The gate's words for a model card: `passed`, or what leaks and what fails, with counts."""
    leaks = [f"{one.count} {one.check}" for one in findings if not one.passed and one.check in LEAKS]
    fails = [f"{one.count} {one.check}" for one in findings if not one.passed and one.check not in LEAKS]
    said = [f"{word}: {', '.join(them)}" for word, them in (("leaks", leaks), ("fails", fails)) if them]
    return "; ".join(said) or "passed"


def is_fatal(protocol: str) -> bool:
    """Whether a failed check stops training; under `published` and `stratified` leaks are measured."""
    return protocol == "patient" or protocol.startswith("external:")


def enforce_gate(findings: Sequence[Finding], protocol: str) -> str:
    """The verdict, for a protocol that may be trained behind it.

    Raises:
        GateError: a check failed under `patient` or `external:<collection>`; names each with examples.
    """
    failed = [finding for finding in findings if not finding.passed]
    if failed and is_fatal(protocol):
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
    for table, frame in tables.items():
        ids = Counter(frame["image_id"])
        differing = set(ids) ^ set(images["image_id"]) | {one for one, count in ids.items() if count > 1}
        wrong += [f"{table} and images differ in {one}" for one in sorted(differing)]
    what = "files with a published split" if protocol == "published" else "images"
    detail = f"{len(rows)} rows for {len(due)} {what}, {len(wrong)} faults"
    return Finding("counts_add_up", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))


def _list_due(images: pd.DataFrame, protocol: str, collections: set[str]) -> list[tuple[str, str, str]]:
    if protocol != "published":
        return list(zip(images["collection"], images["path"], images["image_id"], strict=True))
    return [
        (member["collection"], member["path"], row["image_id"])
        for row in images.to_dict("records")
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
    for image in images.to_dict("records"):
        own[image["collection"], image["path"]] = image["label"]
        if published:
            own |= {(member["collection"], member["path"]): member["label"] for member in image["members"]}
    reference = dict(zip(patients["image_id"], patients["reference_label"], strict=True))
    seen: dict[object, set[object]] = {}
    for row in used:
        seen.setdefault(shown.get(row.image_id), set()).add(row.label)
    wrong = []
    for row in used:
        labels = seen[shown.get(row.image_id)]
        given, told = own.get((row.collection, row.path)), reference.get(row.image_id)
        if row.label not in LABELS:
            wrong.append(f"{row}: label {row.label!r} is none of {', '.join(LABELS)}")
        elif row.label != given:
            wrong.append(f"{row}: {row.label} here, {given} in images")
        elif isinstance(told, str):
            if row.label != told:
                wrong.append(f"{row}: {row.label} here, {told} in the reference")
        elif len(labels) > 1:
            wrong.append(f"{row}: {row.label} here, copies of its picture say {sorted(map(str, labels))}")
    detail = f"{len(wrong)} of {len(used)} used rows have a wrong, unknown or contradicted label"
    return Finding("labels_mapped", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))


def _check_classes(used: Sequence[_Used], groups: pd.DataFrame) -> Finding:
    unit = dict(zip(groups["image_id"], groups["group_id"], strict=True))
    present = {(row.split, row.label) for row in used}
    wrong = [
        f"{label}: none in {part}; {len({unit.get(row.image_id) for row in used if row.label == label})} "
        "groups in all"
        for label in LABELS
        for part in USED
        if (part, label) not in present
    ]
    detail = f"{len(wrong)} of {len(USED) * len(LABELS)} split × label cells are empty"
    return Finding("classes_present", not wrong, len(wrong), detail, tuple(wrong[:EXAMPLES]))
