"""Raw collections: which folder holds each under the present profile, and whether its bytes are trusted."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dagster as dg

from pipeline.atomic import replacing_folder, write_text
from pipeline.catalog import Catalog, Collection, Degradation, load_catalog
from pipeline.digests import digest_file, digest_json
from pipeline.errors import SourceError
from pipeline.lock import (
    LockEntry,
    check_counts,
    count_images,
    measure_folder,
    read_lock,
    trust_or_verify,
)
from resources.kaggle import KaggleSource

ABSENT = "absent"  # data version of a collection that the profile lacks
Status = Literal["made", "downloaded", "trusted", "verified", "absent"]
Log = Callable[[str], None]


@dataclass(frozen=True)
class RawState:
    """What became of one raw collection: its status, its lock entry, and what a person should know."""

    status: Status
    folder: Path
    entry: LockEntry | None = None
    warnings: list[str] = field(default_factory=list)
    reason: str = ""


class RawStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Brings raw collections into place and vouches for them; a folder in place is never changed."""

    profile: str
    home: str
    datasets: str
    catalog_root: str
    phantom_scale: float
    seed: int
    workers: int
    decisions: str = ""
    keep_contradicted: bool = False
    kaggle: KaggleSource

    @property
    def catalog(self) -> Catalog:
        """The YAML catalog."""
        return load_catalog(Path(self.catalog_root))

    @property
    def degradations(self) -> Mapping[str, Degradation]:
        """What models are tested under: the catalog; in the demo, for time, what is kept as pictures."""
        known = self.catalog.degradations
        if self.profile != "demo":
            return known
        return {name: kind for name, kind in known.items() if kind.stored}

    @property
    def catalog_digest(self) -> str:
        """Digest of the catalog's collections: layouts, label maps, sources."""
        return digest_json([entry.model_dump(mode="json") for entry in self.catalog.collections.values()])

    @property
    def decisions_digest(self) -> str:
        """SHA-256 of the decision file; empty where there is none."""
        path = Path(self.decisions)
        return digest_file(path) if self.decisions and path.is_file() else ""

    @property
    def references(self) -> list[str]:
        """Names of the collections that name patients, sorted."""
        return sorted(c.name for c in self.catalog.collections.values() if c.reference)

    @property
    def lock_path(self) -> Path:
        """The lock file that pins the bytes of every raw collection of this home; phantoms have their own."""
        if self.profile == "demo":
            return self.phantom_root.with_name(f"{self.phantom_root.name}.lock.json")
        return Path(self.home) / "raw.lock.json"

    @property
    def cache_root(self) -> Path:
        """The folder of decoded images; anything in it can be made again."""
        return Path(self.home) / "cache"

    @property
    def phantom_root(self) -> Path:
        """The folder that holds the phantom collections and the key of what was planted."""
        return Path(self.home) / "raw" / f"phantoms-{self.seed}-{self.phantom_scale:g}"

    def folder(self, collection: Collection) -> Path:
        """The folder that holds, or will hold, the collection's files."""
        if self.profile == "demo":
            return self.phantom_root / collection.name
        if self.profile == "kaggle" and collection.source.kaggle:
            return Path(self.home) / "raw" / collection.name
        # Without FALX_DATASETS never a path relative to wherever the command happens to run.
        return (Path(self.datasets) if self.datasets else Path(self.home) / "raw") / collection.name

    def folders(self) -> dict[str, Path]:
        """The collections that are in place, by name."""
        found = {name: self.folder(collection) for name, collection in self.catalog.collections.items()}
        return {name: folder for name, folder in found.items() if folder.is_dir()}

    def ensure(self, collection: Collection, *, log: Log) -> RawState:
        """Bring a collection into place, or verify the one that is there.

        Raises:
            SourceError: it cannot be had or understood, or its bytes are not the trusted ones (LockError).
        """
        folder = self.folder(collection)
        before = sign_folder(folder) if folder.is_dir() else None
        state = self._bring(collection, log)
        if state.entry is not None and before in (None, now := sign_folder(folder)):
            write_text(self._sign_path(collection.name), now)
        return state

    def _bring(self, collection: Collection, log: Log) -> RawState:
        folder = self.folder(collection)
        if self.profile == "kaggle" and collection.source.kaggle:
            entry, status = self.kaggle.ensure(collection, folder, self.lock_path, log=log)
            return RawState("downloaded" if status == "downloaded" else "verified", folder, entry)
        made = self.profile == "demo" and self._make_phantoms(log)
        if not folder.is_dir():
            return RawState("absent", folder, reason=self.explain_absence(collection))
        entry = measure_folder(folder, collection)
        # Counted first: what cannot be understood is not pinned, so that it may still be put right.
        counts = None if self.profile == "demo" else count_images(folder, collection)
        verdict = trust_or_verify(self.lock_path, collection.name, entry)
        differences = [] if counts is None else check_counts(collection, counts)
        return RawState("made" if made else verdict, folder, entry, differences)

    def _make_phantoms(self, log: Log) -> bool:
        from pipeline.phantoms.generation import generate

        if self.phantom_root.is_dir():
            return False
        log(f"drawing phantoms at scale {self.phantom_scale:g} into {self.phantom_root}")
        with replacing_folder(self.phantom_root) as temporary:
            generate(temporary, seed=self.seed, scale=self.phantom_scale, workers=self.workers)
        return True

    def explain_absence(self, collection: Collection) -> str:
        """Why a collection is skipped, and what would bring it in."""
        if not self.datasets:
            where = collection.source.manual.instructions if collection.source.manual else ""
            return f"FALX_DATASETS is not set. {where}".strip()
        return f"no folder {collection.name!r} in FALX_DATASETS={self.datasets}; the graph goes on without it"

    def require_any(self) -> dict[str, Path]:
        """The collections in place.

        Raises:
            SourceError: there is none at all.
        """
        found = self.folders()
        if not found:
            raise SourceError(
                f"no collection is in place under profile {self.profile!r}; known: "
                f"{', '.join(self.catalog.collections)}. Materialise the group `raw` first, "
                f"or point FALX_DATASETS (now {self.datasets or 'unset'}) at a folder that holds one of them."
            )
        return found

    def digests(self) -> dict[str, str]:
        """Digest of the trusted bytes of each collection in place, by name.

        Raises:
            SourceError: a folder is in place whose bytes nobody has vouched for yet.
        """
        locked = read_lock(self.lock_path)
        unlocked = [name for name in self.folders() if name not in locked]
        if unlocked:
            raise SourceError(
                f"{', '.join(unlocked)}: in place, but not in the lock file {self.lock_path}; "
                "materialise the group `raw` first, which measures and pins them"
            )
        return {name: locked[name].digest for name in self.folders()}

    def expect_version(self, collection: Collection) -> str | None:
        """The data version that the raw asset has if the disk is as it was: the trusted digest, or `absent`.

        None where work is left: the collection is to be drawn, downloaded or measured first, a file in it has
        another size, time or name than when it was last measured, or the catalog names another version.
        """
        folder = self.folder(collection)
        if folder.is_dir():
            entry = read_lock(self.lock_path).get(collection.name)
            return entry.digest if entry and self._is_as_measured(collection, folder, entry) else None
        brought = self.profile == "demo" or (self.profile == "kaggle" and collection.source.kaggle)
        return None if brought else ABSENT

    def _is_as_measured(self, collection: Collection, folder: Path, entry: LockEntry) -> bool:
        """Whether nothing speaks for other bytes than those that were trusted; no byte is read."""
        source = collection.source.kaggle
        if (
            self.profile == "kaggle"
            and source
            and (entry.slug, entry.version) != (source.slug, source.version)
        ):
            return False
        sign = self._sign_path(collection.name)
        return sign.is_file() and sign.read_text(encoding="utf-8") == sign_folder(folder)

    def _sign_path(self, name: str) -> Path:
        """Where it is kept how a collection's folder looked when it was last measured."""
        return Path(self.home) / "raw.signs" / f"{name}.txt"


def sign_folder(folder: Path) -> str:
    """A cheap sign of a folder: digest of names, sizes and times of its files; no byte is read."""
    rows = []
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            state = path.lstat()
            rows.append([os.fsencode(path.relative_to(folder)).hex(), state.st_size, state.st_mtime_ns])
    return digest_json(sorted(rows))
