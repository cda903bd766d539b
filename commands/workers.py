"""Several cells of the training grid at once: a process each, and one Ctrl-C that ends them all in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import wait

import dagster as dg

from assets.partitions import grid_key
from commands.graph import Graph, Outcome, RunFailedError
from commands.work import connect_graph
from resources.instance import open_instance
from resources.settings import Settings, load_settings

JOB = "train"

_worker: list[Graph] = []  # the graph of this process, where it is a worker that was not interrupted


def train_cells(graph: Graph, settings: Settings, cells: Sequence[dg.MultiPartitionKey]) -> Iterator[Outcome]:
    """Materialise what is missing or stale of each cell; yields their outcomes in the order of `cells`.

    As many at once as the settings say. When a cell fails, those that have begun are let finish and the
    others are not begun. Outcomes do not depend on how many go at once: the bits of a training depend on
    its threads alone.

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
    with (
        ProcessPoolExecutor(
            min(settings.at_once, len(work)), context, initializer=_begin, initargs=(graph.command,)
        ) as pool,
        _ending_in_order(pool),
    ):
        futures = {cell: pool.submit(_train, dict(cell.keys_by_dimension)) for cell in work}
        for future in futures.values():
            future.add_done_callback(lambda done: _begin_no_more(done, list(futures.values())))
        for cell in cells:
            yield graph.take(futures[cell].result()) if cell in futures else graph.refresh(JOB, cell)


def _begin_no_more(done: "Future[Outcome]", futures: "Sequence[Future[Outcome]]") -> None:
    if not done.cancelled() and done.exception():
        for future in futures:
            future.cancel()


@contextmanager
def _ending_in_order(pool: ProcessPoolExecutor) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise RunFailedError(
            "a process that runs trainings was killed, most likely for memory, and the others ended with it; "
            "set FALX_TRAININGS=1 to train one model at a time, and run the same command again: each "
            "training goes on from its last finished epoch"
        ) from error
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGINT)
        raise


def _begin(command: str) -> None:
    """Make this process a worker: out of the terminal's reach, and gone when the command is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)  # Ctrl-C reaches the command alone, which passes it on once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load_settings()
    instance = ExitStack().enter_context(open_instance(settings.home, at_once=settings.at_once))
    _worker.append(connect_graph(settings, instance, command))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _train(cell: dict[str, str]) -> Outcome:
    if not _worker:
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        recipe, protocol = cell["recipe"], cell["protocol"]
        return _worker[0].refresh(JOB, grid_key(recipe, protocol), label=f"{recipe} {protocol}")
    except KeyboardInterrupt:
        _worker.clear()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
