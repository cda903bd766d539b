"""Several cells of the training grid at once: a process each, and one Ctrl-C that ends them all in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event

import dagster as dg

from assets.partitions import grid_key
from commands.graph import Graph, Outcome, RunFailedError
from commands.work import connect_graph
from resources.instance import open_instance
from resources.settings import Settings, load_settings

JOB = "train"

_worker: list[tuple[Graph, Event]] = []
"""In a worker: its graph, and the event after which no worker begins another cell."""


def train_cells(graph: Graph, settings: Settings, cells: Sequence[dg.MultiPartitionKey]) -> Iterator[Outcome]:
    """Materialise what is missing or stale of each cell; yields their outcomes in the order of `cells`.

    As many at once as the settings say. When a cell fails, those that have begun are let finish and the
    others are not begun. Outcomes do not depend on how many go at once: the bits of a training depend on
    its threads alone. Closed before its end, as by Ctrl-C, it ends all trainings.

    Raises:
        RunFailedError: a cell failed, or its process was killed; of several, the first in the order of
            `cells`.
    """
    work = [cell for cell in cells if graph.find_work(JOB, cell)] if settings.at_once > 1 else []
    if len(work) <= 1:
        yield from (graph.refresh(JOB, cell) for cell in cells)
        return
    # Spawned, since a forked child of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    over, count = context.Event(), min(settings.at_once, len(work))
    with (
        _passing_interrupts(over),  # those that arrive while the pool waits for its workers
        ProcessPoolExecutor(count, context, initializer=_begin, initargs=(graph.command, over)) as pool,
        _passing_interrupts(over),
    ):
        futures = {cell: pool.submit(_train, dict(cell.keys_by_dimension)) for cell in work}
        for cell in cells:
            yield graph.take(futures[cell].result()) if cell in futures else graph.refresh(JOB, cell)


@contextmanager
def _passing_interrupts(over: Event) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise RunFailedError(
            "a process that runs trainings was killed, most likely for memory, and the others ended with it; "
            "set FALX_TRAININGS=1 to train one model at a time, and run the same command again: each "
            "training goes on from its last finished epoch"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):
        over.set()
        for child in multiprocessing.active_children():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGINT)
        raise


def _begin(command: str, over: Event) -> None:
    """Make this process a worker: out of the terminal's reach, and gone when the command is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)  # Ctrl-C reaches the command alone, which passes it on once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load_settings()
    instance = ExitStack().enter_context(open_instance(settings.home, at_once=settings.at_once))
    _worker.append((connect_graph(settings, instance, command), over))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _train(cell: dict[str, str]) -> Outcome:
    ((graph, over),) = _worker
    if over.is_set():
        raise CancelledError
    recipe, protocol = cell["recipe"], cell["protocol"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return graph.refresh(JOB, grid_key(recipe, protocol), label=f"{recipe} {protocol}")
    except BaseException:
        over.set()  # here and not in the command: this worker asks for its next cell at once
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
