"""What the audit is made from: the curation's tables, the lock and the catalog, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from pipeline.audit.twins import list_members
from pipeline.catalog import Collection
from pipeline.errors import TableError
from pipeline.lock import LockEntry

PER_IMAGE = ("pictures", "patients", "groups")


@dataclass(frozen=True)
class Evidence:
    """The tables of one curation, as the lake gives them; all of one materialisation.

    Attributes:
        files … thumbnails: the tables of these names (`pipeline.schemas`). `looks` and `thumbnails` may hold
            more images than `images`: those that were set aside after decoding.
        splits: table `splits` by protocol name.
        folds: table `folds`.
        lock: what pins each collection; a collection may be missing.
        collections: the catalog's collections; every collection of `files` is in there.

    Raises:
        TableError: `pictures`, `patients` or `groups` hold other images than `images`, or a file's collection
            is not in the catalog.
    """

    files: pd.DataFrame
    quarantine: pd.DataFrame
    images: pd.DataFrame
    pictures: pd.DataFrame
    pairs: pd.DataFrame
    review: pd.DataFrame
    patients: pd.DataFrame
    groups: pd.DataFrame
    conflicts: pd.DataFrame
    foreign: pd.DataFrame
    looks: pd.DataFrame
    thumbnails: pd.DataFrame
    splits: Mapping[str, pd.DataFrame]
    folds: pd.DataFrame
    lock: Mapping[str, LockEntry]
    collections: Mapping[str, Collection]

    def __post_init__(self) -> None:
        known = set(self.images["image_id"])
        for name in PER_IMAGE:
            differing = sorted(known.symmetric_difference(getattr(self, name)["image_id"]))
            if differing:
                raise TableError(
                    f"the audit needs tables of one materialisation: `images` and `{name}` differ in "
                    f"{len(differing)} image_ids, the first is {differing[0]}; materialise both, then "
                    "the audit"
                )
        strange = sorted(set(self.files["collection"]) - set(self.collections))
        if strange:
            raise TableError(
                f"the audit cannot describe {', '.join(strange)}: not in the catalog, which has "
                f"{', '.join(self.collections)}; add catalog/datasets/{strange[0]}.yaml"
            )

    @cached_property
    def names(self) -> list[str]:
        """The collections that have files here, sorted."""
        return sorted(set(self.files["collection"]))

    @cached_property
    def members(self) -> pd.DataFrame:
        """Every member file, with what it shows: `pipeline.audit.twins.list_members`."""
        return list_members(self.images, self.pictures, self.patients)

    @cached_property
    def usable(self) -> pd.DataFrame:
        """Table `images` less those without a label, foreign ones, and those whose label is contradicted."""
        contradicted = self.conflicts.loc[self.conflicts["set_aside"], "image_id"]
        foreign = self.foreign.loc[~self.foreign["kept"].astype(bool), "image_id"]
        aside = self.images["image_id"].isin([*contradicted, *foreign])
        return self.images[self.images["label"].notna() & ~aside]
