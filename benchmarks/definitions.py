"""How long Dagster takes to load the graph, against an empty project: `python -m benchmarks.definitions`.

Aim: at most 1.5 times. Both sides run in turn, in the same environment; the best of several counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMPTY = "import dagster as dg\ndefs = dg.Definitions()\n"
WORKSPACE = "load_from:\n  - python_file: empty.py\n"


def time_validation(workspace: Path, folder: Path) -> float:
    """Seconds of one `dagster definitions validate`."""
    program = Path(sys.executable).with_name("dagster")
    environment = {**os.environ, "DAGSTER_HOME": str(folder / "home")}
    (folder / "home").mkdir(exist_ok=True)
    start = time.perf_counter()
    subprocess.run(
        [program, "definitions", "validate", "-w", workspace],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure both sides in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(EMPTY)
        (folder / "workspace.yaml").write_text(WORKSPACE)
        pairs = [
            (
                time_validation(folder / "workspace.yaml", folder),
                time_validation(ROOT / "workspace.yaml", folder),
            )
            for _ in range(repeats)
        ]
    empty, ours = (min(side) for side in zip(*pairs, strict=True))
    ratio = f"ratio {ours / empty:.2f} (aim 1.5)"
    print(f"empty project {empty:.2f} s, Falx {ours:.2f} s, {ratio}, best of {repeats}")


if __name__ == "__main__":
    main()
