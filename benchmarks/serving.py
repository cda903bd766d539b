"""The served model against the bare network on decoded tensors: what decoding, checking and HTTP cost.

    python -m benchmarks.serving [--package FOLDER] [--images FOLDER] [--requests 100] [--batch 16]

- bare: the network on tensors that are decoded, resized and scaled already. The limit.
- Predictor: encoded files to answers, in this process: decoded, checked, classified, measured.
- HTTP: the same through `mlflow models serve` on 127.0.0.1, files as base64 text in JSON, one connection at
  a time, started as the README says.
- ONNX: the exported graph on the same decoded pixels, where the extra `edge` is installed.

Without --package, recipe `slim64` with random weights (speed does not depend on them), its reference fitted
on the pictures; without --images, 64 drawn heads of 256 pixels as JPEG. The sides take turns in each round: a
machine that slows down slows all of them. Every side has as many threads as --threads says. Prints Markdown.
"""

import argparse
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pipeline.catalog import load_catalog
from pipeline.digests import digest_bytes
from pipeline.errors import ServingError
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.serving.card import read_card, write_card
from pipeline.serving.distance import REFERENCE, save_reference
from pipeline.serving.fitting import fit_reference
from pipeline.serving.package import CARD, WEIGHTS, write_package
from pipeline.serving.predictor import Predictor
from pipeline.training.batches import Part
from pipeline.training.checkpoints import write_best
from pipeline.training.inputs import normalise
from pipeline.training.models import build_model
from resources.mlflow_client import CLIENT_ENVIRONMENT
from resources.registry import save_model

Ask = Callable[[Sequence[bytes]], object]


@dataclass
class Side:
    """One way to an answer, and the seconds of each request."""

    name: str
    ask: Ask
    single: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)


