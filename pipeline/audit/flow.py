"""From files to patients, and which collections hold the same pictures."""

from collections.abc import Iterator
from itertools import combinations

import pandas as pd

from pipeline.audit.counts import ALL
from pipeline.audit.evidence import Evidence
from pipeline.audit.facts import Flow, Shared


def measure_flow(evidence: Evidence) -> list[Flow]:
    """Files, images, pictures and patients of each collection, then of `all` together.

    An image or picture of two collections counts in both and once in `all`. An image without a known
    patient is never counted as a patient.
    """
    members = evidence.members
    homes = members.groupby("picture_id")["collection"].nunique()
    several = set(homes.index[homes > 1])
    return [_count(evidence, name, members, several) for name in [*evidence.names, ALL]]


def _count(evidence: Evidence, name: str, members: pd.DataFrame, several: set[str]) -> Flow:
    everywhere = name == ALL
    files, aside, held = (
        frame if everywhere else frame[frame["collection"] == name]
        for frame in (evidence.files, evidence.quarantine, members)
    )
    images = held.drop_duplicates("image_id")
    pictures = set(images["picture_id"])
    known = set(images.loc[images["patient_id"].notna(), "picture_id"])
    return Flow(
        collection=name,
        files=len(files),
        set_aside=len(aside),
        members=len(held),
        images=len(images),
        pictures=len(pictures),
        pictures_elsewhere=len(pictures & several),
        with_patient=int(images["patient_id"].notna().sum()),
        patients=int(images["patient_id"].nunique()),
        pictures_unknown=len(pictures - known),
    )


def measure_shared(evidence: Evidence) -> list[Shared]:
    """Pictures that each two collections share, pairs of names in sorted order; none shared is listed too."""
    return list(_find_shared(evidence))


def _find_shared(evidence: Evidence) -> Iterator[Shared]:
    members = evidence.members
    held = {name: set(members.loc[members["collection"] == name, "picture_id"]) for name in evidence.names}
    views: dict[tuple[str, str], set[tuple[bool, int]]] = {}
    columns = (members[name] for name in ("collection", "picture_id", "mirrored", "turned"))
    for name, picture, mirrored, turned in zip(*columns, strict=True):
        views.setdefault((name, picture), set()).add((mirrored, turned))
    for first, second in combinations(evidence.names, 2):
        both = held[first] & held[second]
        turned = sum(not views[first, one] & views[second, one] for one in both)
        yield Shared(first=first, second=second, pictures=len(both), turned=turned)
