"""`make demo`: the whole graph on phantoms, through Dagster, to trained models and their optimism."""

import time

import dagster as dg

from assets.partitions import grid_key
from commands.graph import Graph
from commands.reports import name_reports, refresh_reports
from commands.work import open_graph, tracking_server
from commands.workers import train_cells
from pipeline.catalog import Catalog
from pipeline.errors import SettingsError
from pipeline.labels import PROTOCOLS
from pipeline.serving.card import SCOPE
from resources.console import say
from resources.settings import Settings, load_settings


def run_demo() -> int:
    """Materialise what is missing or stale, and print the leaderboard and where to look next.

    Raises:
        SettingsError: the settings name another profile: its collections are no phantoms.
    """
    start = time.monotonic()
    profile = load_settings().profile
    if profile != "demo":
        raise SettingsError(
            f"FALX_PROFILE={profile}, but the demo draws phantoms: `make demo` sets FALX_PROFILE=demo; "
            f"for the profile {profile!r} there are `make curate` and `make train`."
        )
    with open_graph("make demo") as (graph, settings), tracking_server(graph, settings):
        say(graph.refresh("curate").describe())
        for outcome in train_cells(graph, settings, list_cells(graph.raw_store.catalog)):
            say(outcome.describe())
        say(graph.refresh("compare").describe())
        refresh_reports(graph)
        report(graph, settings, time.monotonic() - start)
    return 0


def list_cells(catalog: Catalog) -> list[dg.MultiPartitionKey]:
    """The demo's recipes under all protocols; those that take longest first, so that cores end together."""
    recipes = [recipe for recipe in catalog.recipes.values() if "demo" in recipe.profiles]
    longest_first = sorted(recipes, key=lambda recipe: -recipe.stopping.epochs)
    return [grid_key(recipe.name, protocol) for recipe in longest_first for protocol in PROTOCOLS]


def report(graph: Graph, settings: Settings, seconds: float) -> None:
    """Print what was found, what the models score, and where to look."""
    from assets.answered import tell_earlier
    from pipeline.evaluation.leaderboard import render_leaderboard, tell_optimism
    from pipeline.phantoms.key import KEY_NAME, read_key
    from pipeline.phantoms.verdict import judge

    key = read_key(graph.raw_store.phantom_root / KEY_NAME)
    tables = [graph.lake.read(name) for name in ("quarantine", "images", "pictures", "patients", "foreign")]
    say("\nWhat was planted in the phantoms, and what curation found without the key:")
    for verdict in judge(key, *tables):
        say(f"  {verdict.describe()}")
    board = graph.lake.read("leaderboard")
    say("\n" + render_leaderboard(board))
    if earlier := tell_earlier(graph.lake, graph.raw_store):
        say(f"  {earlier}\n")
    for line in tell_optimism(board):
        say(f"  {line}")
    made = sum(len(outcome.made) for outcome in graph.outcomes)
    reused = sum(len(outcome.reused) for outcome in graph.outcomes)
    say(f"\n{made} assets materialised, {reused} unchanged and reused, in {seconds:.0f} s.")
    say("Phantoms are drawings: their scores say that the graph works, nothing about medicine.")
    say(SCOPE)
    say("\nNext:")
    name_reports(graph)
    ports = f"Dagster on 127.0.0.1:{settings.dagster_port}, MLflow on 127.0.0.1:{settings.mlflow_port}"
    say(f"  make ui            {ports}")
    say(f"  make app           slices in, answers out, on 127.0.0.1:{settings.app_port}")
    say("  make doctor        what this machine offers, and what the other profiles need")
    say("  FALX_PROFILE=folder FALX_DATASETS=/path make curate     your own collections")
