"""`make rollback`: the champion before the present one again, or a version by number; who and why stay."""

import getpass
from typing import Any

from commands.graph import Graph
from commands.work import open_graph, tracking_server
from pipeline.errors import FalxError
from resources.console import say

JOB = "promote"


def run_rollback(version: str = "", why: str = "") -> int:
    """Set the alias back, add the row to the ledger of releases, and write the table `release` anew.

    What was there is held: it is not taken again at the next unchanged materialisation.

    Args:
        version: of the registered model `falx`; empty takes the champion that the present one replaced.
        why: the reason, for the ledger.

    Raises:
        ReleaseError: there is nothing to roll back to, or the version is unknown; nothing was changed.
        TrackingError: the MLflow server does not answer; nothing was changed.
    """
    from pipeline.release.reign import choose_target
    from resources.ledgers import read_rows

    with open_graph("make rollback") as (graph, settings):
        target = choose_target(read_rows(graph.lake, "releases"), version)
        with tracking_server(graph, settings):
            roll_back(graph, dict(target), why or "no reason given")
            named = f"{target['recipe']}, model {target['model_id'][:12]}"
            say(f"champion: version {target['version']} of `falx`, {named}")
            refresh_release(graph)
    return 0


def roll_back(graph: Graph, target: dict[Any, Any], why: str) -> None:
    """The alias first, then the ledger, which is what counts: a kill in between changes nothing for good."""
    from assets.candidates import list_trained, read_reign
    from assets.release import now
    from pipeline.release.reign import ROLLBACK
    from resources.ledgers import append_row
    from resources.registry import CHAMPION, RELEASED

    reign, who = read_reign(graph.lake), _name_user()
    held = sorted(spec.model_id for spec in list_trained(graph.lake, graph.raw_store, graph.trainer))
    with graph.tracking.connected() as mlflow:
        mlflow.set_alias(RELEASED, CHAMPION, target["version"])
        mlflow.tag(RELEASED, reign.version, {"rolled_back": f"by {who}: {why}"})
    same = ("model_id", "recipe", "seed", "version", "data_digest", "split_digest", "code_commit")
    row = {name: target[name] for name in same}
    row |= {"number": reign.number + 1, "action": ROLLBACK, "replaced": reign.model_id, "held": held}
    append_row(graph.lake, "releases", row | {"who": who, "why": why, "at": now()})


def refresh_release(graph: Graph) -> None:
    """Let the table `release` say who reigns now; the rollback stands even where that fails."""
    try:
        say(graph.refresh(JOB).describe())
    except FalxError as error:
        say(f"the alias is set, but the table `release` could not be written anew: {error}")


def _name_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return "unknown"
