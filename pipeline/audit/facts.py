"""The audit as facts: everything that the page says, typed; `audit.json` is these models, dumped.

`facts_schema` gives their JSON Schema, which describes every field.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FACTS_VERSION = 1


class Fact(BaseModel):
    """A strict, frozen model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TestSet(Fact):
    """How many files of one published test folder have a twin in training; each counted once."""

    collection: str
    whose: str = Field(description="own: the collection's own training folder; any: those of all collections")
    label: str | None = Field(description="one class, as the test files' folders say; null for all")
    total: int = Field(description="published test files")
    byte_identical: int = Field(description="the same bytes lie in training")
    same_picture: int = Field(description="else the same picture, re-encoded, re-scaled, otherwise changed")
    turned: int = Field(description="else the same picture, but only mirrored or turned")
    same_patient: int = Field(description="else another picture of the same known patient")
    none: int = Field(description="no known twin; says nothing of patients that nobody knows")

    @property
    def in_training(self) -> int:
        """Test files with any twin."""
        return self.total - self.none


class Flow(Fact):
    """From files to patients, for one collection or for `all`."""

    collection: str
    files: int
    set_aside: int = Field(description="files in quarantine")
    members: int = Field(description="files that are images: files minus set_aside")
    images: int = Field(description="MD5-distinct images")
    pictures: int = Field(description="distinct pictures")
    pictures_elsewhere: int = Field(description="of these, pictures that another collection shows too")
    with_patient: int = Field(description="images with a known patient")
    patients: int = Field(description="known patients; images of unknown patients add nothing")
    pictures_unknown: int = Field(description="pictures without a known patient")


class Shared(Fact):
    """Pictures that two collections share."""

    first: str
    second: str
    pictures: int
    turned: int = Field(description="of these, pictures that no file of the two shows in one orientation")


class CollectionFact(Fact):
    """One collection as it was measured, and what its source says of it."""

    name: str
    title: str
    description: str
    address: str = Field(description="where it comes from")
    version: str = Field(description="the source's version, or what stands for it")
    files: int
    bytes: int
    digest: str = Field(
        description="SHA-256 over the listing of all files, from the lock; empty if not locked"
    )
    licence: str = Field(description="as the source states it")
    redistribute: str = Field(description="yes, no or unknown: whether pixels may be passed on")
    citation: str
    reference: bool = Field(description="whether it names patients")
    labels: dict[str, str] = Field(description="label as spelled there -> ours")


class Conflict(Fact):
    """One file whose label is contradicted."""

    collection: str
    path: str
    image_id: str
    kind: str
    label: str | None = Field(description="the label that the file carries")
    labels: list[str] = Field(description="all labels given to its picture")
    reference_label: str | None
    resolved: str | None
    rule: str
    set_aside: bool
    witness: str | None = Field(description="image_id of a copy that carries another label")


class Aside(Fact):
    """Files set aside for one reason."""

    collection: str
    reason: str
    meaning: str
    files: int


class Foreign(Fact):
    """One image that does not look like a brain MR slice."""

    collection: str
    path: str
    image_id: str
    kind: str
    detail: str
    kept: bool


class Bin(Fact):
    """Pairs in one bin of scores, `low` ≤ score < `high` (the last one holds 1)."""

    low: float
    high: float
    copy_: int = Field(alias="copy")
    review: int
    rejected: int

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Pair(Fact):
    """Two images that were compared."""

    first: str
    second: str
    first_file: str
    second_file: str
    first_label: str | None
    second_label: str | None
    score: float
    worst: float | None
    evidence: str
    verdict: str
    why: str
    decision: str | None = None


class Scores(Fact):
    """Pairs that were compared in one way; scores of different ways have different scales."""

    evidence: str = Field(description="how they were compared: aligned, ncc, lncc")
    by_verdict: dict[str, int]
    histogram: list[Bin]
    lowest_copy: float | None = Field(description="score of the weakest accepted pair")
    highest_rejected: float | None = Field(description="score of the strongest rejected pair")
    nearest_copies: list[Pair] = Field(description="the weakest accepted pairs")
    nearest_rejected: list[Pair] = Field(description="the strongest rejected pairs")


