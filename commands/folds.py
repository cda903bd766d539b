"""`make folds`: one recipe trained on five patient-disjoint folds, and its figures over all patients."""

from pathlib import Path

from assets.partitions import grid_key
from assets.pooled import PROTOCOLS
from assets.trainings import require_weights
from commands.work import check_recipe, open_graph, tracking_server
from commands.workers import train_cells
from pipeline.protocols import FOLD
from resources.console import say


def run_folds(recipe: str) -> int:
    """Train, predict and score what is missing of the five folds, and print the pooled figures.

    Raises:
        SettingsError: there is no such recipe.
        WeightsError: its pretrained weights are not to be had, and no fold has begun.
    """
    from pipeline.evaluation.pooling import tabulate_pooled

    with open_graph("make folds") as (graph, settings):
        known = check_recipe(graph, settings, recipe)
        begun = Path(graph.raw_store.home, "models", recipe, FOLD.rstrip(":")).glob("*/*/*/last.pt")
        if not any(begun):
            require_weights(known, graph.trainer.weights)
        say(graph.refresh("curate").describe())
        with tracking_server(graph, settings):
            for outcome in train_cells(graph, settings, [grid_key(recipe, each) for each in PROTOCOLS]):
                say(outcome.describe())
            say(graph.refresh("pool").describe())
        frame = graph.lake.read("pooled")
        say(f"\n{recipe}, five folds, each patient tested once by a model that had not seen it:")
        for line in tabulate_pooled(frame[frame["recipe"] == recipe]):
            say(f"  {line}")
    return 0
