"""The same picture: recall and false joins of Falx and of the usual tools, on the same copies of real images.

    python -m benchmarks.pictures [--folder FOLDER] [--count 500] [--kinds rotation crop …] [--no-peers]
    python -m benchmarks.pictures --real       all images of the folder: seconds, joins, who misses what

A search sees the reference slices (known to be distinct pictures) and, for each of `--batch` kinds of copies,
`--count` images drawn from all collections and a copy of each; within a batch no image is drawn twice. Recall
is the share of copies joined to their source. A false join connects two images that come from different
reference slices. Both sides run in one process on the same decoded pixels; all results but the seconds depend
on the folder's content alone. Prints Markdown; --json keeps every figure.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.copies import Sample, list_kinds, make_copy, sample_images
from benchmarks.peers import BinaryHash, Falx, Joins, list_methods
from pipeline.digests import digest_bytes, seed_for
from pipeline.errors import SettingsError

REFERENCE = "cheng_figshare"
CORNERS = np.array([[0.0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])

Method = Falx | BinaryHash


@dataclass
class Gallery:
    """What one search sees: descriptions in row order, and the truth about each row.

    Attributes:
        ids: image_id of each row.
        origins: image_id of the source that each row comes from.
        known: whether that source is a reference slice, so that every join to another origin is false.
        copies: kind → row of the source → row of its copy.
        transforms: row of the copy → the six floats of the truth.
    """

    ids: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)
    described: dict[str, list[Any]] = field(default_factory=dict)
    copies: dict[str, dict[int, int]] = field(default_factory=dict)
    transforms: dict[int, tuple[float, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, image_id: str, origin: str, known: bool, described: dict[str, Any]) -> int:
        """Append one row; returns its number."""
        self.ids.append(image_id)
        self.origins.append(origin)
        self.known.append(known)
        for name, code in described.items():
            self.described.setdefault(name, []).append(code)
        return len(self.ids) - 1


class Describer:
    """Describes images by all methods, once each, and adds up the seconds of each method."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods = methods
        self.seconds = dict.fromkeys((method.name for method in methods), 0.0)

    def __call__(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        described = {}
        for method in self.methods:
            started = time.perf_counter()
            described[method.name] = method.describe(pixels)
            self.seconds[method.name] += time.perf_counter() - started
        return described


def main() -> None:
    options = parse_options()
    cv2.setNumThreads(1)
    methods = list_methods(not options.no_peers)
    report = measure_real(methods, options) if options.real else measure_recall(methods, options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=os.environ.get("FALX_DATASETS"))
    parser.add_argument("--reference", default=REFERENCE, help="collection of slices known to be distinct")
    parser.add_argument("--count", type=int, default=500, help="copies of each kind")
    parser.add_argument("--kinds", nargs="*", default=[], help="default: all of benchmarks.copies")
    parser.add_argument("--batch", type=int, default=6, help="kinds of copies searched at once")
    parser.add_argument("--no-peers", action="store_true", help="Falx alone")
    parser.add_argument("--real", action="store_true", help="all images as they are, no synthetic copies")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes or threads for each side"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    if options.folder is None:
        raise SettingsError("give --folder, or set FALX_DATASETS to the folder of raw collections")
    return options


def measure_recall(methods: Sequence[Method], options: argparse.Namespace) -> dict[str, Any]:
    """Recall by kind, false joins and seconds; prints both tables."""
    describe = Describer(methods)
    base = Gallery()
    for sample in sample_images(options.folder, 0, "reference", [options.reference]):
        base.add(sample.image_id, sample.image_id, True, describe(sample.pixels))
    limits = find_safe_limits(methods, base, options.workers)
    print(f"{len(base.ids)} reference slices; false joins among them and among their copies are counted\n")
    rows: list[dict[str, Any]] = []
    searches: list[dict[str, Any]] = []
    kinds = list_kinds(options.kinds)
    print_header(methods)
    for start in range(0, len(kinds), options.batch):
        batch = kinds[start : start + options.batch]
        gallery = build_gallery(base, batch, describe, options)
        measured = [measure_method(method, gallery, limits, options.workers) for method in methods]
        searches += [search for search, _ in measured]
        here = [row for _, found in measured for row in found]
        for kind in batch:
            print_recall([row for row in here if row["kind"] == kind])
        rows += here
    alone = [measure_alone(method, base, options.workers) for method in methods]
    print_summary(rows, searches, alone, describe.seconds, methods, limits)
    return {
        "rows": rows,
        "searches": searches,
        "alone": alone,
        "limits": limits,
        "describe_seconds": describe.seconds,
    }


def build_gallery(
    base: Gallery, kinds: Sequence[str], describe: Describer, options: argparse.Namespace
) -> Gallery:
    """The references; for each kind samples of all collections, none for two kinds, and their copies."""
    gallery = Gallery(
        list(base.ids), list(base.origins), list(base.known), {k: list(v) for k, v in base.described.items()}
    )
    places = {image_id: row for row, image_id in enumerate(gallery.ids)}
    drawn = sample_images(options.folder, options.count * len(kinds), "+".join(kinds))
    drawn.sort(key=lambda sample: seed_for("kind", sample.image_id))
    for number, sample in enumerate(drawn):
        kind, known = kinds[number % len(kinds)], sample.collection == options.reference
        if sample.image_id not in places:
            places[sample.image_id] = gallery.add(
                sample.image_id, sample.image_id, known, describe(sample.pixels)
            )
        copy, transform = make_copy(sample.pixels, kind, seed_for(sample.image_id))
        row = gallery.add(name_copy(sample, kind), sample.image_id, known, describe(copy))
        gallery.copies.setdefault(kind, {})[places[sample.image_id]] = row
        gallery.transforms[row] = transform
    return gallery


def name_copy(sample: Sample, kind: str) -> str:
    """An image_id of 32 hex digits for a synthetic copy."""
    return digest_bytes(f"{sample.image_id}/{kind}".encode())[:32]


def measure_method(
    method: Method, gallery: Gallery, limits: dict[str, int], workers: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One method on one gallery: what the search took and joined falsely; how many copies of each kind."""
    described = gallery.described[method.name]
    started = time.perf_counter()
    joins = method.join(gallery.ids, described, workers)
    search = {
        "method": method.name,
        "images": len(gallery.ids),
        "seconds": time.perf_counter() - started,
        "false": count_false(joins, gallery),
    }
    rows = []
    for kind, copies in gallery.copies.items():
        pairs = [(min(pair), max(pair)) for pair in copies.items()]
        row: dict[str, Any] = {"kind": kind, "method": method.name, "copies": len(pairs)}
        row["found"] = sum(pair in joins for pair in pairs)
        if isinstance(method, BinaryHash):
            distances = [method.measure(described[first], described[second]) for first, second in pairs]
            row["found_safe"] = sum(distance <= limits[method.name] for distance in distances)
        else:
            row["missed"] = [gallery.ids[first] for first, second in pairs if (first, second) not in joins]
            row["error"] = measure_transforms(method, gallery, copies)
        rows.append(row)
    return search, rows


def count_false(joins: Joins, gallery: Gallery) -> int:
    """Joins between images that come from two different reference slices."""
    return sum(
        gallery.known[first] and gallery.known[second] and gallery.origins[first] != gallery.origins[second]
        for first, second in joins
    )


def measure_transforms(method: Falx, gallery: Gallery, copies: dict[int, int]) -> list[float]:
    """Largest error of a corner, in fractions of the side, of each copy proven against its source."""
    rows = {image_id: row for row, image_id in enumerate(gallery.ids)}
    errors = []
    proven = method.pairs[method.pairs["verdict"] == "copy"]
    for one, other, transform in zip(proven["first"], proven["second"], proven["transform"], strict=True):
        first, second = rows[one], rows[other]
        forward = copies.get(first) == second
        if not forward and copies.get(second) != first:
            continue
        true = complete(gallery.transforms[second if forward else first])
        found = complete(transform) if forward else np.asarray(np.linalg.inv(complete(transform)))
        errors.append(float(np.abs((found - true) @ CORNERS.T).max().round(5)))
    return errors


def complete(transform: Sequence[float]) -> NDArray[np.float64]:
    """Six floats as a 3 × 3 matrix."""
    return np.vstack([np.reshape(np.asarray(transform, np.float64), (2, 3)), [0, 0, 1]])


def find_safe_limits(methods: Sequence[Method], base: Gallery, workers: int) -> dict[str, int]:
    """For each hash the largest distance at which no two reference slices are joined; −1 if there is none."""
    limits = {}
    for method in methods:
        if isinstance(method, BinaryHash):
            described, low = base.described[method.name], method.limit
            while low >= 0 and method.join_within(described, low, workers):
                low -= 1
            limits[method.name] = low
    return limits


def measure_alone(method: Method, base: Gallery, workers: int) -> dict[str, Any]:
    """The references by themselves: joins are false, one and all."""
    joins = method.join(base.ids, base.described[method.name], workers)
    touched = {row for pair in joins for row in pair}
    return {"method": method.name, "false": len(joins), "touched": len(touched), "slices": len(base.ids)}


def measure_real(methods: Sequence[Method], options: argparse.Namespace) -> dict[str, Any]:
    """All images of the folder: seconds and joins of each method, and what each joins that Falx does not."""
    describe = Describer(methods)
    gallery = Gallery()
    for sample in sample_images(options.folder, 0, "real"):
        gallery.add(
            sample.image_id, sample.image_id, sample.collection == options.reference, describe(sample.pixels)
        )
    ours: Joins = set()
    rows = []
    for method in methods:
        started = time.perf_counter()
        joins = method.join(gallery.ids, gallery.described[method.name], options.workers)
        seconds = time.perf_counter() - started
        ours = joins if isinstance(method, Falx) else ours
        row = {
            "method": method.name,
            "rule": method.rule,
            "describe_seconds": describe.seconds[method.name],
            "search_seconds": seconds,
            "joins": len(joins),
            "false": count_false(joins, gallery),
            "only_here": len(joins - ours),
            "only_falx": len(ours - joins),
        }
        rows.append(row | {"extra": [[gallery.ids[row] for row in pair] for pair in sorted(joins - ours)]})
    print(f"{len(gallery.ids)} images, {options.workers} workers, peak {peak_gigabytes():.1f} GB\n")
    print("| method | rule | describe s | search s | joins | of these false | not in Falx | Falx has more |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['method']} | {row['rule']} | {row['describe_seconds']:.0f} "
            f"| {row['search_seconds']:.1f} | {row['joins']:,} | {row['false']:,} "
            f"| {row['only_here']:,} | {row['only_falx']:,} |"
        )
    return {"images": len(gallery.ids), "rows": rows}


def peak_gigabytes() -> float:
    """Largest memory so far, of this process or of a child of it, in GB."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(peaks) / 1e6


def print_header(methods: Sequence[Method]) -> None:
    names = " | ".join(method.name for method in methods)
    print(f"| kind | copies | {names} | corner error, median / 99 % |")
    print("|---|---:|" + "---:|" * (len(methods) + 1), flush=True)


def print_recall(rows: Sequence[dict[str, Any]]) -> None:
    """One line: the recall of all methods on one kind, Falx first."""
    cells = []
    for row in rows:
        safe = f" ({row['found_safe'] / row['copies']:.3f})" if "found_safe" in row else ""
        cells.append(f"{row['found'] / row['copies']:.3f}{safe}")
    errors = rows[0]["error"]
    shown = f"{np.median(errors):.2%} / {np.quantile(errors, 0.99):.2%}" if errors else "–"
    print(f"| {rows[0]['kind']} | {rows[0]['copies']} | {' | '.join(cells)} | {shown} |", flush=True)


def print_summary(
    rows: Sequence[dict[str, Any]],
    searches: Sequence[dict[str, Any]],
    alone: Sequence[dict[str, Any]],
    describe_seconds: dict[str, float],
    methods: Sequence[Method],
    limits: dict[str, int],
) -> None:
    print("\nIn brackets: recall at the largest distance that joins no two reference slices.\n")
    print("| method | rule | recall, all kinds | recall without a false join | joins among references "
          "| slices touched | false joins with copies | describe s | search s |")  # fmt: skip
    print("|---|---|" + "---:|" * 7)
    for method, own in zip(methods, alone, strict=True):
        here = [row for row in rows if row["method"] == method.name]
        copies = sum(row["copies"] for row in here)
        found = sum(row["found"] for row in here)
        safe = sum(row.get("found_safe", row["found"]) for row in here)
        limit = f" (≤ {limits[method.name]})" if method.name in limits else ""
        runs = [search for search in searches if search["method"] == method.name]
        false = sum(search["false"] - own["false"] for search in runs)
        seconds = sum(search["seconds"] for search in runs)
        print(
            f"| {method.name} | {method.rule} | {found / copies:.4f} | {safe / copies:.4f}{limit} "
            f"| {own['false']:,} | {own['touched']:,} of {own['slices']:,} | {false:,} "
            f"| {describe_seconds[method.name]:.0f} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
