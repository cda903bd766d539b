"""Broken files through the real inventory: no crash, no hang, every file accounted for, memory bounded.

    python -m benchmarks.fuzz [--count 20000] [--seed 0] [--workers 2] [--batch 500]

JPEG, PNG, GIF, TIFF, DICOM and MAT files in equal shares, broken as `benchmarks.mutations` does, lie under
names of many scripts. Each batch is read by `take_inventory` in a process of its own, whose memory is watched
together with that of the processes it starts. The same seed gives the same files and, whatever the workers,
the same tables, whose digest is printed last.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.mutations import make_samples, mutate
from pipeline.digests import digest_bytes, digest_json, seed_for

KINDS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "TIFF": "tif", "DICOM": "dcm", "MAT": "mat"}
NAMES = ("slice", "tranche é", "срез", "τομή", "切片", "شريحة", "חתך", "स्लाइस", "🧠", "e\u0301", "a'b", "-x")
SECONDS_PER_FILE = 10.0
BATCH_SECONDS = 900.0
CRASHED = "its decoder"
"""How the detail of a file starts whose process was ended by it or for it; see pipeline/curation/guard.py."""


@dataclass
class Outcome:
    """What one batch, or all, came to.

    Attributes:
        verdicts: format -> reason, or `decoded`, -> files.
        survived: files that ended the process that guarded against them: name -> detail.
        slowest: seconds and name of the slowest file.
        rss: largest resident memory seen, of the reading process and of all that it started, in bytes.
        digests: digest of the tables, a batch.
    """

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    survived: dict[str, str] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    rss: int = 0
    digests: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Count another batch in."""
        for kind, counts in other.verdicts.items():
            self.verdicts.setdefault(kind, Counter()).update(counts)
        self.survived |= other.survived
        self.slowest = max(self.slowest, other.slowest)
        self.rss = max(self.rss, other.rss)
        self.digests += other.digests


