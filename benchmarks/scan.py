"""The scan against decoding alone on all cores, and against what people use to find copies by hashes.

    python -m benchmarks.scan DATASETS [--workers 2] [--rounds 3] [--most 0]

DATASETS holds a folder a collection, named as in catalog/datasets. The sides take turns, `--rounds` times:

- decoding alone: every file read, decoded by Pillow, made grey, as an array; threads on all cores. The limit.
- scan: `take_inventory`, which also digests, labels, measures, makes thumbnails and accounts for every file.
- imagehash: a loop of Pillow and `imagehash.phash` over the same files, as in its README.
- imagededup: `PHash().encode_images`, on all cores, where it is installed.

Wall time and processor time, of this process and of those that it started, are printed for the median round.
"""

import argparse
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.catalog import load_catalog
from pipeline.curation.inventory import take_inventory


@dataclass(frozen=True)
class Spent:
    """Seconds of one round of one side."""

    wall: float
    cpu: float


def find_pictures(files: pd.DataFrame, folders: dict[str, Path]) -> list[Path]:
    """The files that every side reads: Pillow stops at a broken one, and knows no MATLAB and no DICOM."""
    known = files[files["format"].notna() & ~files["format"].isin(["MAT", "DICOM"])]
    return [folders[row.collection] / row.path for row in known.itertuples()]


def decode_alone(paths: list[Path], workers: int) -> int:
    """The limit: nothing but reading, decoding and making grey."""

    def decode(path: Path) -> int:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return int(np.asarray(image.convert("L")).size)

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(decode, paths))


def hash_plainly(paths: list[Path]) -> int:
    """imagehash's own way: open, hash, next."""
    import imagehash

    return len({str(imagehash.phash(Image.open(path))) for path in paths})


def hash_by_imagededup(folders: list[Path], workers: int) -> int:
    """imagededup's hashing of whole folders; 0 where it is not installed."""
    try:
        from imagededup.methods import PHash
    except ImportError as error:
        print(f"imagededup left out: {error}", file=sys.stderr)
        return 0
    hasher = PHash(verbose=False)
    found = [hasher.encode_images(str(folder), recursive=True, num_enc_workers=workers) for folder in folders]
    return sum(map(len, found))


def measure(side: Callable[[], int]) -> tuple[Spent, int]:
    """One round of one side, with what it counted."""
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    count = side()
    return Spent(time.perf_counter() - wall, sum(os.times()[:4]) - cpu), count


def find_median(rounds: list[Spent]) -> Spent:
    """The median of wall and of processor time, each for itself."""
    return Spent(statistics.median(r.wall for r in rounds), statistics.median(r.cpu for r in rounds))


def main() -> None:
    """Let the sides take turns and print their medians and ratios.

    Raises:
        SystemExit: the folder holds no collection of the catalog.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=[], help="sides to leave out")
    options = parser.parse_args()
    known = load_catalog().collections
    folders = {name: options.datasets / name for name in known if (options.datasets / name).is_dir()}
    if not folders:
        raise SystemExit(f"{options.datasets}: no folder of a collection; known: {', '.join(known)}")
    paths = find_pictures(take_inventory(known, folders, workers=options.workers).files, folders)
    sides: dict[str, Callable[[], int]] = {
        "decoding alone": lambda: decode_alone(paths, options.workers),
        "scan": lambda: len(take_inventory(known, folders, workers=options.workers).files),
        "imagehash": lambda: hash_plainly(paths),
        "imagededup": lambda: hash_by_imagededup(list(folders.values()), options.workers),
    }
    sides = {name: side for name, side in sides.items() if name not in options.skip}
    print(f"{len(paths):,} pictures, {options.workers} workers, median of {options.rounds} rounds")
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    counts = {}
    for _round in range(options.rounds):
        for name, side in sides.items():
            seconds, counts[name] = measure(side)
            spent[name].append(seconds)
    print_table({name: find_median(rounds) for name, rounds in spent.items() if counts[name]}, len(paths))


def print_table(medians: dict[str, Spent], count: int) -> None:
    """A line a side, and its time as a multiple of the scan's."""
    scan = medians["scan"]
    print(f"{'side':<18}{'wall s':>9}{'cpu s':>9}{'images/s':>10}{'wall/scan':>11}{'cpu/scan':>10}")
    for name, spent in medians.items():
        print(
            f"{name:<18}{spent.wall:>9.2f}{spent.cpu:>9.2f}{count / spent.wall:>10.0f}"
            f"{spent.wall / scan.wall:>11.2f}{spent.cpu / scan.cpu:>10.2f}"
        )
    if alone := medians.get("decoding alone"):
        wall, cpu = scan.wall / alone.wall, scan.cpu / alone.cpu
        print(f"scan / decoding alone: {wall:.2f} (wall), {cpu:.2f} (processor)")


if __name__ == "__main__":
    main()
