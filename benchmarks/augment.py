"""Input throughput before the model: Falx's cache and augmenter against the ordinary torchvision script.

    python -m benchmarks.augment [--folder FOLDER] [--size 224] [--cores 1] [--repeats 3]

Both sides run in one process tree on the same files with the same augmentation, that of recipe `cnn3`:
horizontal flip, rotation ± 15°, random resized crop, brightness and contrast.

- peer: ImageFolder → RandomHorizontalFlip, RandomRotation, RandomResizedCrop, ColorJitter, to tensor (v2 with
  its default interpolations, on Pillow images) → DataLoader with as many workers as cores (none for one).
- Falx: memory-mapped cache → Augmenter with as many threads as cores. Building the cache is timed apart.

Without --folder, 600 JPEG pictures of 256 pixels are drawn first. With it: a folder of class folders.
The rounds of both sides alternate; the best of each counts. The last line is JSON.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pipeline.imaging.augment import Augmenter
from pipeline.imaging.cache import ImageCache, open_cache
from pipeline.recipe import AugmentSpec

BATCH = 64
SPEC = AugmentSpec(hflip=0.5, rotate=15, crop_scale=(0.8, 1.0), brightness=0.2, contrast=0.2)


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.cores)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or draw_pictures(Path(scratch) / "pictures")
        started = time.perf_counter()
        cache = build_cache(folder, Path(scratch) / "cache", options.size, options.cores)
        build_seconds = time.perf_counter() - started
        sides = {"peer": prepare_peer(folder, options), "falx": prepare_falx(cache, options)}
        rates = measure(sides, options.repeats)
    report = {
        "images": len(cache.image_ids),
        "size": options.size,
        "cores": options.cores,
        "peer_images_per_second": round(rates["peer"]),
        "falx_images_per_second": round(rates["falx"]),
        "cache_build_images_per_second": round(len(cache.image_ids) / build_seconds),
        "ratio": round(rates["falx"] / rates["peer"], 1),
    }
    for name, value in report.items():
        print(f"{name:32} {value:>10,}")
    print(json.dumps(report))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="folder of class folders; default: pictures drawn anew")
    parser.add_argument("--size", type=int, default=224, help="side of the model's input, pixels")
    parser.add_argument("--cores", type=int, default=1, help=f"cores for either side; here: {os.cpu_count()}")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each side; the best counts")
    return parser.parse_args()


def prepare_peer(folder: Path, options: argparse.Namespace) -> Callable[[int], int]:
    """The ordinary script's loader: a function that runs one epoch and returns its number of images."""
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(15),
            v2.RandomResizedCrop(options.size, scale=(0.8, 1.0)),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    workers = options.cores if options.cores > 1 else 0
    loader = DataLoader(
        ImageFolder(str(folder), transform),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=bool(workers),
    )
    return lambda _epoch: sum(len(images) for images, _ in loader)


def prepare_falx(cache: ImageCache, options: argparse.Namespace) -> Callable[[int], int]:
    """Falx's input: a function that runs one shuffled epoch and returns its number of images."""
    augmenter = Augmenter(SPEC, {}, seed=0, threads=options.cores)

    def run_epoch(epoch: int) -> int:
        order, count = np.random.default_rng(epoch).permutation(len(cache.image_ids)), 0
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            images = torch.from_numpy(np.array(cache.pixels[rows]))
            count += len(augmenter(images, [cache.image_ids[row] for row in rows], epoch))
        return count

    return run_epoch


def measure(sides: dict[str, Callable[[int], int]], repeats: int) -> dict[str, float]:
    """Images per second of each side: best of `repeats` epochs after one that warms up, sides in turn."""
    best = dict.fromkeys(sides, 0.0)
    for epoch in range(repeats + 1):
        for name, run_epoch in sides.items():
            started = time.perf_counter()
            rate = run_epoch(epoch) / (time.perf_counter() - started)
            best[name] = max(best[name], rate) if epoch else 0.0
    return best


def build_cache(folder: Path, root: Path, size: int, workers: int) -> ImageCache:
    """Hash the files and decode them into a cache, as the first run of a training does."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    rows = [
        (
            hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "pictures",
            path.relative_to(folder).as_posix(),
        )
        for path in files
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "collection", "path"])
    return open_cache(frame, {"pictures": folder}, size=size, root=root, workers=workers)


def draw_pictures(folder: Path, count: int = 600, side: int = 256) -> Path:
    """Draw grey heads with a bright spot as JPEG files in two class folders; returns `folder`."""
    rng = np.random.default_rng(0)
    for number in range(count):
        canvas = np.zeros((side, side), np.uint8)
        cv2.ellipse(canvas, (side // 2, side // 2), (90, 110), 0, 0, 360, 220, 6)
        cv2.ellipse(canvas, (side // 2, side // 2), (80, 100), 0, 0, 360, 110, -1)
        cv2.circle(canvas, rng.integers(80, 170, 2).tolist(), 14, 190, -1)
        textured = np.clip(canvas + rng.normal(0, 8, canvas.shape), 0, 255).astype(np.uint8)
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", textured)[1].tobytes())
    return folder


if __name__ == "__main__":
    main()
