"""How the picture search grows: seconds and peak memory from 10⁴ to 10⁶ simulated thumbnails.

    python -m benchmarks.growth [--sizes 10000 100000 1000000] [--workers N] [--scratch FOLDER]

Thumbnails are simulated: heads of many shapes, patients with adjacent slices that look alike, fine texture of
their own; one image in fifty is a copy (half of them mirrored, half turned by up to 10°; gamma, noise). They
are drawn in blocks from a seed into a file of Arrow batches, which is mapped, as the lake's table can be.
Each size runs in a process of its own, so that its peak is its own. `anonymous` is memory that only this
process has; `resident` counts the mapped file too, which the kernel can drop at any time.
`processor` counts the seconds of all threads and processes on a processor, which other work hardly changes.
Prints Markdown; the exponent is its slope between two sizes: 1 is linear, n log n about 1.08.
"""

import argparse
import math
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.curation.pictures import compare_images
from pipeline.digests import digest_bytes, seed_for

SIDE = 128
BLOCK = 1000
SLICES = 10
"""Slices of one simulated patient: each shares its coarse anatomy with the next."""
COPY_EVERY = 50

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def simulate_block(block: int) -> tuple[Pixels, list[tuple[int, int]]]:
    """Thumbnails uint8 [BLOCK, 128, 128] and the rows (source, copy) of its copies; a function of `block`."""
    rng = np.random.default_rng(seed_for("growth", block))
    stack = np.empty((BLOCK, SIDE, SIDE), np.uint8)
    copies = []
    plain = BLOCK - BLOCK // COPY_EVERY
    for start in range(0, plain, SLICES):
        stop = min(start + SLICES, plain)
        stack[start:stop] = _draw_patient(rng, stop - start)
    sources = rng.choice(plain, BLOCK - plain, replace=False)
    for row, source in enumerate(sources.tolist(), plain):
        stack[row] = _draw_copy(stack[source], rng)
        copies.append((source, row))
    return stack, copies


def _draw_patient(rng: np.random.Generator, count: int) -> Pixels:
    axes, place = rng.uniform(36, 60, 2), rng.uniform(58, 70, 2)
    bone, thick = np.float32(rng.uniform(20, 110)), int(rng.integers(2, 7))
    ends = [_draw_field(rng, 7), _draw_field(rng, 7)]
    middle = [_draw_field(rng, 16), _draw_field(rng, 16)]
    slices = np.empty((count, SIDE, SIDE), np.uint8)
    for number in range(count):
        share = np.float32(number / SLICES)
        coarse = ends[0] * (1 - share) + ends[1] * share
        finer = middle[0] * (1 - share) + middle[1] * share
        texture = 36 * coarse + 18 * finer + 18 * _draw_field(rng, 28) + 10 * _draw_field(rng, 64)
        brain, skull = _draw_head(axes * (1 - 0.15 * share), place, thick)
        slices[number] = np.clip(brain * (90 + texture) + bone * skull, 0, 255)
    return slices