def write_files(root: Path, numbers: range, seed: int) -> None:
    """Broken files by their numbers: pictures under `pictures/Training/glioma`, slices under `slices`."""
    samples = make_samples()
    kinds = list(KINDS)
    for number in numbers:
        kind = kinds[number % len(kinds)]
        folder = root / "slices" if kind == "MAT" else root / "pictures/Training/glioma"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{kind} {number} {NAMES[number // len(kinds) % len(NAMES)]}.{KINDS[kind]}"
        (folder / name).write_bytes(mutate(kind, samples, seed_for("fuzz", seed, number)))


def make_collections() -> dict[str, Any]:
    """The two collections that the broken files stand for."""
    from pipeline.catalog import Collection

    layouts = {
        "pictures": {"reader": "class_folders", "folders": [{"path": "Training", "split": "train"}]},
        "slices": {"reader": "figshare"},
    }
    return {
        name: Collection.model_validate(
            {
                "name": name,
                "title": name,
                "description": "broken on purpose",
                "source": {"manual": {"url": "https://example.org", "instructions": "none"}},
                "licence": {"stated": "none", "redistribute": "unknown"},
                "citation": "none",
                "layout": layout,
                "labels": {"glioma": "glioma", "1": "meningioma", "2": "glioma", "3": "pituitary"},
            }
        )
        for name, layout in layouts.items()
    }


def read_batch(root: Path, workers: int) -> Outcome:
    """Take the inventory of one batch in this process; every file must be a member or set aside."""
    from pipeline.curation.inventory import check_accounts, list_images, list_quarantine, take_inventory
    from pipeline.schemas import QUARANTINE_REASONS

    folders = {path.name: path for path in root.iterdir()}
    written = sum(path.is_file() for path in root.rglob("*"))
    with timing_files() as slowest:
        found = take_inventory(make_collections(), folders, workers=workers)
    quarantine = list_quarantine(found.files)
    check_accounts(found.files, quarantine, list_images(found.files, references=["slices"]))
    assert len(found.files) == written, f"{written} files, {len(found.files)} rows"
    assert set(quarantine["reason"]) <= set(QUARANTINE_REASONS)
    assert quarantine["detail"].str.len().all(), "a reason without a detail"
    outcome = Outcome(slowest=slowest[0], rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    for row in found.files.itertuples():
        kind = Path(row.path).name.split(" ", 1)[0]
        verdict = row.reason if isinstance(row.reason, str) else "decoded"
        outcome.verdicts.setdefault(kind, Counter())[verdict] += 1
        if isinstance(row.detail, str) and CRASHED in row.detail:
            outcome.survived[row.path] = row.detail
    tables = {name: frame.to_json() for name, frame in vars(found).items() if name != "thumbnails"}
    pixels = digest_bytes(b"".join(found.thumbnails["pixels"]))
    outcome.digests.append(digest_json({**tables, "thumbnails": pixels}))
    return outcome


@contextmanager
def timing_files() -> Iterator[list[tuple[float, str]]]:
    """Time each file of an inventory; end the process, naming the file, where one takes too long."""
    from pipeline.curation import scan

    examine, running, slowest = scan.Scanner.examine, {}, [(0.0, "")]

    def timed(scanner: scan.Scanner, folder: Path, record: Any) -> Any:
        begin = running[threading.get_ident(), record.path] = time.monotonic()
        try:
            return examine(scanner, folder, record)
        finally:
            del running[threading.get_ident(), record.path]
            slowest[0] = max(slowest[0], (time.monotonic() - begin, record.path))

    def watch() -> None:
        while not done.wait(0.5):
            for (_, path), begin in list(running.items()):
                if time.monotonic() - begin > SECONDS_PER_FILE:
                    print(f"{path}: still read after {SECONDS_PER_FILE} s", file=sys.stderr, flush=True)
                    os._exit(3)

    done = threading.Event()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    scan.Scanner.examine = timed  # type: ignore[method-assign]
    try:
        yield slowest
    finally:
        scan.Scanner.examine = examine  # type: ignore[method-assign]
        done.set()


def run_batch(root: Path, workers: int) -> Outcome:
    """Read one batch in a process of its own, and watch its memory.

    Raises:
        SystemExit: it crashed, hung, or lost a file.
    """
    command = [sys.executable, "-m", "benchmarks.fuzz", "--read", str(root), "--workers", str(workers)]
    begin, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as remarks:  # libjpeg remarks on damage that it can decode around
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=remarks, text=True)
        while process.poll() is None:
            if time.monotonic() - begin > BATCH_SECONDS:
                process.kill()
                raise SystemExit(f"{root}: not read within {BATCH_SECONDS} s")
            peak = max(peak, _count_memory(process.pid))
            time.sleep(0.02)
        if process.returncode:
            remarks.seek(0)
            last = remarks.read()[-3000:].decode(errors="replace")
            raise SystemExit(f"the inventory of a batch ended with status {process.returncode}:\n{last}")
    assert process.stdout is not None
    told = json.loads(process.stdout.read())
    verdicts = {kind: Counter(counts) for kind, counts in told["verdicts"].items()}
    seconds, name = told["slowest"]
    return Outcome(verdicts, told["survived"], (seconds, name), max(peak, told["rss"]), told["digests"])


def _count_memory(pid: int) -> int:
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def print_outcome(outcome: Outcome, count: int, seconds: float) -> None:
    """A table of formats by verdict, and what was slowest and largest."""
    verdicts = sorted({verdict for counts in outcome.verdicts.values() for verdict in counts})
    print(f"{'':<8}" + "".join(f"{verdict:>15}" for verdict in verdicts) + f"{'files':>10}")
    for kind in KINDS:
        counts = outcome.verdicts.get(kind, Counter())
        cells = "".join(f"{counts[verdict]:>15,}" for verdict in verdicts)
        print(f"{kind:<8}{cells}{sum(counts.values()):>10,}")
    total = sum(sum(counts.values()) for counts in outcome.verdicts.values())
    print(f"{count:,} files written, {total:,} accounted for, in {seconds:.0f} s")
    print(f"slowest file: {outcome.slowest[0]:.2f} s, {outcome.slowest[1]}")
    print(f"largest resident memory, all processes together: {outcome.rss / 2**20:.0f} MiB")
    print(f"files that ended the process that guards against them: {len(outcome.survived)}")
    for name, detail in list(outcome.survived.items())[:10]:
        print(f"    {name}: {detail}")
    print(f"digest of all tables: {digest_json(outcome.digests)}")


def main() -> None:
    """Write, read and account for all batches.

    Raises:
        SystemExit: a batch crashed, hung or lost a file.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(vars(read_batch(options.read, options.workers))))
        return
    outcome, begin = Outcome(), time.monotonic()
    for start in range(0, options.count, options.batch):
        numbers = range(start, min(start + options.batch, options.count))
        with tempfile.TemporaryDirectory(prefix="falx-fuzz-", ignore_cleanup_errors=True) as root:
            write_files(Path(root), numbers, options.seed)
            outcome.add(run_batch(Path(root), options.workers))
    print_outcome(outcome, options.count, time.monotonic() - begin)


if __name__ == "__main__":
    main()
