"""Training steps with glibc as it is, and with memory kept between steps, as our launchers start a training.

    python -m benchmarks.allocation [--recipes cnn3 slim64] [--steps 5] [--rounds 3]

Each round starts a process a side, in turns; one thread, the precision that this processor is given, one
batch of noise again and again. Prints, for the median round: seconds of the wall, of the processor for itself
and within the kernel, page faults, all a step; the peak of memory; and whether both sides end with the same
loss, bit for bit.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from resources.launchers import KEEP_MEMORY, set_threads

SIDES: dict[str, dict[str, str]] = {"glibc as it is": {}, "memory kept": KEEP_MEMORY}


def take_steps(name: str, steps: int) -> dict[str, Any]:
    """Train on one batch, in this process; one step more than asked for, which is not counted."""
    import torch

    from pipeline.catalog import load_catalog
    from pipeline.training.devices import choose_device
    from pipeline.training.models import build_model

    torch.manual_seed(0)
    recipe = load_catalog().recipes[name]
    network = build_model(recipe, weights="none").train().to(memory_format=torch.channels_last)
    device = choose_device("cpu", network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    shape = (recipe.batch_size, recipe.input.channels, recipe.input.size, recipe.input.size)
    images = torch.randn(shape).to(memory_format=torch.channels_last)
    labels = torch.arange(recipe.batch_size) % 4
    for step in range(steps + 1):
        if step == 1:
            wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        with device.autocast():
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": (time.perf_counter() - wall) / steps,
        "own": (after.ru_utime - before.ru_utime) / steps,
        "kernel": (after.ru_stime - before.ru_stime) / steps,
        "faults": (after.ru_minflt - before.ru_minflt) / steps,
        "peak": after.ru_maxrss / 2**20,
        "loss": loss.item().hex(),
    }


def run_side(recipe: str, steps: int, extra: dict[str, str]) -> dict[str, Any]:
    """`take_steps` in a process of its own, which inherits no tunables."""
    inherited = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.allocation",
        "--recipes",
        recipe,
        "--steps",
        str(steps),
        "--one",
    ]
    environment = inherited | set_threads(1) | extra
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(answer)
    return found


def compare(recipe: str, steps: int, rounds: int) -> None:
    """Print a line a side, and the ratio of processor time."""
    spent: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, extra in SIDES.items():
            spent[side].append(run_side(recipe, steps, extra))
    for side, found in spent.items():
        wall, own, kernel, faults, peak = (
            statistics.median(one[name] for one in found)
            for name in ("wall", "own", "kernel", "faults", "peak")
        )
        print(f"{recipe:<14}{side:<16}{wall:>8.3f}{own:>8.3f}{kernel:>8.3f}{faults:>12,.0f}{peak:>8.2f}")
    plain, kept = ([one["own"] + one["kernel"] for one in spent[side]] for side in SIDES)
    same = len({one["loss"] for found in spent.values() for one in found}) == 1
    ratio = statistics.median(plain) / statistics.median(kept)
    print(f"{recipe:<14}processor time without / with: {ratio:.2f}; losses {'equal' if same else 'DIFFER'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--recipes", nargs="+", default=["cnn3", "slim64"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(take_steps(options.recipes[0], options.steps)))
        return
    print(f"{'recipe':<14}{'side':<16}{'wall s':>8}{'own s':>8}{'kernel':>8}{'faults':>12}{'peak GB':>8}")
    for recipe in options.recipes:
        compare(recipe, options.steps, options.rounds)


if __name__ == "__main__":
    main()
