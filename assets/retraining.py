"""Retraining: one job from raw folders to release, started weekly or by changed raw data, and alerts. Off by
default.

What makes both do nothing is content, not the clock: the digests of the raw folders against those that were
curated last, and the ids of the models that the present data asks for against those that are trained.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import dagster as dg

from assets.candidates import digest_release
from assets.partitions import grid_key
from assets.trainings import is_trained, specify_all
from pipeline.digests import digest_json
from pipeline.lock import measure_folder, read_lock
from resources.alerts import Alerts
from resources.lake import Lake
from resources.raw import RawStore
from resources.trainer import Trainer

PROTOCOL = "patient"
TAG = "falx/retrain"
LOOK_SECONDS = 300

RETRAIN = dg.define_asset_job(
    "retrain",
    dg.AssetSelection.groups("raw", "curation", "variants", "training", "evaluation", "release")
    - dg.AssetSelection.assets("pooled", "explanations"),
    description="Raw collections to release, for one recipe under `patient`: curate what changed, train, "
    "predict, score, weigh against the champion.",
)


@dataclass(frozen=True)
class RawLook:
    """What lies in the raw folders, beside what was curated last and what is trusted."""

    digest: str
    """Of the bytes of all collections in place."""
    changed: tuple[str, ...]
    """One line a collection that came, went or has other bytes than those curated last."""
    untrusted: tuple[str, ...]
    """Collections whose bytes differ from those that the lock file pins: a person is needed."""


def look_at_raw(lake: Lake, raw_store: RawStore) -> RawLook:
    """Read every raw byte, and compare."""
    folders, locked = raw_store.folders(), read_lock(raw_store.lock_path)
    catalog = raw_store.catalog.collections
    found = {name: measure_folder(folder, catalog[name]).digest for name, folder in folders.items()}
    curated = _read_curated(lake)
    changed = [f"{name} came" for name in sorted(found.keys() - curated.keys())]
    changed += [f"{name} went" for name in sorted(curated.keys() - found.keys())]
    changed += [
        f"{n} has other bytes" for n in sorted(found.keys() & curated.keys()) if found[n] != curated[n]
    ]
    untrusted = [n for n in sorted(found.keys() & locked.keys()) if found[n] != locked[n].digest]
    return RawLook(digest_json(found), tuple(changed), tuple(untrusted))


def _read_curated(lake: Lake) -> dict[str, str]:
    if lake.manifest("scanned") is None:
        return {}
    table = lake.read("scanned")
    return dict(zip(table["collection"], table["digest"], strict=True))


def sign_raw(raw_store: RawStore) -> tuple[str, int]:
    """A cheap sign of the raw folders and the lock file: names, sizes and times, no byte read; and files."""
    folders = raw_store.folders()
    rows = [
        (name, *_describe(path, folder))
        for name, folder in sorted(folders.items())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    lock = raw_store.lock_path
    pins = [_describe(lock, lock.parent)] if lock.is_file() else []
    return digest_json([rows, pins, sorted(folders)]), len(rows)


def _describe(path: Path, folder: Path) -> tuple[str, int, int]:
    state = path.stat()
    return path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns


def list_marked(raw_store: RawStore) -> list[str]:
    """The recipes that `promotion.yaml` marks for retraining and that are meant for the profile."""
    catalog = raw_store.catalog
    marked = catalog.promotion.retrain
    return [name for name in marked if raw_store.profile in catalog.recipes[name].profiles]


def find_due(lake: Lake, raw_store: RawStore, trainer: Trainer) -> dict[str, str]:
    """Marked recipe -> why it is not trained on the data that is curated now; the others are missing."""
    due = {}
    for name in list_marked(raw_store):
        if lake.manifest("splits/patient") is None:
            due[name] = "nothing is curated yet"
            continue
        specs = specify_all(raw_store.catalog.recipes[name], PROTOCOL, lake, raw_store, trainer)
        if not all(is_trained(spec) for spec in specs):
            due[name] = "not trained on the present data"
    weighed = lake.manifest("release")
    if not due and (weighed is None or weighed.inputs != digest_release(lake, raw_store, trainer)):
        due = dict.fromkeys(list_marked(raw_store)[:1], "trained, but not weighed against the champion")
    return due


def explain_untrusted(look: RawLook) -> str:
    """Why nothing is trained, and what a person has to do."""
    names = ", ".join(look.untrusted)
    return (
        f"{names}: other bytes than the lock file pins, so nothing is trained on them; look at them, then "
        f"`make trust COLLECTION={look.untrusted[0]}`"
    )


def _request(recipes: list[str], key: str, why: str) -> list[dg.RunRequest]:
    return [
        dg.RunRequest(
            run_key=f"{key}/{name}",
            partition_key=grid_key(name, PROTOCOL),
            tags={TAG: name, "falx/why": why[:60].replace(" ", "-").replace(",", "")},
        )
        for name in recipes
    ]


@dg.schedule(
    name="weekly_retraining",
    cron_schedule="0 3 * * 1",
    job=RETRAIN,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 03:00: the marked recipes, from raw folders to release, if raw data changed or a "
    "model is missing; else it says why it does nothing. Off until you switch it on.",
)
def weekly_retraining(
    context: dg.ScheduleEvaluationContext, lake: Lake, raw_store: RawStore, trainer: Trainer
) -> dg.SkipReason | list[dg.RunRequest]:
    """A run for each marked recipe that is due; the run key makes a repeated tick idempotent."""
    marked = list_marked(raw_store)
    if not marked:
        return dg.SkipReason(f"no recipe that promotion.yaml marks is meant for profile {raw_store.profile}")
    look = look_at_raw(lake, raw_store)
    if look.untrusted:
        return dg.SkipReason(explain_untrusted(look))
    due = (
        dict.fromkeys(marked, ", ".join(look.changed)) if look.changed else find_due(lake, raw_store, trainer)
    )
    if not due:
        return dg.SkipReason(f"raw data unchanged, and {', '.join(marked)} trained on it: nothing to do")
    week = context.scheduled_execution_time.strftime("%G-W%V")
    return _request(list(due), week, next(iter(due.values())))


@dataclass(frozen=True)
class Memory:
    """What the sensor keeps from look to look."""

    seen: str = ""
    """Sign of the raw folders at the last look: folders that are still being copied differ from it."""
    judged: str = ""
    """Sign of those whose bytes were read last."""
    asked: str = ""
    """Digest of the bytes that retraining was asked for, until they are curated: a run at work writes the
    lock file, which is no reason to ask again."""
    launches: int = 0
    """How often retraining was asked for."""


def recall(cursor: str | None) -> Memory:
    """What the cursor holds; of a cursor that other code wrote, the parts that still exist."""
    kept = json.loads(cursor or "{}")
    return Memory(**{name: kept[name] for name in Memory.__dataclass_fields__ if name in kept})


@dg.sensor(
    name="raw_data_changed",
    job=RETRAIN,
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Changed raw data starts the retraining of the marked recipes. Sizes and times are looked "
    "at every five minutes, bytes only where these changed and then stood still from one look to the next. "
    "Off until you switch it on.",
)
def raw_data_changed(context: dg.SensorEvaluationContext, lake: Lake, raw_store: RawStore) -> dg.SensorResult:
    """A run for each marked recipe once the bytes differ from those curated last; the same bytes ask once."""
    memory = recall(context.cursor)
    sign, files = sign_raw(raw_store)
    if memory.seen != sign:
        return _skip(
            f"{files} raw files, other sizes or times than at the last look: read once they stand still",
            replace(memory, seen=sign),
        )
    if memory.judged == sign:
        return _skip(f"{files} raw files, sizes and times as at the last look", memory)
    marked = list_marked(raw_store)
    if not marked:
        words = f"no recipe that promotion.yaml marks is meant for profile {raw_store.profile}"
        return _skip(words, memory)
    return _answer(look_at_raw(lake, raw_store), files, marked, replace(memory, judged=sign))


def _answer(look: RawLook, files: int, marked: list[str], memory: Memory) -> dg.SensorResult:
    """What the bytes that were read call for."""
    if look.untrusted:
        return _skip(explain_untrusted(look), memory)
    if not look.changed:
        return _skip(f"{files} raw files: the bytes are those curated last", replace(memory, asked=""))
    if memory.asked == look.digest:
        return _skip("retraining on these bytes was asked for already; see its runs", memory)
    # Counted, since data that comes, goes and comes again is new work each time.
    memory = replace(memory, asked=look.digest, launches=memory.launches + 1)
    requests = _request(marked, f"{memory.launches}-{look.digest[:16]}", ", ".join(look.changed))
    return dg.SensorResult(requests, cursor=json.dumps(asdict(memory)))


def _skip(words: str, memory: Memory) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=words, cursor=json.dumps(asdict(memory)))


@dg.run_failure_sensor(
    name="alert_on_failure",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Each failed run: a line in alerts.jsonl of the home, and a POST to FALX_ALERT_URL if set.",
)
def alert_on_failure(context: dg.RunFailureSensorContext, alerts: Alerts) -> None:
    """Write the alert down and post it; says in the tick's log what became of it."""
    run = context.dagster_run
    alert = describe_failed_run(run, list(_list_failures(context)))
    context.log.error(f"{alert['text']} ({alerts.send(alert)})")


def describe_failed_run(run: dg.DagsterRun, failures: list[str]) -> dict[str, str]:
    """The alert of a failed run: `text` for people, the rest for machines."""
    partition = run.tags.get("dagster/partition", "")
    said = "; ".join(failures) or "no step failed: see the run's log"
    name = f"{run.job_name} {partition}".strip()
    return {
        "job": run.job_name,
        "partition": partition,
        "run_id": run.run_id,
        "text": f"Falx: {name} failed (run {run.run_id[:8]}): {said}",
    }


def _list_failures(context: dg.RunFailureSensorContext) -> Iterator[str]:
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
            error = error.cause
        words = error.message.strip().splitlines()[0] if error else "no error was recorded"
        yield f"{event.step_key}: {words[:300]}"
