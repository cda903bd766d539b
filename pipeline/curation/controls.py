"""Negative controls: faults planted one at a time, and the real checks that must catch each of them.

A check that never fails proves nothing. Each control takes a healthy world, plants exactly one fault, and
runs what every run of the graph runs: the lock, the catalog's counts, the accounts, the ledger, and the gate
on the split `patient`. A file that was added to a raw folder meets two lines of defence. First the lock,
which knows the bytes. Then, as if a person had trusted the new bytes, the readers and the curation: the file
must be set aside or kept out of train. At last the split is tampered with so that it trains on the file all
the same, and the gate must see it.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.catalog import Collection
from pipeline.curation import faults, raw_faults
from pipeline.curation.chain import curate
from pipeline.curation.faults import Fault, World, force_training
from pipeline.curation.gate import enforce_gate, inspect_split
from pipeline.curation.inventory import check_accounts
from pipeline.curation.ledger import extend_ledger
from pipeline.errors import GateError, LockError
from pipeline.lock import check_counts, count_images, forget, measure_folder, trust_or_verify

PROTOCOL = "patient"


@dataclass(frozen=True)
class Catch:
    """What one check said of a fault.

    Attributes:
        check: lock, counts, reader, conflicts, split, accounts, ledger, or a check of the gate.
        said: its words, one line.
        stops: whether it raised an error that training does not survive.
    """

    check: str
    said: str
    stops: bool


@dataclass(frozen=True)
class Control:
    """One fault, how it is planted, and the checks that must catch it, all of them; none for health."""

    name: str
    plant: Callable[[World, int, Path], Fault]
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What was planted in one control, and what caught it."""

    control: Control
    planted: str
    catches: tuple[Catch, ...]

    @property
    def refused(self) -> bool:
        """Whether training was stopped by an error."""
        return any(catch.stops for catch in self.catches)

    @property
    def missing(self) -> tuple[str, ...]:
        """Checks that should have caught the fault and did not."""
        caught = {catch.check for catch in self.catches}
        return tuple(check for check in self.control.wanted if check not in caught)

    @property
    def passed(self) -> bool:
        """A fault: caught by all that must, and training refused. Health: nothing said at all."""
        if not self.control.wanted:
            return not self.catches
        return not self.missing and self.refused


CONTROLS = (
    Control("no fault", faults.plant_nothing, ()),
    Control("lost file", raw_faults.lose_file, ("lock", "counts")),
    Control("changed count", raw_faults.add_file, ("lock", "counts")),
    Control("changed bytes", raw_faults.change_bytes, ("lock",)),
    Control("unmapped label", raw_faults.add_unknown_class, ("lock", "reader", "labels_mapped")),
    Control("mirrored leak", raw_faults.leak_mirrored, ("lock", "split", "shared_picture")),
    Control("rotated leak", raw_faults.leak_rotated, ("lock", "split", "shared_picture")),
    Control(
        "conflicting label", raw_faults.contradict_reference, ("lock", "conflicts", "split", "labels_mapped")
    ),
    Control(
        "conflicting copies", raw_faults.contradict_copies, ("lock", "conflicts", "split", "labels_mapped")
    ),
    Control("leaked image", faults.leak_image, ("shared_md5",)),
    Control("leaked picture", faults.leak_picture, ("shared_picture",)),
    Control("leaked patient", faults.leak_patient, ("shared_patient",)),
    Control("moved group", faults.move_group, ("ledger",)),
    Control("lost row", faults.lose_row, ("counts_add_up",)),
    Control("lost account", faults.lose_account, ("accounts",)),
    Control("changed label", faults.change_label, ("labels_mapped",)),
    Control("emptied class", faults.empty_class, ("classes_present",)),
)


def open_world(
    collections: Mapping[str, Collection], folders: Mapping[str, Path], lock: Path, *, workers: int = 1
) -> World:
    """A healthy world: folders trusted in a new lock file, their counts pinned, and their tables.

    Raises:
        SourceError: a folder cannot be read.
        GateError: the images do not fill a split.
    """
    pinned = {name: _pin_counts(collections[name], folder) for name, folder in folders.items()}
    for name, folder in folders.items():
        trust_or_verify(lock, name, measure_folder(folder, pinned[name]))
    return World(pinned, folders, lock, curate(pinned, folders, workers=workers))


def run_control(control: Control, world: World, scratch: Path, *, seed: int = 0, workers: int = 1) -> Outcome:
    """Plant one fault and run every check; a function of the world and the seed.

    Args:
        scratch: an empty folder for raw folders with the fault in them; `world` itself is not touched.
        workers: threads or processes of the curation; they change nothing but time.
    """
    fault = control.plant(world, seed, scratch)
    catches = list(examine(fault.world))
    if fault.added:
        after = _trust(fault.world, world.folders, scratch, workers)
        catches += _follow(after, fault.added)
        catches += examine(force_training(after, fault.forced))
    return Outcome(control, fault.words, tuple(catches))


