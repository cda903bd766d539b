"""`make curate`, `make train`, and what all commands that run the graph share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg

from commands.graph import Graph
from pipeline.catalog import Catalog
from pipeline.errors import SettingsError
from pipeline.protocols import list_protocols, protocol_path
from pipeline.recipe import Recipe
from resources.console import say
from resources.instance import open_instance
from resources.settings import Settings, claim_home, load_settings


@contextmanager
def open_graph(command: str) -> Iterator[tuple[Graph, Settings]]:
    """The graph of the present settings on its persistent instance; runs that were killed are cleared away.

    Raises:
        SettingsError: the settings or the home cannot be used.
        CatalogError: the catalog has mistakes.
    """
    settings = load_settings()
    claim_home(settings.home, settings.profile)
    with open_instance(settings.home, at_once=settings.at_once) as instance:
        graph = connect_graph(settings, instance, command)
        say(f"profile {settings.profile}, state in {settings.home}")
        for run_id in graph.recover():
            say(f"run {run_id[:8]} was killed earlier: marked as failed, its slot is free again")
        yield graph, settings


def connect_graph(settings: Settings, instance: dg.DagsterInstance, command: str) -> Graph:
    """The definitions with the resources of the settings, on an instance."""
    import definitions
    from resources.connect import connect_resources

    return Graph(definitions.define(settings), instance, connect_resources(settings), command)


def run_curation() -> int:
    """Raw collections to splits, audit and variants; prints the audit."""
    from pipeline.audit.markdown import render_audit

    with open_graph("make curate") as (graph, _settings):
        say(graph.refresh("curate").describe())
        say(render_audit(graph.lake.read("audit")))
    return 0


def run_training(recipe: str, protocol: str) -> int:
    """One recipe under one protocol, and the leaderboard anew; prints it."""
    from assets.answered import tell_earlier
    from assets.partitions import grid_key
    from assets.trainings import require_weights
    from commands.reports import name_reports, refresh_reports
    from pipeline.evaluation.leaderboard import render_leaderboard

    with open_graph("make train") as (graph, settings):
        known = check_recipe(graph, settings, recipe)
        check_protocol(graph.raw_store.catalog, protocol)
        begun = Path(graph.raw_store.home, "models", recipe, protocol_path(protocol)).glob("*/*/last.pt")
        if not any(begun):
            require_weights(known, graph.trainer.weights)
        say(graph.refresh("curate").describe())
        with tracking_server(graph, settings):
            say(graph.refresh("train", grid_key(recipe, protocol)).describe())
            if known.is_control:
                return report_control(graph, recipe, protocol)
            say(graph.refresh("compare").describe())
            refresh_reports(graph)
        say(render_leaderboard(graph.lake.read("leaderboard")))
        if earlier := tell_earlier(graph.lake, graph.raw_store):
            say(f"  {earlier}\n")
        name_reports(graph)
    return 0


def report_control(graph: Graph, recipe: str, protocol: str) -> int:
    """Say whether a control scores chance; 1 where it does not."""
    from pipeline.evaluation.control import describe_control, scores_chance

    metrics = graph.lake.read(f"metrics/{protocol_path(protocol)}/{recipe}")
    say(describe_control(metrics, recipe, protocol))
    return 0 if scores_chance(metrics) else 1


def check_recipe(graph: Graph, settings: Settings, name: str) -> Recipe:
    """The recipe of a name; says so where it is meant for another profile.

    Raises:
        SettingsError: there is no such recipe; names those that there are.
    """
    known = find_recipe(graph.raw_store.catalog, name)
    if settings.profile not in known.profiles:
        say(f"note: {name} is meant for {', '.join(known.profiles)}, not for {settings.profile}")
    return known


def find_recipe(catalog: Catalog, name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        SettingsError: there is no such recipe; names those that there are.
    """
    if name not in catalog.recipes:
        raise SettingsError(f"RECIPE={name}: no such recipe; known: {', '.join(catalog.recipes)}")
    return catalog.recipes[name]


def check_protocol(catalog: Catalog, name: str) -> None:
    """Refuse what is no protocol on the catalog's collections.

    Raises:
        SettingsError: there is no such protocol; names those that there are.
    """
    known = list_protocols(catalog.collections)
    if name not in known:
        raise SettingsError(f"PROTOCOL={name}: no such protocol; known: {', '.join(known)}")


@contextmanager
def tracking_server(graph: Graph, settings: Settings) -> Iterator[str]:
    """One MLflow server for all runs of a command, so that each run need not start its own.

    MLflow runs whose Dagster run is over, but which were left RUNNING by a kill, are marked KILLED first.
    """
    from resources.mlflow_server import running_server

    with ExitStack() as stack:
        uri = settings.mlflow_uri or stack.enter_context(running_server(settings.home))
        with graph.tracking.connected() as mlflow:
            for run_id in mlflow.sweep(graph.may_run):
                say(f"MLflow run {run_id[:8]} was killed earlier: marked as KILLED")
        yield uri


def trust_collection(name: str) -> int:
    """Pin the present bytes of a collection in the lock file, in place of those pinned before.

    Raises:
        SettingsError: no such collection is in place, or it is another version than the catalog names.
    """
    from pipeline.lock import forget, measure_folder, read_lock, trust_or_verify
    from resources.connect import connect_resources
    from resources.raw import RawStore

    settings = load_settings()
    claim_home(settings.home, settings.profile)
    store = connect_resources(settings)["raw_store"]
    assert isinstance(store, RawStore)
    folders = store.folders()
    if name not in folders:
        raise SettingsError(f"COLLECTION={name}: not in place; in place: {', '.join(folders) or 'none'}")
    collection = store.catalog.collections[name]
    source = collection.source.kaggle if store.profile == "kaggle" else None
    pinned = read_lock(store.lock_path).get(name)
    if source and pinned and (pinned.slug, pinned.version) != (source.slug, source.version):
        raise SettingsError(
            f"COLLECTION={name}: {folders[name]} holds {pinned.slug} version {pinned.version}, and the "
            f"catalog names {source.slug} version {source.version}: these bytes are not that version. Move "
            "the folder away and run make curate, which downloads it"
        )
    fetched = source is not None
    entry = measure_folder(folders[name], collection, fetched=fetched)
    forget(store.lock_path, name)
    trust_or_verify(store.lock_path, name, entry)
    say(f"{name}: {entry.files} files, {entry.bytes / 1e6:.1f} MB, digest {entry.digest[:16]} pinned")
    return 0
