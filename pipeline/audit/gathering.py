"""All facts of the audit from its evidence."""

from collections import Counter

import pandas as pd

from pipeline.audit.balance import measure_splits
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Aside, CollectionFact, Conflict, Facts, Foreign, TestSet
from pipeline.audit.flow import measure_flow, measure_shared
from pipeline.audit.neighbours import measure_comparison
from pipeline.audit.profile import measure_looks
from pipeline.audit.shortcuts import measure_shortcuts
from pipeline.audit.twins import TWINS, WHOSE, find_twins, published_tests
from pipeline.catalog import Collection
from pipeline.labels import LABELS
from pipeline.lock import LockEntry
from pipeline.schemas import QUARANTINE_REASONS
from pipeline.tables import list_rows, map_cells

SAFETY = ("patient", "picture", "image")
DISCLAIMERS = (
    "Research software. Not a medical device; not for diagnosis, triage or treatment.",
    "An image without a known patient is never counted as a patient: two such images may show one person, "
    "and a split can then still separate them unseen. Only the reference collections name patients.",
    "“No known twin” means that none was proven here, against the collections at hand.",
    "Licences are quoted as their sources state them; nothing here is legal advice.",
    "Labels are those of the publishers; nobody here has read the scans.",
)


def gather_facts(evidence: Evidence) -> Facts:
    """Everything that the audit says, from the tables alone: no clock, no path of this machine, no order.

    Takes seconds for some ten thousand images; the trees of the shortcuts take most of it.
    """
    cells, left_out, crossings = measure_splits(evidence)
    return Facts(
        tests=measure_tests(evidence),
        flow=measure_flow(evidence),
        shared=measure_shared(evidence),
        safety={name: int((evidence.groups["safety"] == name).sum()) for name in SAFETY},
        collections=[
            describe_collection(evidence.collections[name], evidence.lock.get(name), evidence.files)
            for name in evidence.names
        ],
        conflicts=list_contradictions(evidence),
        aside=_count_aside(evidence),
        foreign=_list_foreign(evidence),
        comparison=measure_comparison(evidence),
        looks=measure_looks(evidence),
        shortcuts=measure_shortcuts(evidence),
        cells=cells,
        crossings=crossings,
        left_out=left_out,
        disclaimers=list(DISCLAIMERS),
    )


def measure_tests(evidence: Evidence) -> list[TestSet]:
    """Each published test set against its own training and any training: as a whole, then by class."""
    found = []
    for name in published_tests(evidence.members):
        for whose in WHOSE:
            twins = find_twins(evidence.members, name, whose)
            for label in (None, *LABELS):
                own = twins if label is None else twins[twins["label"] == label]
                if label is None or len(own):
                    counts = {twin: int((own["twin"] == twin).sum()) for twin in TWINS}
                    found.append(TestSet(collection=name, whose=whose, label=label, total=len(own), **counts))
    return found


def list_contradictions(evidence: Evidence) -> list[Conflict]:
    """Every file of every image with a contradicted label, by collection and path."""
    conflicts = evidence.conflicts.drop(columns=["collection", "path", "label"])
    files = evidence.members[["collection", "path", "image_id", "label", "picture_id"]]
    rows = list_rows(files.merge(conflicts, on="image_id").sort_values(["collection", "path"]))
    witnesses = _Witnesses(evidence)
    return [
        Conflict(
            collection=row["collection"],
            path=row["path"],
            image_id=row["image_id"],
            kind=row["kind"],
            label=_text(row["label"]),
            labels=list(row["labels"]),
            reference_label=_text(row["reference_label"]),
            resolved=_text(row["resolved"]),
            rule=row["rule"],
            set_aside=bool(row["set_aside"]),
            witness=witnesses.find(row["image_id"], row["picture_id"], _text(row["label"])),
        )
        for row in rows
    ]


class _Witnesses:
    """For a contradicted image, a copy that carries another label: the reference slice, else the first."""

    def __init__(self, evidence: Evidence) -> None:
        patients = evidence.patients
        told = patients[patients["reference_id"].notna()]
        self.references = map_cells(told, "image_id", "reference_id")
        self.copies: dict[str, list[tuple[str, str | None]]] = {}
        columns = (evidence.members[name] for name in ("picture_id", "image_id", "label"))
        for picture, image_id, label in sorted(zip(*columns, strict=True), key=str):
            self.copies.setdefault(picture, []).append((image_id, _text(label)))

    def find(self, image_id: str, picture: str, label: str | None) -> str | None:
        reference = _text(self.references.get(image_id))
        if reference is not None and reference != image_id:
            return reference
        others = (one for one, other in self.copies[picture] if one != image_id and other != label)
        return next(others, None)


def describe_collection(entry: Collection, locked: LockEntry | None, files: pd.DataFrame) -> CollectionFact:
    """A collection as it was measured, and what its source says of it.

    Args:
        entry: from the catalog.
        locked: what pins it, where something does.
        files: table `files`.
    """
    kaggle, manual = entry.source.kaggle, entry.source.manual
    files = files[files["collection"] == entry.name]
    if locked and locked.version is not None:
        version = f"version {locked.version}, as fetched"
    elif kaggle:
        version = f"version {kaggle.version} in the catalog; these files were put here by hand"
    else:
        version = "no version; pinned by its digest" if locked else "no version"
    return CollectionFact(
        name=entry.name,
        title=entry.title,
        description=" ".join(entry.description.split()),
        address=f"https://www.kaggle.com/datasets/{kaggle.slug}"
        if kaggle
        else (manual.url if manual else ""),
        version=version,
        files=locked.files if locked else len(files),
        bytes=locked.bytes if locked else int(files["bytes"].sum()),
        digest=locked.digest if locked else "",
        licence=locked.licence if locked else entry.licence.stated,
        redistribute=entry.licence.redistribute,
        citation=locked.citation if locked else entry.citation,
        reference=entry.reference,
        labels=dict(sorted(entry.labels.items())),
    )


def _count_aside(evidence: Evidence) -> list[Aside]:
    aside = evidence.quarantine
    counts = Counter(zip(aside["reason"], aside["collection"], strict=True))
    return [
        Aside(collection=name, reason=reason, meaning=QUARANTINE_REASONS[reason], files=count)
        for (reason, name), count in sorted(counts.items())
    ]


def _list_foreign(evidence: Evidence) -> list[Foreign]:
    rows = list_rows(evidence.foreign.sort_values(["kind", "collection", "path"]))
    return [Foreign.model_validate({str(key): value for key, value in row.items()}) for row in rows]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