def examine(world: World) -> Iterator[Catch]:
    """Everything that the checks have to say against a world; nothing where it is healthy."""
    yield from _verify_lock(world)
    yield from _compare_counts(world)
    yield from _check_accounts(world)
    yield from _check_ledger(world)
    yield from _inspect_gate(world)


def _verify_lock(world: World) -> Iterator[Catch]:
    for name, folder in world.folders.items():
        try:
            trust_or_verify(world.lock, name, measure_folder(folder, world.collections[name]))
        except LockError as error:
            differences = [line.strip("- ") for line in str(error).splitlines() if line.startswith("  - ")]
            yield Catch("lock", f"{name}: {differences[-1]}", stops=True)


def _compare_counts(world: World) -> Iterator[Catch]:
    for name, folder in world.folders.items():
        differences = check_counts(world.collections[name], count_images(folder, world.collections[name]))
        if differences:
            yield Catch("counts", differences[-1], stops=False)


def _check_accounts(world: World) -> Iterator[Catch]:
    tables = world.curated
    try:
        check_accounts(tables.files, tables.quarantine, tables.images)
    except GateError as error:
        yield Catch("accounts", str(error).split("; ")[1], stops=True)


def _check_ledger(world: World) -> Iterator[Catch]:
    tables = world.curated
    try:
        extend_ledger(tables.ledger, tables.split, pictures=tables.pictures, patients=tables.patients)
    except GateError as error:
        yield Catch("ledger", str(error).splitlines()[0], stops=True)


def _inspect_gate(world: World) -> Iterator[Catch]:
    tables = world.curated
    findings = inspect_split(
        tables.split, tables.images, tables.pictures, tables.patients, tables.groups, protocol=PROTOCOL
    )
    try:
        enforce_gate(findings, PROTOCOL)
        stops = False
    except GateError:
        stops = True
    for finding in findings:
        if not finding.passed:
            yield Catch(finding.check, finding.detail, stops)


def _trust(world: World, healthy: Mapping[str, Path], scratch: Path, workers: int) -> World:
    """The world after a person trusted its bytes as they are now; what changed is read and curated again."""
    lock = scratch / "trusted.json"
    shutil.copyfile(world.lock, lock)
    pinned = dict(world.collections)
    unchanged = [name for name, folder in world.folders.items() if folder == healthy[name]]
    for name, folder in world.folders.items():
        if name not in unchanged:
            forget(lock, name)
            trust_or_verify(lock, name, measure_folder(folder, pinned[name]))
            pinned[name] = _pin_counts(pinned[name], folder)
    curated = curate(pinned, world.folders, workers=workers, before=world.curated, unchanged=unchanged)
    return replace(world, collections=pinned, lock=lock, curated=curated)


def _pin_counts(collection: Collection, folder: Path) -> Collection:
    return collection.model_copy(update={"counts": count_images(folder, collection)})


def _follow(world: World, places: tuple[str, ...]) -> Iterator[Catch]:
    """What became of added files: set aside by the reader, in conflict, or kept out of train by the split."""
    tables = world.curated
    for check, table, words in (
        ("reader", tables.quarantine, "set aside as {reason}: {detail}"),
        ("conflicts", tables.conflicts, "{rule}"),
        ("split", tables.split[tables.split["split"] != "train"], "put into {split}: {why}"),
    ):
        named = table[(table["collection"] + "/" + table["path"]).isin(places)]
        for row in named.to_dict("records"):
            yield Catch(check, words.format_map(row), stops=False)


def describe_outcome(outcome: Outcome) -> str:
    """What was planted and what every check said, a line each."""
    lines = [outcome.control.name, f"    planted  {outcome.planted}"]
    lines += [f"    caught   {catch.check}: {catch.said}" for catch in outcome.catches]
    return "\n".join(lines)


def tabulate_outcomes(outcomes: Sequence[Outcome]) -> str:
    """One line a fault: which checks caught it, whether training was refused, and what went wrong."""
    rows = [("planted", "training", "caught by")]
    for outcome in outcomes:
        checks = list(dict.fromkeys(catch.check for catch in outcome.catches))
        said = ", ".join(checks) or "nothing"
        if not outcome.passed:
            wrong = f"not by {', '.join(outcome.missing)}" if outcome.missing else "false alarm"
            said = f"WRONG, {wrong}; caught by {said}"
        rows.append((outcome.control.name, "refused" if outcome.refused else "allowed", said))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:<{widths[0]}}  {verdict:<{widths[1]}}  {said}" for name, verdict, said in rows)
