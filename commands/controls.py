"""`make controls`: faults planted one at a time into curated phantoms, and what catches each of them."""

import sys
import tempfile
import time
from pathlib import Path

SCALE = 0.15


def run_controls(*, seed: int = 0, workers: int = 2) -> int:
    """Draw phantoms, curate them, plant each fault and print what caught it.

    Nothing is read or written outside a temporary folder: no settings, no home, no lake.

    Returns:
        0 where every fault was caught by all checks that must catch it and nothing cried wolf, else 1.
    """
    from pipeline.catalog import load_catalog
    from pipeline.curation import controls
    from pipeline.phantoms import generate

    start = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="falx-controls-") as name:
        root = Path(name)
        key = generate(root / "phantoms", seed=seed, scale=SCALE, workers=1)
        folders = {one: root / "phantoms" / one for one in key.collections}
        world = controls.open_world(load_catalog().collections, folders, root / "lock.json", workers=workers)
        spent = f"{time.monotonic() - start:.0f} s"
        _say(f"{len(key.files)} files of {len(folders)} phantom collections, drawn and curated in {spent}")
        for control in controls.CONTROLS:
            scratch = root / control.name
            scratch.mkdir()
            outcomes.append(controls.run_control(control, world, scratch, seed=seed, workers=workers))
            _say("\n" + controls.describe_outcome(outcomes[-1]))
    _say("\n" + controls.tabulate_outcomes(outcomes))
    wrong = [outcome.control.name for outcome in outcomes if not outcome.passed]
    planted = sum(bool(outcome.control.wanted) for outcome in outcomes)
    _say(f"\n{planted} faults planted one at a time, in {time.monotonic() - start:.0f} s.")
    _say(
        f"WRONG: {', '.join(wrong)}"
        if wrong
        else "Every one was caught, and without a fault nothing was said."
    )
    return 1 if wrong else 0


def _say(text: str) -> None:
    # Not `commands.work.say`: that module loads Dagster, which the controls do without.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
