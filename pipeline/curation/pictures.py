"""Which picture each image shows: proven pairs and people's decisions, joined so that no chain can glue.

The rules, in the order in which they bind:

1. a pair that a person rejected is never in one picture: where a chain of proven pairs would bring it
   together, the weakest pair of the chain is cut;
2. a pair that a person accepted is joined, whatever was measured;
3. two slices of a reference collection are in one picture only where one is a plain re-encoding of the
   other, or where a person accepted them: their owner says that they are distinct, so that a slice stored
   twice, once turned by some degrees, is for a person to judge. Where a chain of copies would connect two
   slices, each image goes with its best score;
4. every other proven pair is joined.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.curation.orientation import (
    Transform,
    compose,
    flatten,
    invert,
    name_orientations,
    unflatten,
)
from pipeline.curation.pairs import compare_images
from pipeline.curation.thumbnails import open_thumbnails
from pipeline.digests import digest_bytes
from pipeline.errors import TableError
from pipeline.tables import find_table, list_rows

__all__ = ["compare_images", "find_pictures", "list_review", "open_thumbnails"]

Neighbours = list[list[tuple[int, "Edge"]]]


@dataclass(frozen=True)
class Edge:
    """A pair that may be joined, by row; `transform` leads from `first` to `second`."""

    first: int
    second: int
    transform: Transform
    score: float
    worst: float | None
    evidence: str
    decided: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is a re-encoding, proven without alignment."""
        return self.evidence in ("ncc", "lncc")


