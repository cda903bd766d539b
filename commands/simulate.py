"""`make simulate`: six weeks of phantom collections, one of them bad, through the real graph and sensor."""

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from commands.graph import Graph, RunFailedError, describe_failure
from commands.work import open_graph, tracking_server
from pipeline.atomic import write_bytes, write_text
from pipeline.errors import SettingsError
from resources.console import say
from resources.settings import ROOT

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.sensor_definition import SensorExecutionData

    from pipeline.release.timeline import Week

SCALE, SEED, BAD_SEED = 0.6, 0, 1  # at 0.3 val has 35 images, on which no model is better than luck
BAD = "clinic_export"
KINDS = ("gaussian_noise", "gaussian_blur", "downsampling")
MARKER = "this folder is made and removed by `make simulate`\n"

RECIPE = {
    "title": "Weekly retraining of a slim network",
    "description": "Small enough that six weeks of it are minutes.",
    "source": "ours",
    "profiles": ["folder"],
    "input": {"size": 48, "channels": 1, "normalise": "half"},
    "augment": {"hflip": 0.5, "rotate": 10},
    "model": {"name": "slim", "dropout": 0.1},
    "optimiser": {"name": "adamw", "lr": 0.003},
    "schedule": {"name": "cosine", "warmup_epochs": 1},
    "stopping": {"epochs": 14, "keep": "last"},
    "data": {"copies": "all"},
    "batch_size": 32,
}


@dataclass(frozen=True)
class World:
    """Where the simulation lies: drawn phantoms, and the raw folders that the graph sees."""

    root: Path

    @property
    def drawn(self) -> Path:
        """Sound phantom collections, all of them."""
        return self.root / "drawn"

    @property
    def datasets(self) -> Path:
        """What has arrived."""
        return self.root / "datasets"

    def arrive(self, name: str) -> None:
        """Bring a collection in."""
        shutil.copytree(self.drawn / name, self.datasets / name)

    def withdraw(self, name: str) -> None:
        """Take a collection away."""
        shutil.rmtree(self.datasets / name)


def begin(world: World) -> None:
    """The collections of the first week: the reference, and one with healthy heads."""
    world.arrive("cheng_figshare")
    world.arrive("sartajbhuvaji")


EVENTS: tuple[tuple[str, Callable[[World], None]], ...] = (
    ("cheng and sartaj arrive", begin),
    ("indk214 arrives", lambda world: world.arrive("indk214")),
    ("nothing arrives", lambda world: None),
    ("a bad export arrives", lambda world: world.arrive(BAD)),
    ("the export is withdrawn", lambda world: world.withdraw(BAD)),
    ("masoud arrives", lambda world: world.arrive("masoudnickparvar")),
)


def run_simulation(folder: str = "", scale: float = SCALE) -> int:
    """Simulate six weeks from nothing; prints the timeline, writes it as CSV and figure.

    Args:
        folder: made anew each time; default `.falx/simulation` in the project's folder.
        scale: size of the phantoms.

    Returns:
        0 where the bad week was stopped and the champion stayed, else 1.

    Raises:
        SettingsError: the folder holds something else.
    """
    from pipeline.evaluation.canvas import png
    from pipeline.release.timeline import render_weeks, timeline_figure

    world = World(Path(folder).resolve() if folder else ROOT / ".falx" / "simulation")
    prepare_world(world, scale)
    point_settings(world)
    weeks: list[Week] = []
    with open_graph("make simulate") as (graph, settings), tracking_server(graph, settings):
        cursor = ""
        for number, (event, happen) in enumerate(EVENTS, 1):
            happen(world)
            standing = weeks[-1].champion_macro_f1 if weeks else float("nan")
            week, cursor = live_week(graph, number, event, cursor, standing)
            weeks.append(week)
            say(f"week {number}: {event}: {week.outcome}; {week.why}")
    write_weeks(world.root / "timeline.csv", weeks)
    write_bytes(world.root / "timeline.png", png(timeline_figure(weeks)))
    say("\n" + render_weeks(weeks))
    say(f"\n{world.root / 'timeline.csv'} and timeline.png. Phantoms are drawings. Not a medical device.")
    return judge(weeks)