def _draw_field(rng: np.random.Generator, cells: int) -> Floats:
    """A smooth random field [128, 128] of unit variance at its nodes, `cells` of them a side."""
    nodes = rng.standard_normal((cells, cells), np.float32)
    return np.asarray(cv2.resize(nodes, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def _draw_head(axes: NDArray[np.float64], place: NDArray[np.float64], thick: int) -> tuple[Floats, Floats]:
    """Two masks [128, 128], 0 or 1: what lies within an ellipse, and its rim."""
    brain, skull = np.zeros((2, SIDE, SIDE), np.float32)
    half = tuple(round(float(axis)) for axis in axes)
    centre = tuple(round(float(at)) for at in place)
    cv2.ellipse(brain, centre, half, 0, 0, 360, 1.0, -1)
    cv2.ellipse(skull, centre, half, 0, 0, 360, 1.0, thick)
    return brain, skull


def _draw_copy(source: Pixels, rng: np.random.Generator) -> Pixels:
    copy = np.ascontiguousarray(source[:, ::-1] if rng.random() < 0.5 else source, np.float32)
    if rng.random() < 0.5:
        matrix = cv2.getRotationMatrix2D((63.5, 63.5), rng.uniform(-10, 10), 1)
        copy = np.asarray(cv2.warpAffine(copy, matrix, (SIDE, SIDE)), np.float32)
    values = 255 * (copy / 255) ** np.exp(rng.uniform(-0.4, 0.4))
    noisy = values + rng.normal(0, 2, values.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def write_thumbnails(path: Path, count: int) -> list[tuple[str, str]]:
    """Write a table `thumbnails` of `count` images as Arrow batches; returns the copies as image_id pairs."""
    schema = pa.schema([("image_id", pa.string()), ("pixels", pa.large_binary())])
    truth = []
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for block in range(math.ceil(count / BLOCK)):
            stack, copies = simulate_block(block)
            ids = [digest_bytes(f"{block}/{row}".encode())[:32] for row in range(BLOCK)]
            truth += [(min(ids[a], ids[b]), max(ids[a], ids[b])) for a, b in copies]
            writer.write_batch(pa.record_batch([ids, [image.tobytes() for image in stack]], schema=schema))
    return truth


def open_mapped(path: Path) -> pd.DataFrame:
    """The table over the mapped file: no pixel is read until somebody asks for it."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return pd.DataFrame(
        {name: pd.Series(table[name], dtype=_arrow(table[name])) for name in table.column_names}
    )


def _arrow(column: pa.ChunkedArray) -> pd.ArrowDtype:
    return pd.ArrowDtype(column.type)


def measure_search(path: Path, workers: int, queue: Any) -> None:
    """Run one search in this process; put seconds, peaks in GB, and the pairs found into `queue`."""
    thumbnails = open_mapped(path)
    peaks = watch_memory()
    started, before = time.perf_counter(), read_processor()
    pairs = compare_images(thumbnails, workers=workers)
    seconds, processor = time.perf_counter() - started, read_processor() - before
    proven = pairs[pairs["verdict"] == "copy"]
    found = list(zip(proven["first"], proven["second"], strict=True))
    times = {"seconds": seconds, "processor": processor}
    queue.put({**times, "compared": len(pairs), "found": found, **peaks()})


def read_processor() -> float:
    """Seconds of processor time of this process, all its threads, and its finished children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def watch_memory(every: float = 0.2) -> Callable[[], dict[str, float]]:
    """Watch this process and its children; the function returned stops and gives the peaks in GB."""
    peaks = {"anonymous": 0.0, "resident": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every):
            now = {"anonymous": 0.0, "resident": 0.0}
            for pid in [os.getpid(), *_list_children(os.getpid())]:
                for name, value in _read_memory(pid):
                    now[name] += value
            for name, value in now.items():
                peaks[name] = max(peaks[name], value)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()

    def stop() -> dict[str, float]:
        done.set()
        watcher.join()
        return peaks

    return stop


def _list_children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _list_children(child)


def _read_memory(pid: int) -> Iterator[tuple[str, float]]:
    fields = {"RssAnon": "anonymous", "VmRSS": "resident"}
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name in fields:
            yield fields[name], int(value.split()[0]) / 1e6


def measure_size(count: int, workers: int, scratch: Path) -> dict[str, Any]:
    """Simulate `count` thumbnails, search them in a process of its own, and compare with the truth."""
    path = scratch / f"thumbnails_{count}.arrow"
    truth = set(write_thumbnails(path, count))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure_search, args=(path, workers, queue))
    process.start()
    while process.is_alive() and queue.empty():
        time.sleep(0.2)
    if queue.empty():
        raise SystemExit(f"the search over {count} thumbnails died with exit code {process.exitcode}")
    result: dict[str, Any] = queue.get()
    process.join()
    path.unlink()
    found = {tuple(pair) for pair in result.pop("found")}
    return result | {"images": count, "recall": len(found & truth) / len(truth), "false": len(found - truth)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--scratch", type=Path, help="folder for the simulated thumbnails, 16 kB each")
    options = parser.parse_args()
    print(
        "| images | seconds | processor | exponent | anonymous GB | resident GB | pairs compared | recall "
        "| other joins |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    before: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for count in options.sizes:
            row = measure_size(count, options.workers, Path(scratch))
            slope = "–"
            if before:
                steps = math.log(count / before["images"])
                slope = f"{math.log(row['processor'] / before['processor']) / steps:.2f}"
            print(
                f"| {count:,} | {row['seconds']:.0f} | {row['processor']:.0f} | {slope} "
                f"| {row['anonymous']:.1f} | {row['resident']:.1f} | {row['compared']:,} "
                f"| {row['recall']:.4f} | {row['false']} |",
                flush=True,
            )
            before = row


if __name__ == "__main__":
    main()