def find_pictures(
    pairs: pd.DataFrame,
    images: pd.DataFrame,
    *,
    references: Sequence[str] = (),
    decisions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table `pictures`: every image with the picture that it shows.

    Transforms are composed along the pairs from the picture's representative, its smallest image_id.
    Deterministic, and the same for any order of the rows. A pair that was accepted without having been
    compared is joined with the identity as its transform and a score of 0.

    Args:
        pairs: table `pairs`.
        images: table `images`: all images, of which `pairs` names some.
        references: collections whose slices are known to be distinct pictures.
        decisions: table `decisions`; actions other than accept and reject say nothing here. Where a pair is
            both accepted and rejected, it is rejected.

    Raises:
        TableError: `pairs` or a decided pair names an image that `images` does not hold.
    """
    names = sorted(images["image_id"])
    places = {name: row for row, name in enumerate(names)}
    accepted, rejected = _read_decisions(decisions)
    _check_names(pairs, accepted | rejected, places)
    kept = images.loc[images["collection"].isin(list(references)), "image_id"]
    slices = {places[name] for name in kept}
    edges = _list_edges(pairs, places, accepted - rejected, rejected)
    forbidden = [(places[one], places[other]) for one, other in rejected]
    neighbours = _span_pictures(len(names), edges, slices, forbidden)
    return pd.DataFrame(_describe_pictures(names, neighbours), columns=find_table("pictures").names).astype(
        {"worst": "float64"}
    )


def list_review(pairs: pd.DataFrame, images: pd.DataFrame, decisions: pd.DataFrame | None) -> pd.DataFrame:
    """The table `review`: the pairs of the grey band, most alike first within the key's order of the lake.

    Raises:
        TableError: `pairs` names an image that `images` does not hold.
    """
    _check_names(pairs, set(), set(images["image_id"]))
    known = images.set_index("image_id")
    files = known["collection"] + "/" + known["path"]
    decided = {} if decisions is None else _index_decisions(decisions)
    rows = []
    for pair in list_rows(pairs[pairs["verdict"] == "review"]):
        first, second = pair["first"], pair["second"]
        decision, who, reason = decided.get((first, second), (None, None, None))
        rows.append(
            (
                first, second, files[first], files[second], known.at[first, "label"],
                known.at[second, "label"], pair["score"], pair["worst"], decision, who, reason,
            )
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=find_table("review").names).astype(
        {"score": "float64", "worst": "float64"}
    )
    return table.sort_values(["score", "first", "second"], ascending=[False, True, True], ignore_index=True)


def _index_decisions(decisions: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Decided pairs, the smaller image_id first, with action, who and why; reject wins over accept."""
    pairs = decisions[decisions["action"].isin(["accept", "reject"])]
    ordered = list_rows(pairs.sort_values(["action", "first", "second", "who", "why"]))
    return {
        (min(row["first"], row["second"]), max(row["first"], row["second"])): (
            row["action"],
            row["who"],
            row["why"],
        )
        for row in ordered
    }


def _read_decisions(decisions: pd.DataFrame | None) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    decided = {} if decisions is None else _index_decisions(decisions)
    accepted, rejected = (
        {pair for pair, (action, _, _) in decided.items() if action == wanted}
        for wanted in ("accept", "reject")
    )
    return accepted, rejected


def _check_names(pairs: pd.DataFrame, decided: set[tuple[str, str]], known: Iterable[str]) -> None:
    named = set(pairs["first"]) | set(pairs["second"]) | {name for pair in decided for name in pair}
    unknown = sorted(named.difference(known))
    if unknown:
        raise TableError(
            f"pairs and decisions name {len(unknown)} images that are not in `images`: {unknown[:3]}; "
            "materialise pairs again, or correct the decision file"
        )


def _list_edges(
    pairs: pd.DataFrame,
    places: dict[str, int],
    accepted: set[tuple[str, str]],
    rejected: set[tuple[str, str]],
) -> list[Edge]:
    """Accepted pairs first, then copies from the best score down; rejected ones are left out."""
    edges, missing = [], set(accepted)
    decided = {name for pair in accepted for name in pair}
    open_ = (pairs["verdict"] == "copy") | (pairs["first"].isin(decided) & pairs["second"].isin(decided))
    for pair in list_rows(pairs[open_]):
        key = (pair["first"], pair["second"])
        taken = key in accepted
        if key in rejected or not (taken or pair["verdict"] == "copy"):
            continue
        missing.discard(key)
        worst = None if pd.isna(pair["worst"]) else float(pair["worst"])
        evidence = "decision" if taken and pair["verdict"] != "copy" else pair["evidence"]
        transform = unflatten(pair["transform"])
        ends = places[key[0]], places[key[1]]
        edges.append(Edge(*ends, transform, float(pair["score"]), worst, evidence, taken))
    edges += [
        Edge(places[one], places[other], np.eye(2, 3), 0.0, None, "decision", True) for one, other in missing
    ]
    return sorted(edges, key=lambda edge: (not edge.decided, -edge.score, edge.first, edge.second))


def _span_pictures(
    count: int, edges: list[Edge], slices: set[int], forbidden: list[tuple[int, int]]
) -> Neighbours:
    """Neighbours of each row in the best spanning forest that keeps apart what has to be.

    Kruskal: in the order of `edges`, decided ones and re-encodings between two reference slices before all.
    An edge is refused where it would join a rejected pair, or two trees that each hold a reference slice.
    """
    parent = list(range(count))
    anchored = [row in slices for row in range(count)]
    rivals: dict[int, set[int]] = {}
    for one, other in forbidden:
        rivals.setdefault(one, set()).add(other)
        rivals.setdefault(other, set()).add(one)
    neighbours: Neighbours = [[] for _ in range(count)]

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def is_direct(edge: Edge) -> bool:
        return edge.decided or (edge.plain and edge.first in slices and edge.second in slices)

    for direct in (True, False):
        for edge in (edge for edge in edges if is_direct(edge) == direct):
            one, other = sorted((root(edge.first), root(edge.second)))
            apart = not direct and anchored[one] and anchored[other]
            if one == other or apart or any(root(row) == other for row in rivals.get(one, ())):
                continue
            parent[other] = one
            anchored[one] = anchored[one] or anchored[other]
            if other in rivals:
                rivals[one] = rivals.get(one, set()) | rivals.pop(other)
            neighbours[edge.first].append((edge.second, edge))
            neighbours[edge.second].append((edge.first, edge))
    return neighbours


def _describe_pictures(names: list[str], neighbours: Neighbours) -> list[tuple[object, ...]]:
    """Walk each tree from its smallest image_id: rows of `pictures`."""
    found: dict[int, tuple[str, str, str]] = {}
    ways: dict[int, Transform] = {}
    proofs: dict[int, tuple[float, float | None, str]] = {}
    for representative, name in enumerate(names):
        if representative in found:
            continue
        picture = digest_bytes(f"picture:{name}".encode())[:16]
        found[representative] = (picture, name, name)
        ways[representative], proofs[representative] = np.eye(2, 3), (1.0, None, "self")
        reached = [representative]
        for row in reached:
            for other, edge in neighbours[row]:
                if other not in found:
                    step = edge.transform if row == edge.first else invert(edge.transform)
                    found[other] = (picture, name, names[row])
                    ways[other] = compose(step, ways[row])
                    proofs[other] = (edge.score, edge.worst, edge.evidence)
                    reached.append(other)
    rows = range(len(names))
    # Named all at once: one by one they would take most of the time.
    every = np.stack([ways[row] for row in rows]) if names else np.empty((0, 2, 3))
    mirrored, turned = (column.tolist() for column in name_orientations(every))
    return [
        (names[row], *found[row], mirrored[row], turned[row], flatten(ways[row]), *proofs[row])
        for row in rows
    ]
