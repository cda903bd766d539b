"""One epoch of large networks on a real training part, at their true input: rate, time and memory.

    python -m benchmarks.epochs --home HOME [--recipes vgg16_baseline xception_299 …] [--protocol published]

HOME is curated (`make curate`); settings come from the environment, as for `make train`. Each recipe trains
one epoch by the code that trains models, frozen as in its last stage, in which most is trained, and answers
val; the test part is not opened. Weights are those of ImageNet where they are at hand. Else random ones are
stored in a file of our own and read from there, which takes the same road; scores then say nothing of the
recipe, and the column `weights` says so. Each recipe runs in a process of its own, so that its peak memory is
its own. Prints a Markdown row a recipe.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.homes import choose_recipe, open_home
from benchmarks.ingredients import change_fields
from pipeline.errors import FalxError, WeightsError
from pipeline.recipe import Recipe
from pipeline.training.spec import SilentReporter, TrainingSpec
from resources.launchers import KEEP_MEMORY
from resources.lifeline import die_with_parent

LARGE = (
    *("vgg19_partial_gap256", "mobilenet_640", "vgg16_enhanced", "vgg16_enhanced_degraded", "vgg19_enhanced"),
    *("resnet50v2_enhanced", "xception_299", "mobilenet_299", "cnn4_299"),
)
COLUMNS = (
    *("recipe", "input", "weights", "parameters", "images", "device", "precision", "images/s", "seconds"),
    *("peak memory, GB", "val macro-F1"),
)


class Listener(SilentReporter):
    """Keeps what a training tells."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.metrics: dict[str, float] = {}

    def started(self, facts: Mapping[str, str]) -> None:
        """Keep the facts."""
        self.facts |= facts

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        """Keep the figures of the last epoch."""
        self.metrics = dict(metrics)


def shorten(recipe: Recipe) -> Recipe:
    """One epoch of the recipe's last stage, where it has stages; nothing is stopped early."""
    changes: dict[str, Any] = {"stopping.epochs": 1, "stopping.patience": None, "schedule.warmup_epochs": 0}
    if recipe.stages:
        last = recipe.stages[-1]
        changes |= {"stages": (), "model.freeze": last.freeze}
        changes |= {"optimiser.lr": recipe.optimiser.lr * last.lr_factor}
    return change_fields(recipe, changes)


def settle_weights(recipe: Recipe, folder: str, scratch: Path) -> tuple[Recipe, str]:
    """The recipe with weights that are at hand, and which these are."""
    import torch
    from safetensors.torch import save_file

    from pipeline.training.models import build_model, require_weights

    if recipe.model.weights == "none":
        return recipe, "random, as the recipe says"
    try:
        require_weights(recipe, folder=folder)
    except WeightsError:
        path = scratch / f"{recipe.name}.safetensors"
        torch.manual_seed(0)
        network = build_model(change_fields(recipe, {"model.freeze": 0.0}), weights="none")
        save_file(dict(network.state_dict()), path)
        return change_fields(recipe, {"model.weights": str(path)}), "random, no ImageNet at hand"
    return recipe, "ImageNet"


def measure_epoch(spec: TrainingSpec, weights: str) -> dict[str, str]:
    """Train the epoch in this process: a row of the table."""
    from pipeline.training.loop import train

    listener, started = Listener(), time.monotonic()
    train(spec, listener)
    seconds, side = time.monotonic() - started, spec.recipe.input.size
    facts, metrics = listener.facts, listener.metrics
    cells = (
        spec.recipe.name,
        f"{side} × {side} × {spec.recipe.input.channels}",
        weights,
        facts["parameters"],
        facts["train images"],
        facts["device"],
        facts["precision"],
        f"{metrics['images_per_second']:.1f}",
        f"{seconds:.0f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f}",
        f"{metrics['val_macro_f1']:.3f}",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def run_recipe(home: Path, name: str, protocol: str) -> dict[str, str]:
    """The row of a recipe; what it writes is gone afterwards.

    Raises:
        FalxError: the home, the recipe, the protocol or the training is wrong.
    """
    lake, raw, trainer = open_home(home)
    import torch

    from assets.gate import pass_gate
    from assets.trainings import specify_training

    recipe = choose_recipe(raw, name, protocol)
    pass_gate(lake, protocol)
    torch.set_num_threads(trainer.threads)
    with tempfile.TemporaryDirectory(dir=home, prefix="epochs-") as folder:
        scratch = Path(folder)
        short, weights = settle_weights(shorten(recipe), trainer.weights, scratch)
        spec = specify_training(short, protocol, 0, lake, raw, trainer)
        return measure_epoch(spec.model_copy(update={"work": str(scratch / "training")}), weights)


def main() -> int:
    """Print a row a recipe as it ends; a recipe that fails is said, and the others go on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="a curated home, as FALX_HOME")
    parser.add_argument("--recipes", nargs="+", default=LARGE, help="names in the catalog")
    parser.add_argument("--protocol", default="published")
    options = parser.parse_args()
    os.environ |= KEEP_MEMORY | os.environ  # for the processes that train
    failed = 0
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in options.recipes:
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=die_with_parent) as pool:
            try:
                row = pool.submit(run_recipe, options.home.resolve(), name, options.protocol).result()
            except (FalxError, BrokenProcessPool) as error:
                sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
                failed += 1
                continue
        print(f"| {' | '.join(row.values())} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
