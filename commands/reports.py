"""`make report`: the pages of every trained model and of the release, where they are missing or outdated."""

from assets.partitions import grid_key
from assets.report_sources import find_cells, find_outdated, tell_outdated
from assets.reports import RELEASE, locate
from commands.graph import Graph
from commands.work import open_graph, tracking_server
from pipeline.errors import ReportError
from resources.console import say

JOB = "report"


def run_reports() -> int:
    """Materialise what is outdated of the reports, and say where they lie.

    Raises:
        ReportError: as `require_cells`.
    """
    with open_graph("make report") as (graph, settings):
        require_cells(graph)
        with tracking_server(graph, settings):
            say(graph.refresh("compare").describe())
            refresh_reports(graph)
        name_reports(graph)
    return 0


def require_cells(graph: Graph) -> None:
    """Refuse to report where there is nothing to report.

    Raises:
        ReportError: no model has been trained and scored, or none since the data changed.
    """
    if find_cells(graph.lake, graph.raw_store):
        return
    outdated = [tell_outdated(*cell) for cell in find_outdated(graph.lake, graph.raw_store)]
    raise ReportError(
        "; ".join(outdated)
        or "no model has answers and figures in the lake yet, so there is nothing to report; "
        "make train RECIPE=… PROTOCOL=… first, or make demo"
    )


def refresh_reports(graph: Graph) -> None:
    """The reports of all models that have answers; says how many were made."""
    outcomes = [
        graph.refresh(JOB, grid_key(recipe, protocol))
        for recipe, protocol in find_cells(graph.lake, graph.raw_store)
    ]
    made = [outcome for outcome in outcomes if outcome.made]
    say(
        f"report: {len(made)} made, {len(outcomes) - len(made)} reused in "
        f"{sum(o.seconds for o in outcomes):.0f} s"
    )
    for cell in find_outdated(graph.lake, graph.raw_store):
        say(f"note: {tell_outdated(*cell)}; its page is left as it was")


def name_reports(graph: Graph) -> None:
    """Where the release's report lies, and how to check it."""
    say(f"  {locate(graph.raw_store, RELEASE)['.html']}")
    say("                     the report, one page that opens offline; it links to each model's")
    say("  make verify        counts every number of the reports again, from the stored answers")