def prepare_world(world: World, scale: float) -> None:
    """An empty folder with drawn phantoms, the bad export among them, and a catalog of its own."""
    from pipeline.phantoms.arrivals import spoil_collection
    from pipeline.phantoms.generation import generate

    marker = world.root / "simulation"
    ours = marker.is_file() and marker.read_text(encoding="utf-8") == MARKER
    empty = not world.root.exists() or (world.root.is_dir() and not any(world.root.iterdir()))
    if not (ours or empty):
        raise SettingsError(
            f"{world.root} holds something that `make simulate` did not make; name another folder"
        )
    shutil.rmtree(world.root, ignore_errors=True)
    world.datasets.mkdir(parents=True)
    write_text(marker, MARKER)
    generate(world.drawn, seed=SEED, scale=scale, workers=1)
    generate(world.root / "strangers", seed=BAD_SEED, scale=scale, workers=1)
    strangers = world.root / "strangers" / "masoudnickparvar"
    found = spoil_collection(strangers, world.drawn / "sartajbhuvaji", world.drawn / BAD)
    say(f"drawn; of the bad export {found['mislabelled']} files are mislabelled, {found['leaks']} are leaks")
    write_catalog(world.root / "catalog")


def write_catalog(folder: Path) -> None:
    """The shipped catalog with the weekly recipe alone, three degradations, and the bad export's entry."""
    shutil.copytree(ROOT / "catalog", folder, ignore=shutil.ignore_patterns("recipes"))
    (folder / "recipes").mkdir()
    export = yaml.safe_load((folder / "datasets" / "masoudnickparvar.yaml").read_text(encoding="utf-8"))
    export |= {"title": "An export that nobody has looked at", "counts": {}}
    kinds = yaml.safe_load((folder / "degradations.yaml").read_text(encoding="utf-8"))
    rule = yaml.safe_load((folder / "promotion.yaml").read_text(encoding="utf-8"))
    for name, content in {
        f"datasets/{BAD}.yaml": export,
        "recipes/weekly.yaml": RECIPE,
        "degradations.yaml": {name: kinds[name] for name in KINDS},
        "promotion.yaml": rule | {"retrain": ["weekly"]},
    }.items():
        write_text(folder / name, yaml.safe_dump(content))
    for path in (folder / "datasets").glob("*.yaml"):  # phantoms are fewer than what they stand for
        write_text(path, yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | {"counts": {}}))


def point_settings(world: World) -> None:
    """Settings of this process: the folder profile on the simulated world, whatever was set elsewhere."""
    for name in [name for name in os.environ if name.startswith("FALX_")]:
        del os.environ[name]
    places = {"HOME": world.root / "home", "DATASETS": world.datasets, "CATALOG": world.root / "catalog"}
    os.environ |= {f"FALX_{name}": str(path) for name, path in places.items()}
    os.environ |= {"FALX_PROFILE": "folder", "FALX_THREADS": "1", "FALX_DEVICE": "cpu", "FALX_SEED": "0"}
    os.environ["FALX_ENV_FILE"] = os.devnull


def live_week(graph: Graph, number: int, event: str, cursor: str, standing: float) -> "tuple[Week, str]":
    """The sensor's ticks, and the runs that it asks for; the week's row and the sensor's cursor.

    Args:
        standing: macro-F1 on val of the champion until now, as it was when it was promoted.
    """
    reign = _read_champion(graph)
    # The first look waits until the files stand still.
    tick = evaluate_sensor(graph, evaluate_sensor(graph, cursor).cursor or "")
    stops = [said for request in tick.run_requests or [] if (said := run_request(graph, request))]
    outcome, why = "nothing to do", str(tick.skip_message or "")
    if tick.run_requests:
        outcome, why = tell_outcome(graph, reign, "; ".join(stops))
    return describe_week(graph, number, event, outcome, why, standing), tick.cursor or cursor


def evaluate_sensor(graph: Graph, cursor: str) -> "SensorExecutionData":
    """What the sensor answers to one tick."""
    import dagster as dg

    from assets.retraining import raw_data_changed

    resources = {"lake": graph.lake, "raw_store": graph.raw_store}
    repository = graph.defs.get_repository_def()
    with dg.build_sensor_context(
        graph.instance, cursor=cursor or None, resources=resources, repository_def=repository
    ) as context:
        return raw_data_changed.evaluate_tick(context)


