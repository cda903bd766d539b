import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "bootstrap.py"


def test_the_benchmark_runs_and_both_sides_agree() -> None:
    command = [sys.executable, str(SCRIPT), "--images", "120", "--groups", "60", "--draws", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "120 images in 60 groups, 20 draws" in done.stdout
    assert len(re.findall(r"ms a draw", done.stdout)) == 3
    assert re.search(
        r"interval of both: \[0\.\d+, 0\.\d+\]; largest difference of a draw: \d\.\de[+-]\d\d", done.stdout
    )
