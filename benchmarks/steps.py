"""Training rate: Falx against the limit that its model sets, and against the ordinary script, end to end.

    python -m benchmarks.steps [--recipes cnn3 slim64] [--images 256] [--rounds 3] [--threads 1]

Three sides in one process, on the same pictures, recipe by recipe:

- limit: the recipe's model and optimiser on batches that lie on the device already, scaled, never augmented;
  the same memory format and arithmetic as Falx.
- falx: `train_epoch`, as a training runs it: shuffled, augmented, degraded, averaged.
- script: ImageFolder → torchvision's transforms v2 (flip, rotation, crop, jitter) → DataLoader, and the same
  model in torch's defaults, fp32 and channels first. It has no degradations and no averaging.

The rounds of the three alternate; a ratio is taken within a round, and the median counts. On one CPU thread
the clock is the process's own CPU time, which other work moves less. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.augment import build_cache, draw_pictures
from pipeline.catalog import load_catalog
from pipeline.recipe import Recipe
from pipeline.training.batches import Part
from pipeline.training.devices import Device, choose_device
from pipeline.training.epochs import train_epoch
from pipeline.training.feeds import PixelFeed
from pipeline.training.inputs import normalise
from pipeline.training.models import build_model
from pipeline.training.optimisers import make_optimiser
from pipeline.training.spec import TrainingSpec
from pipeline.training.state import State, start_state
from pipeline.training.team import Team

Side = Callable[[], None]


def main() -> None:
    options = parse_options()
    report = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = draw_pictures(Path(scratch) / "pictures", options.images)
        for name in options.recipes:
            recipe = load_catalog().recipes[name]
            spec = write_spec(recipe, options)
            part = load_part(folder, Path(scratch) / "cache", recipe, options.device)
            device = choose_device(options.device, build_model(recipe), threads=options.threads)
            sides = {
                "limit": prepare_limit(spec, part, device),
                "falx": prepare_falx(spec, part, device),
                "script": prepare_script(recipe, folder, options),
            }
            clock = choose_clock(options)
            report[name] = measure(sides, len(part), options.rounds, clock) | {"precision": device.precision}
            print_rates(name, report[name])
    print(json.dumps(report | {"threads": options.threads, "images": options.images}))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=["cnn3", "slim64"], help="names in catalog/recipes")
    parser.add_argument("--images", type=int, default=256, help="pictures of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after one that warms up")
    parser.add_argument("--threads", type=int, default=1, help=f"threads; cores here: {os.cpu_count()}")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


def write_spec(recipe: Recipe, options: argparse.Namespace) -> TrainingSpec:
    """A training of the recipe; nothing of it is read from disk."""
    return TrainingSpec(
        recipe=recipe,
        protocol="stratified",
        seed=0,
        split="",
        folders={},
        cache="",
        work="",
        device=options.device,
        threads=options.threads,
        degradations=load_catalog().degradations,
        data_digest="",
        model_id="",
    )


def load_part(folder: Path, root: Path, recipe: Recipe, device: str) -> Part:
    """The pictures, decoded, on the device; labels in turn."""
    cache = build_cache(folder, root, recipe.input.size, 1)
    ids = tuple(cache.image_ids)
    return Part(torch.from_numpy(cache.read(ids)), torch.arange(len(ids)) % 4, ids).to(device)


def prepare_limit(spec: TrainingSpec, part: Part, device: Device) -> Side:
    """Steps on batches that lie ready."""
    state, size = start(spec, device), spec.recipe.batch_size
    scaled = normalise(part.images[:, None].float() / 255, spec.recipe)
    batches = [
        (images.contiguous(memory_format=torch.channels_last), labels)
        for images, labels in zip(scaled.split(size), part.labels.split(size), strict=True)
    ]

    def run() -> None:
        state.model.train()
        for images, labels in batches:
            state.optimiser.zero_grad(set_to_none=True)
            with device.autocast():
                logits = state.model(images)
            F.cross_entropy(logits.float(), labels).backward()
            state.optimiser.step()
        wait(device.name)

    return run


def prepare_falx(spec: TrainingSpec, part: Part, device: Device) -> Side:
    """An epoch as a training runs it."""
    state, feed = start(spec, device), PixelFeed(spec, device, (part, part))
    return lambda: void(train_epoch(spec, state, device, feed, Team()))


def prepare_script(recipe: Recipe, folder: Path, options: argparse.Namespace) -> Side:
    """An epoch of the script that everybody writes."""
    augment, size = recipe.augment, recipe.input.size
    transform = v2.Compose(
        [
            *([v2.Grayscale()] if recipe.input.channels == 1 else []),
            v2.RandomHorizontalFlip(augment.hflip),
            v2.RandomRotation(augment.rotate),
            v2.RandomResizedCrop(size, scale=augment.crop_scale or (1.0, 1.0), ratio=augment.crop_ratio),
            v2.ColorJitter(brightness=augment.brightness, contrast=augment.contrast),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * recipe.input.channels, [0.5] * recipe.input.channels),
        ]
    )
    workers = options.threads if options.threads > 1 else 0
    loader = DataLoader(
        ImageFolder(str(folder), transform),
        recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=bool(workers),
    )
    model = build_model(recipe).to(options.device)
    optimiser = make_optimiser(model, recipe.optimiser)

    def run() -> None:
        model.train()
        for images, labels in loader:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images.to(options.device)), labels.to(options.device))
            loss.backward()
            optimiser.step()
            loss.item()
        wait(options.device)

    return run


def start(spec: TrainingSpec, device: Device) -> State:
    """A fresh state of the recipe's model."""
    torch.manual_seed(0)
    return start_state(spec, build_model(spec.recipe), device)


def choose_clock(options: argparse.Namespace) -> Callable[[], float]:
    """CPU time where one thread does all; wall time elsewhere."""
    alone = options.device == "cpu" and options.threads == 1
    return time.process_time if alone else time.perf_counter


def measure(
    sides: dict[str, Side], count: int, rounds: int, clock: Callable[[], float]
) -> dict[str, float | str]:
    """Median rate of each side in images a second, and median ratios; the first round only warms up."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            begun = clock()
            run()
            if number:
                rates[name].append(count / (clock() - begun))
    found: dict[str, float | str] = {
        f"{name}_images_per_second": round(statistics.median(values), 1) for name, values in rates.items()
    }
    for other in ("limit", "script"):
        pairs = [mine / theirs for mine, theirs in zip(rates["falx"], rates[other], strict=True)]
        found[f"falx_of_{other}"] = round(statistics.median(pairs), 3)
        found[f"falx_of_{other}_range"] = f"{min(pairs):.3f} to {max(pairs):.3f}"
    return found


def print_rates(name: str, rates: dict[str, float | str]) -> None:
    for key, value in rates.items():
        print(f"{name:10} {key:28} {value:>16}")


def wait(device: str) -> None:
    """Let a GPU finish, whose work is only queued."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def void(_: object) -> None:
    """Forget a result."""


if __name__ == "__main__":
    main()
