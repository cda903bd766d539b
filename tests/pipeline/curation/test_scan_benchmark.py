"""The benchmark of the scan runs on phantoms and says what it compared."""

import re
import subprocess
import sys
from pathlib import Path

from pipeline.phantoms import generate

ROOT = Path(__file__).resolve().parents[3]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.scan", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_benchmark_runs_and_prints_the_ratio(tmp_path: Path) -> None:
    generate(tmp_path, scale=0.1)
    done = run(str(tmp_path), "--rounds", "1", "--skip", "imagehash", "imagededup")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ pictures, \d+ workers, median of 1 rounds", done.stdout)
    assert re.search(r"scan / decoding alone: \d+\.\d\d \(wall\), \d+\.\d\d \(processor\)", done.stdout)


def test_a_folder_without_collections_is_refused(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert "no folder of a collection; known: cheng_figshare" in done.stderr
