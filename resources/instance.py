"""The Dagster instance of a home: its configuration file, and a first start that nothing races with."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg

from pipeline.atomic import write_text

CLOCK_SLACK = 3.0  # psutil derives start times from a boot time that moves when the clock is set, seconds
PROCESS = "falx/process"  # the tag of a run that says which process runs it
COMMAND = "falx/command"  # the tag that says which command started it
POOL = "gpu"  # Dagster's pool of what trains or asks a model
WANTS = "falx/pool"  # the tag of a command's run that claims slots of it, in one step or several
LOOK = 1.0  # seconds between two looks for a free slot

UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]

DAGSTER_YAML = """\
# Written by Falx at each start; edit resources/instance.py instead.
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  pools: {granularity: op, default_limit: AT_ONCE}  # of the pool `gpu`: models that are trained at once
  runs:
    max_concurrent_runs: RUNS
    tag_concurrency_limits:  # retrainings curate, too: one after the other
      - {key: falx/retrain, limit: 1}
freshness: {enabled: true}
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  cancel_timeout_seconds: 60
  free_slots_after_run_end_seconds: 30  # without it a crashed run keeps its slot for ever
"""


def prepare_instance(home: Path, *, at_once: int = 1) -> Path:
    """Write the configuration and create the databases once; returns the folder for DAGSTER_HOME.

    Two first starts at once corrupt Dagster's SQLite databases for good: a file lock makes them take turns.

    Args:
        at_once: how many models may be trained at the same time.
    """
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    configuration = folder / "dagster.yaml"
    with (folder / ".first-start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = describe_instance(at_once)
        if not configuration.is_file() or configuration.read_text(encoding="utf-8") != text:
            write_text(configuration, text)
        if not (folder / ".ready").is_file():
            with dg.DagsterInstance.get() as instance:
                instance.get_runs_count()
                instance.event_log_storage.has_asset_key(dg.AssetKey("files"))
                instance.all_instigator_state()
            write_text(folder / ".ready", "")
    return folder


def describe_instance(at_once: int) -> str:
    """The text of dagster.yaml for so many trainings at once; beside them one other run finds a place."""
    return DAGSTER_YAML.replace("AT_ONCE", str(at_once)).replace("RUNS", str(at_once + 1))


@contextmanager
def open_instance(home: Path, *, at_once: int = 1) -> Iterator[dg.DagsterInstance]:
    """The persistent instance of a home; see `prepare_instance`."""
    prepare_instance(home, at_once=at_once)
    with dg.DagsterInstance.get() as instance:
        yield instance


def free_dead_slots(instance: dg.DagsterInstance) -> list[str]:
    """Free pool slots that runs hold although their process is gone; returns their run ids.

    A run of this machine that was killed stays STARTED for ever: Dagster's launcher has no health check for
    runs that a command line started, and its slot would block the next training.
    """
    freed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        process = run.tags.get(PROCESS)
        if process and not is_alive(process):
            instance.report_run_failed(run, message="the process that ran it is gone (killed or rebooted)")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            freed.append(run.run_id)
    return freed


@contextmanager
def take_turn(instance: dg.DagsterInstance, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until a model may be trained, and let nobody else pass until the end of the block.

    Dagster's in-process executor would wait itself, without a word, and keep a core busy (1.13: the interval
    until its next look is never above 0). So commands take turns by locked files, one a slot: of several that
    wait for one place one gets it, a command keeps its place between two steps, where its run holds no slot,
    and the kernel frees the place of a dead one. Runs of other processes count while they hold a slot; what a
    dead one holds is freed. Where others are at it, says who, once.
    """
    told = False
    with ExitStack() as held:
        while not _may_pass(instance, held):
            if free_dead_slots(instance):
                continue
            if not told:
                tell(_describe_wait(instance))
            told = True
            time.sleep(LOOK)
        yield


def _may_pass(instance: dg.DagsterInstance, held: ExitStack) -> bool:
    """Whether there is a place; its lock is then in `held`."""
    limit = _read_slots(instance)[0]
    if limit is None:
        return True
    for number in range(limit):
        lock = (Path(instance.root_directory) / f".turn-{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        # Asked again behind the lock: who had it may have started a run that holds a slot still.
        if len(_read_slots(instance)[1]) < limit:
            held.enter_context(lock)
            return True
        lock.close()
        return False
    return False


def _read_slots(instance: dg.DagsterInstance) -> tuple[int | None, set[str]]:
    """How many may train at once, and the runs that hold a slot or, as commands, want one to their end."""
    slots = instance.event_log_storage.get_concurrency_info(POOL)
    default = instance.get_concurrency_config().pool_config.default_pool_limit
    begun = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags={WANTS: POOL}))
    limit = default if slots.using_default_limit else slots.limit
    return limit, slots.active_run_ids | {run.run_id for run in begun}


def _describe_wait(instance: dg.DagsterInstance) -> str:
    limit, runs = _read_slots(instance)
    holders = "; ".join(sorted(_describe_run(instance, run_id) for run_id in runs))
    return (
        f"waiting for {holders or 'a command'}: {limit} at a time, as FALX_TRAININGS says; goes on by itself"
    )


def _describe_run(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    tags = run.tags if run else {}
    names = " ".join(filter(None, [tags.get(COMMAND, "a run"), tags.get("dagster/partition")]))
    process = f", process {tags[PROCESS].split('-')[0]}" if PROCESS in tags else ""
    return f"{names} (run {run_id[:8]}{process})"


def name_process() -> str:
    """`pid-starttime` of this process: a pid alone is used again by others."""
    import psutil

    return f"{os.getpid()}-{int(psutil.Process().create_time())}"


def is_alive(process: str) -> bool:
    """Whether the process of that `pid-starttime` still runs."""
    import psutil

    pid, started = process.split("-")
    try:
        found = psutil.Process(int(pid))
        same: bool = abs(found.create_time() - int(started)) < CLOCK_SLACK
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
