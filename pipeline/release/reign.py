"""Who is the champion, who is barred, and where a rollback leads, by the ledger of releases."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.errors import ReleaseError
from pipeline.tables import list_rows

Row = Mapping[Hashable, Any]
"""A row of table `releases`."""

PROMOTION, ROLLBACK = "promotion", "rollback"


@dataclass(frozen=True)
class Reign:
    """The present champion and the models that the rule may not take."""

    model_id: str = ""
    """Empty where nothing was released yet, as are the next two."""
    recipe: str = ""
    version: str = ""
    """Its version in MLflow, of the registered model `falx`."""
    seed: int = 0
    number: int = 0
    """Rows of the ledger so far."""
    held: dict[str, str] = field(default_factory=dict)
    """model_id -> why it may not be taken."""


def find_reign(releases: pd.DataFrame) -> Reign:
    """The champion by the last row of the ledger, and who is held.

    A model that a person rolled back from stays barred until a person rolls back to it. The models that were
    weighed at a rollback are held as well, but only until the next promotion: another one must come first.
    """
    rows = sorted(list_rows(releases), key=lambda row: row["number"])
    if not rows:
        return Reign()
    last, held = rows[-1], {}
    if last["action"] == ROLLBACK:
        words = f"was there at the rollback no. {last['number']}: a new model must come first"
        held = dict.fromkeys(map(str, last["held"]), words)
    for row in rows:
        if row["action"] == ROLLBACK:
            held[row["replaced"]] = f"taken back by {row['who']} in release no. {row['number']}: {row['why']}"
            held.pop(row["model_id"], None)
    held.pop(last["model_id"], None)
    return Reign(
        last["model_id"], last["recipe"], last["version"], int(last["seed"]), int(last["number"]), held
    )


def choose_target(releases: pd.DataFrame, version: str = "") -> Row:
    """The row of the release that a rollback leads to.

    Args:
        version: of the registered model `falx`; empty takes the champion that the present one replaced.

    Raises:
        ReleaseError: nothing was released, or nothing before the champion, or the version is unknown, or it
            is the champion already.
    """
    rows = sorted(list_rows(releases), key=lambda row: row["number"])
    if not rows:
        raise ReleaseError(
            "nothing was released yet, so there is nothing to roll back to; `make train` first"
        )
    last = rows[-1]
    known = {row["version"]: row for row in rows}
    listed = ", ".join(f"{name} ({row['recipe']})" for name, row in sorted(known.items(), key=_number))
    if version:
        if version not in known:
            raise ReleaseError(
                f"VERSION={version}: no version of `falx` was released as that; released: {listed}"
            )
        if known[version]["model_id"] == last["model_id"]:
            raise ReleaseError(f"VERSION={version} is the champion already; released: {listed}")
        return known[version]
    brought = [row for row in rows if row["action"] == PROMOTION and row["model_id"] == last["model_id"]]
    before = brought[-1]["replaced"] if brought else ""
    if not before:
        raise ReleaseError(
            f"there is nothing to roll back to: version {last['version']} ({last['recipe']}) replaced no "
            f"other; released: {listed}. VERSION=<n> names one of them"
        )
    return next(row for row in reversed(rows) if row["model_id"] == before)


def _number(item: tuple[str, object]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isdigit() else 0, item[0])