class Comparison(Fact):
    """The search for copies, by its scores; pairs that a person decided are in no histogram."""

    pairs: int
    by_verdict: dict[str, int]
    by_evidence: dict[str, int]
    scores: list[Scores]
    review: list[Pair] = Field(description="the grey band, all of it")


class Look(Fact):
    """How the images of one collection and class look; quantiles are 5, 25, 50, 75 and 95 %."""

    collection: str
    label: str
    images: int
    sizes: dict[str, int] = Field(description="width×height -> images, the six most frequent, then `other`")
    modes: dict[str, int] = Field(description="format and colour mode as stored -> images")
    jpeg: dict[str, int] = Field(
        description="sum of the JPEG luminance table -> images, the six most frequent"
    )
    brightness: list[float] = Field(description="mean grey level, 0 to 255")
    contrast: list[float] = Field(description="standard deviation of the grey levels")
    border: list[float] = Field(description="share of dark pixels in the outermost rows and columns")


class Shortcut(Fact):
    """How well something that is no anatomy predicts the class, on groups that were not trained on."""

    scope: str = Field(description="all, or one collection")
    features: str
    columns: list[str]
    images: int
    groups: int
    classes: list[str]
    chance: float = Field(description="balanced accuracy of guessing: 1 / classes")
    balanced_accuracy: float | None = Field(description="mean recall of the classes, over all folds together")
    low: float | None = Field(description="the worst fold")
    high: float | None = Field(description="the best fold")
    permuted: float | None = Field(description="the same with labels shuffled between groups, mean")
    permuted_high: float | None = Field(description="the highest of the shuffles")
    recall: dict[str, float] = Field(description="recall of each class")
    why_not: str | None = Field(None, description="why it could not be measured")


class Cell(Fact):
    """One cell of a split: protocol × part × label × collection."""

    protocol: str
    part: str
    collection: str
    label: str
    rows: int = Field(description="images; files under `published`")
    trained: int = Field(description="rows with copy_rank 0 or none: what is trained on by default")
    pictures: int
    patients: int = Field(description="known patients; unknown ones are never counted")
    groups: int


class Crossing(Fact):
    """What lies on both sides of a protocol: in train or val, and in test; of folds: in two of them."""

    protocol: str
    test: int = Field(description="test rows; of folds: all rows that are in one")
    images: int = Field(description="images (same bytes) on both sides")
    pictures: int = Field(description="pictures on both sides")
    patients: int = Field(description="known patients on both sides")
    affected: int = Field(description="test rows (rows) whose picture or known patient is on the other side")


class LeftOut(Fact):
    """Rows that a protocol leaves out, by the rule's words."""

    protocol: str
    why: str
    rows: int


class Facts(Fact):
    """Everything that the audit says."""

    version: int = FACTS_VERSION
    tests: list[TestSet]
    flow: list[Flow]
    shared: list[Shared]
    safety: dict[str, int] = Field(
        description="images whose group is known by patient, by picture, or by the image alone"
    )
    collections: list[CollectionFact]
    conflicts: list[Conflict]
    aside: list[Aside]
    foreign: list[Foreign]
    comparison: Comparison
    looks: list[Look]
    shortcuts: list[Shortcut]
    cells: list[Cell]
    crossings: list[Crossing]
    left_out: list[LeftOut]
    disclaimers: list[str]


def dump_facts(facts: Facts) -> str:
    """The text of `audit.json`: sorted keys, so that the same facts give the same bytes."""
    data = facts.model_dump(mode="json", by_alias=True)
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def facts_schema() -> dict[str, Any]:
    """The JSON Schema of `audit.json`."""
    return Facts.model_json_schema(by_alias=True)
