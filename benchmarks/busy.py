"""What other work on the machine costs: the libraries' own threads against one thread each.

    python -m benchmarks.busy [--images 28] [--heads 1500] [--workers 2] [--rounds 3]

Two tasks of `make curate`, on drawn pictures: degraded test images (`make_variants`), and the search for
copies (`compare_images`). Each is done as it is, every worker with one thread of torch and OpenBLAS, and with
as many threads of these libraries as they take by themselves; with nothing else at work, and beside processes
that compute without end, one fewer than cores (on one or two cores: one). The sides take turns. Prints
Markdown: the median of wall and of processor seconds, and the ratio of the sides.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest.mock import patch

import pandas as pd

from benchmarks.augment import build_cache, draw_pictures
from benchmarks.growth import BLOCK, simulate_block
from pipeline.catalog import load_catalog
from pipeline.curation import pairs
from pipeline.digests import digest_bytes
from pipeline.imaging import variants

SIDE = 224
Task = Callable[[], object]
SIDES = {"one thread each": False, "the libraries' own": True}


def prepare_variants(count: int, scratch: Path, workers: int) -> Task:
    """Degrade so many drawn pictures by all kinds."""
    cache = build_cache(draw_pictures(scratch / "pictures", count), scratch / "cache", SIDE, workers)
    rows = {"image_id": list(cache.image_ids), "label": "glioma", "split": "test", "picture_id": None}
    kinds = load_catalog().degradations
    return lambda: list(variants.make_variants(pd.DataFrame(rows), cache, kinds, size=SIDE, workers=workers))


def prepare_search(count: int, workers: int) -> Task:
    """Search so many simulated heads, of whole blocks, for copies."""
    stacks = [simulate_block(block)[0] for block in range(-(-count // BLOCK))]
    pixels = [image.tobytes() for stack in stacks for image in stack][:count]
    ids = [digest_bytes(data)[:32] for data in pixels]
    table = pd.DataFrame({"image_id": ids, "pixels": pixels})
    return lambda: pairs.compare_images(table, workers=workers)


@contextlib.contextmanager
def leave_threads() -> Iterator[None]:
    """Let the libraries keep their threads, as before they were set aside."""
    with (
        patch.object(pairs, "one_thread_each", nullcontext),
        patch.object(variants, "one_torch_thread", nullcontext),
    ):
        yield


@contextlib.contextmanager
def keep_busy(processes: int) -> Iterator[None]:
    """So many processes that compute until the end of the block."""
    endless = [sys.executable, "-c", "while True: sum(range(10_000))"]
    others = [subprocess.Popen(endless) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(task: Task, around: AbstractContextManager[None]) -> tuple[float, float]:
    """Wall and processor seconds of a task."""
    with around:
        wall, processor = time.perf_counter(), time.process_time()
        task()
        return time.perf_counter() - wall, time.process_time() - processor


def compare(task: Task, rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of each side, after one round that warms up."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for turn in range(rounds + 1):
        for name, own in SIDES.items():
            found = measure(task, leave_threads() if own else nullcontext())
            if turn:
                spent[name].append(found)
    return {
        name: (statistics.median(wall for wall, _ in some), statistics.median(used for _, used in some))
        for name, some in spent.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--images", type=int, default=28, help="pictures that are degraded")
    parser.add_argument("--heads", type=int, default=1500, help="thumbnails that are searched")
    parser.add_argument("--workers", type=int, default=cores)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| task | beside | side | wall, s | processor, s |\n|---|---|---|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        tasks = {
            "degraded images": prepare_variants(options.images, Path(scratch), options.workers),
            "search for copies": prepare_search(options.heads, options.workers),
        }
        for name, task in tasks.items():
            for beside in (0, max(1, cores - 1)):
                with keep_busy(beside):
                    found = compare(task, options.rounds)
                for side, (wall, used) in found.items():
                    print(f"| {name} | {beside} | {side} | {wall:.2f} | {used:.2f} |")
                one, own = found.values()
                print(
                    f"| {name} | {beside} | ratio | {own[0] / one[0]:.2f} | {own[1] / one[1]:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