def run_request(graph: Graph, request: "dg.RunRequest") -> str:
    """Run what the sensor asked for, to its end; what the gate said where it stopped the run, else empty.

    Raises:
        RunFailedError: it failed for any other reason: that is no week that was stopped.
    """
    job = graph.defs.resolve_job_def("retrain")
    result = job.execute_in_process(
        instance=graph.instance,
        partition_key=request.partition_key,
        raise_on_error=False,
        tags=dict(request.tags),
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR", "label": ""}}}},
    )
    if result.success:
        return ""
    failed = [event for event in result.all_events if event.is_step_failure or event.is_job_failure]
    said = [f"{event.step_key or 'retrain'}: {describe_failure(event)}" for event in failed]
    stopped = next((line for line in said if "GateError" in line), "")
    if not stopped:
        raise RunFailedError(f"retrain failed (run {result.run_id[:8]}):\n" + "\n".join(said))
    return stopped


def tell_outcome(graph: Graph, reign: str, failure: str) -> tuple[str, str]:
    """What became of a week with work, and why."""
    if failure:
        return "stopped", failure.replace("\n", " ")
    if _read_champion(graph) != reign:
        return "promoted", str(_find_row(graph, champion=True)["why"])
    refused = _find_row(graph, champion=False)
    if not refused:
        return (
            "same models",
            "the present data is that which the champion was trained on: nobody challenges it",
        )
    return "refused", str(refused["why"])


def describe_week(graph: Graph, number: int, event: str, outcome: str, why: str, standing: float) -> "Week":
    """The row of a week, from the tables that the graph left."""
    from pipeline.release.timeline import Week

    lake, nan = graph.lake, float("nan")
    score = (nan, nan, nan)
    challenger = ""
    if outcome in ("promoted", "refused"):
        row = _find_row(graph, champion=outcome == "promoted")
        challenger = str(row.get("model_id", ""))
        score = _read_score(graph, challenger)
    split = lake.read("splits/patient") if lake.manifest("splits/patient") else None
    champion = _read_champion(graph)
    return Week(
        week=number,
        event=event,
        outcome=outcome,
        images=0 if split is None else int((split["split"] != "left_out").sum()),
        challenger=challenger,
        macro_f1=score[0],
        low=score[1],
        high=score[2],
        champion=champion,
        champion_macro_f1=score[0] if outcome == "promoted" else standing,
        openings=_count_openings(graph),
        why=why,
    )


def write_weeks(path: Path, weeks: "Sequence[Week]") -> None:
    """The timeline as CSV: the same world gives the same bytes."""
    import io

    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [field.name for field in dataclasses.fields(weeks[0])], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(dataclasses.asdict(week) for week in weeks)
    write_text(path, buffer.getvalue())


def judge(weeks: "Sequence[Week]") -> int:
    """0 where the bad week was stopped and the champion stayed, else 1."""
    bad = next(week for week in weeks if "bad" in week.event)
    before = weeks[bad.week - 2]
    good = bad.outcome in ("refused", "stopped") and bad.champion == before.champion != ""
    say(
        "The bad week was stopped, and the champion stayed."
        if good
        else f"WRONG: the bad week was {bad.outcome}; champion {before.champion[:8]} → {bad.champion[:8]}"
    )
    return 0 if good else 1


def _find_row(graph: Graph, *, champion: bool) -> dict[Any, Any]:
    table = graph.lake.read("release")
    rows = table[table["champion"] == champion].sort_values("model_id").to_dict("records")
    return rows[0] if rows else {}


def _read_score(graph: Graph, model_id: str) -> tuple[float, float, float]:
    table = graph.lake.read("clauses")
    rows = table[
        (table["model_id"] == model_id) & (table["clause"] == "macro_f1") & (table["against"] == "limit")
    ]
    if rows.empty:
        return (float("nan"),) * 3
    row = rows.iloc[0]
    return float(row["value"]), float(row["low"]), float(row["high"])


def _read_champion(graph: Graph) -> str:
    from assets.candidates import read_reign

    return read_reign(graph.lake).model_id


def _count_openings(graph: Graph) -> int:
    from resources.ledgers import read_rows

    return len(read_rows(graph.lake, "openings"))
