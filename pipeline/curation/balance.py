"""Whole groups over the parts of a split, balanced in images and groups of each label."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.curation.eligibility import Entry
from pipeline.curation.milp import Demand, Ints, share_out
from pipeline.digests import seed_for
from pipeline.errors import GateError
from pipeline.labels import LABELS

GROUP_WEIGHT = 10.0  # one group off target costs as much as ten images: groups are what intervals count
COLLECTION_WEIGHT = 0.5  # a class within one collection, in images


def assign_groups(
    free: Sequence[Entry],
    kept: Mapping[str, Sequence[Entry]],
    shares: Mapping[str, float],
    *,
    protocol: str,
) -> dict[str, str]:
    """A part for the group of each free entry; alike groups go in the order of a hash of group_id.

    Args:
        free: entries whose groups are given out; each has a label.
        kept: part -> entries that are in it already and stay.
        shares: part -> the share of the whole that it should get; they sum to 1.
        protocol: named in the refusal, and part of the hash.

    Returns:
        group_id -> part. A function of content alone: the order of the entries changes nothing.

    Raises:
        GateError: there is no way to have every label in every part.
    """
    parts = list(shares)
    holders = [entry for part in parts for entry in kept.get(part, ())]
    cells = sorted({(entry.collection, str(entry.label)) for entry in [*free, *holders]})
    counts = _count_features(free, cells)
    placed = np.zeros((len(parts), 2 * len(LABELS) + len(cells)), np.int64)
    for index, part in enumerate(parts):
        placed[index] = sum(_count_features(kept.get(part, ()), cells).values(), placed[index])
    alike: dict[tuple[int, ...], list[str]] = {}
    for group_id in sorted(counts, key=lambda one: (seed_for(protocol, one), one)):
        alike.setdefault(tuple(counts[group_id].tolist()), []).append(group_id)
    types = sorted(alike)
    amounts = share_out(_write_demand(types, [len(alike[kind]) for kind in types], placed, shares))
    if amounts is None:
        raise GateError(_refuse([*free, *holders], parts, protocol))
    return {
        group_id: parts[index]
        for kind, row in zip(types, amounts.tolist(), strict=True)
        for group_id, index in zip(alike[kind], repeat_parts(row), strict=True)
    }


def _write_demand(
    types: Sequence[tuple[int, ...]], sizes: Sequence[int], placed: Ints, shares: Mapping[str, float]
) -> Demand:
    width, labels = placed.shape[1], len(LABELS)
    weights = np.repeat([1.0, GROUP_WEIGHT, COLLECTION_WEIGHT], [labels, labels, width - 2 * labels])
    return Demand(
        types=np.array(types, np.int64).reshape(len(types), width),
        sizes=np.array(sizes, np.int64),
        placed=placed,
        shares=np.array(list(shares.values())),
        weights=weights,
        required=np.arange(width) < labels,
        wanted=np.arange(width) >= 2 * labels,
    )


def _count_features(entries: Iterable[Entry], cells: Sequence[tuple[str, str]]) -> dict[str, Ints]:
    """Per group: images of each label, whether it has the label, images of each collection × label."""
    width = len(LABELS)
    column = {cell: 2 * width + index for index, cell in enumerate(cells)}
    counts: dict[str, Ints] = {}
    for entry in entries:
        vector = counts.setdefault(entry.group_id, np.zeros(2 * width + len(cells), np.int64))
        label = LABELS.index(entry.label)
        vector[label] += 1
        vector[width + label] = 1
        vector[column[entry.collection, str(entry.label)]] += 1
    return counts


def repeat_parts(counts: Sequence[int]) -> list[int]:
    """The index of each part, as often as its count says: [2, 0, 1] gives [0, 0, 2]."""
    return [part for part, count in enumerate(counts) for _ in range(count)]


def _refuse(entries: Iterable[Entry], parts: Sequence[str], protocol: str) -> str:
    groups: dict[str, set[str]] = {label: set() for label in LABELS}
    for entry in entries:
        groups[str(entry.label)].add(entry.group_id)
    counts = ", ".join(f"{label} has {len(found)}" for label, found in groups.items())
    return (
        f"split `{protocol}`: not every class can be in each of {', '.join(parts)}. Groups per class: "
        f"{counts}; each needs at least {len(parts)} that share no picture or patient, and one in each part "
        "that earlier assignments leave open: add a collection with new patients of the scarce classes"
    )
