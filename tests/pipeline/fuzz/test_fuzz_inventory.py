"""Broken files of six formats through the real inventory, by the command that people run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.schemas import QUARANTINE_REASONS

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("JPEG", "PNG", "GIF", "TIFF", "DICOM", "MAT")
MAX_MIB = 2048


def fuzz(count: int, *options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--count", str(count), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(report: str, count: int) -> None:
    assert f"{count:,} files written, {count:,} accounted for" in report
    verdicts, *rows = (line.split() for line in report.splitlines()[: len(KINDS) + 1])
    assert set(verdicts[:-1]) <= {"decoded", *QUARANTINE_REASONS}
    assert [row[0] for row in rows] == list(KINDS)
    for row in rows:
        counts = dict(zip(verdicts, (int(cell.replace(",", "")) for cell in row[1:]), strict=True))
        assert counts["files"] == sum(counts.values()) - counts["files"]
        assert counts["decoded"], f"no broken {row[0]} was decoded: the mutations are too coarse to reach far"
        assert counts["corrupt"], f"no broken {row[0]} was refused: the mutations are too fine"
    memory = re.search(r"largest resident memory.*: (\d+) MiB", report)
    assert memory is not None
    assert int(memory[1]) < MAX_MIB


def find_digest(report: str) -> str:
    return report.splitlines()[-1]


def test_six_hundred_broken_files_are_accounted_for() -> None:
    report = fuzz(600, "--batch", "600")
    check(report, 600)
    assert re.fullmatch(r"digest of all tables: [0-9a-f]{64}", find_digest(report))


@pytest.mark.slow
def test_three_thousand_broken_files_are_accounted_for() -> None:
    check(fuzz(3000, "--seed", "1", "--batch", "1000"), 3000)


@pytest.mark.slow
def test_broken_files_give_the_same_tables_whatever_the_workers() -> None:
    digests = {find_digest(fuzz(900, "--seed", "2", "--workers", workers)) for workers in ("1", "2", "8")}
    assert len(digests) == 1
