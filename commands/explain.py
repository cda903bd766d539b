"""`make explain`: where a trained model looks, measured against the tumours' boxes."""

from pathlib import Path

from assets.partitions import grid_key
from commands.work import check_protocol, check_recipe, open_graph, tracking_server
from pipeline.protocols import protocol_path
from pipeline.serving.card import SCOPE
from resources.console import say


def run_explanation(recipe: str, protocol: str) -> int:
    """Train what is missing of a recipe under a protocol, draw its heat maps, and print what they are worth.

    Raises:
        SettingsError: there is no such recipe or protocol.
        RunFailedError: a run failed; among the reasons: no test image has a box.
    """
    from pipeline.explanations.figures import tell_pointing, tell_verdicts

    with open_graph("make explain") as (graph, settings):
        check_recipe(graph, settings, recipe)
        check_protocol(graph.raw_store.catalog, protocol)
        say(graph.refresh("curate").describe())
        with tracking_server(graph, settings):
            for job in ("train", "explain"):
                say(graph.refresh(job, grid_key(recipe, protocol)).describe())
            say(graph.refresh("compare").describe())  # the test part was opened, and the report says so
        place = f"{protocol_path(protocol)}/{recipe}"
        frame, heats = (graph.lake.read(f"{name}/{place}") for name in ("explanations", "heats"))
        for model_id, rows in frame.groupby("model_id"):
            say(f"\n{recipe} under {protocol}, seed {rows['seed'].iloc[0]}, model {model_id}:")
            for line in (*tell_pointing(rows), tell_verdicts(heats[heats["model_id"] == model_id])):
                say(f"  {line}")
        folder = Path(settings.home, "models", recipe, protocol_path(protocol))
        say(f"\ncontact sheets: {folder}/*/*/explanations, also in MLflow and `make ui`")
        say(f"{SCOPE} A heat map is no proof of why a model answered.")
    return 0