def draw_heads(count: int, side: int = 256) -> list[bytes]:
    """Textured ovals on black as JPEG files, seeded."""
    files = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        texture = cv2.resize(rng.standard_normal((20, 20)), (side, side), interpolation=cv2.INTER_CUBIC)
        head = np.zeros((side, side))
        axes = (int(side * rng.uniform(0.3, 0.4)), int(side * rng.uniform(0.36, 0.44)))
        cv2.ellipse(head, (side // 2, side // 2), axes, rng.uniform(-10, 10), 0, 360, 110, -1)
        pixels = np.clip((head > 0) * (head + 30 * texture), 0, 255).astype(np.uint8)
        files.append(cv2.imencode(".jpg", pixels)[1].tobytes())
    return files


def make_package(folder: Path, images: Sequence[bytes], name: str = "slim64") -> Path:
    """A package of a recipe with random weights, whose reference is the images themselves."""
    recipe = load_catalog().recipes[name]
    torch.manual_seed(0)
    model = build_model(recipe, weights="none")
    write_best(folder, model)
    model = model.to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(decode_all(images, recipe.input.size))
    part = Part(pixels, torch.zeros(len(images), dtype=torch.int64), tuple(map(digest_bytes, images)))
    save_reference(folder / REFERENCE, fit_reference(model, recipe, part, part))
    card = write_card(recipe, protocol="none", seed=0, model_id="0", data_digest="0", gate="none", val={})
    write_package(folder / "package", folder, recipe, card)
    return folder / "package"


def decode_all(images: Sequence[bytes], size: int) -> np.ndarray:
    """uint8 [n, size, size]."""
    return np.stack([resize_grey(decode_image(image).pixels, size) for image in images])


@contextlib.contextmanager
def serve_model(package: Path, folder: Path, threads: int) -> Iterator[str]:
    """`mlflow models serve` on a package and a free port; its address."""
    save_model(folder / "model", package, read_card(package / CARD), "m-0", "run-0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        [*command, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)],
        env=os.environ | CLIENT_ENVIRONMENT | {"PATH": path, "OMP_NUM_THREADS": str(threads)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait(address, process)
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ping", timeout=5):
            return
        time.sleep(0.3)
    raise ServingError(f"no answer at {address} within 150 s; exit status {process.poll()}")


def ask_over_http(address: str, images: Sequence[bytes]) -> list[dict[str, Any]]:
    """The rows that the server answers."""
    rows = [{"image": base64.b64encode(image).decode()} for image in images]
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())["predictions"]
    return found


def list_sides(predictor: Predictor, images: Sequence[bytes], folder: Path, threads: int) -> list[Side]:
    """All sides but HTTP; those on tensors look decoded images up."""
    pixels = dict(zip(images, decode_all(images, predictor.card.size), strict=True))
    scaled = torch.from_numpy(np.stack(list(pixels.values())))[:, None].float() / 255
    tensors = dict(zip(pixels, normalise(scaled, predictor.recipe), strict=True))
    bare = build_model(predictor.recipe, weights="none").to(memory_format=torch.channels_last)

    def ask_bare(asked: Sequence[bytes]) -> object:
        with torch.inference_mode():
            batch = torch.stack([tensors[image] for image in asked])
            return bare(batch.contiguous(memory_format=torch.channels_last))

    sides = [Side("bare network, fp32", ask_bare), Side("Predictor", predictor.predict)]
    return sides + _list_edge(predictor, pixels, folder / "model.onnx", threads)


def _list_edge(predictor: Predictor, pixels: dict[bytes, np.ndarray], file: Path, threads: int) -> list[Side]:
    from pipeline.serving.onnx import INPUT, OUTPUT, open_session, require_runtime, write_graph

    try:
        require_runtime()
    except ServingError as error:
        print(f"ONNX left out: {error}\n")
        return []
    write_graph(predictor, file)
    session = open_session(file, threads=threads)

    def ask_edge(asked: Sequence[bytes]) -> object:
        return session.run([OUTPUT], {INPUT: np.stack([pixels[image] for image in asked])[:, None]})

    return [Side(f"ONNX Runtime, {file.stat().st_size / 1e6:.2f} MB", ask_edge)]


def time_sides(sides: Sequence[Side], images: Sequence[bytes], requests: int, batch: int) -> None:
    """Ask every side in turn, one image and then a batch a request; the first of each is not counted."""
    for side in sides:
        side.ask(images[:1])
        side.ask(images[:batch])
    for number in range(requests):
        one = [images[number % len(images)]]
        many = [images[(number * batch + place) % len(images)] for place in range(batch)]
        for side in sides:
            for asked, spent in ((one, side.single), (many, side.batches)):
                started = time.perf_counter()
                side.ask(asked)
                spent.append(time.perf_counter() - started)


def print_table(sides: Sequence[Side], batch: int) -> None:
    """Markdown: latency of one image, and images a second in batches."""
    limit = batch / float(np.median(sides[0].batches))
    print(f"| side | p50, ms | p95, ms | images/s, {batch} a request | share of the bare network's |")
    print("|---|---:|---:|---:|---:|")
    for side in sides:
        low, high = np.percentile(side.single, [50, 95]) * 1000
        rate = batch / float(np.median(side.batches))
        print(f"| {side.name} | {low:.1f} | {high:.1f} | {rate:,.0f} | {rate / limit:.2f} |")


def run(options: argparse.Namespace) -> list[Side]:
    """Measure all sides; they are printed, too."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="falx-") as name:
        scratch = Path(name)
        files = sorted(options.images.rglob("*.jpg"))[:256] if options.images else []
        images = [file.read_bytes() for file in files] or draw_heads(64)
        package = options.package or make_package(scratch, images)
        predictor = Predictor.open(package)
        sides = list_sides(predictor, images, scratch, options.threads)
        with contextlib.ExitStack() as stack:
            if not options.no_http:
                address = stack.enter_context(serve_model(package, scratch, options.threads))
                sides.append(Side("HTTP", lambda asked: ask_over_http(address, asked)))
            time_sides(sides, images, options.requests, options.batch)
        size = (package / WEIGHTS).stat().st_size / 1e6
        print(
            f"{predictor.recipe.name} at {predictor.card.size} pixels, weights {size:.2f} MB, "
            f"{len(images)} JPEG files, {options.requests} requests a side, {options.threads} threads\n"
        )
    print_table(sides, options.batch)
    return sides


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, help="folder of a packaged model")
    parser.add_argument("--images", type=Path, help="folder of JPEG files; the first 256 by path are used")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="images a request where throughput is measured")
    parser.add_argument("--threads", type=int, default=1, help="of torch and ONNX Runtime, on every side")
    parser.add_argument("--no-http", action="store_true", help="leave the server out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(parse_options())
