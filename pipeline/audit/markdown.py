"""The table `audit` as markdown, for Dagster's page of the asset."""

from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline.audit.counts import ALL, COLLECTION_MEASURES, LEAK_MEASURES, TWIN_MEASURES
from pipeline.labels import LABELS, SPLITS

OPTIONAL = (
    ("class leaks", "The same, for each class"),
    ("conflicts", "Contradicted labels (images)"),
    ("foreign", "Not a brain MR slice (images)"),
    ("quarantine", "Quarantine (files)"),
)

Values = dict[tuple[str, str, str], tuple[int, int]]


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
    for section, title in OPTIONAL:
        measures = sorted({measure for one, _, measure in values if one == section})
        measures = list(LEAK_MEASURES) if section == "class leaks" else measures
        if any(one == section for one, _, _ in values):
            parts.append(f"## {title}\n\n" + _tabulate(values, section, measures))
    for name in sorted({subject for section, subject, _ in values if section == "splits"}):
        parts.append(f"## Split `{name}`: images (groups)\n\n" + _tabulate_split(values, name))
    return "\n\n".join(parts) + "\n"


def _say_leaks(values: Values) -> Iterator[str]:
    names = sorted({subject for section, subject, _ in values if section == "leaks"})
    if not names:
        yield "No collection here publishes a test folder."
    for name in names:
        for suffix, whose in (("", "in its own training folder"), ("_anywhere", "in any training folder")):
            value = {one: values["leaks", name, one + suffix][0] for one in TWIN_MEASURES}
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
