"""A packaged model as one ONNX file for machines without torch, with its card beside it.

The graph takes what `pipeline.imaging.decode.resize_grey` gives and answers calibrated probabilities:
scaling, normalisation, network and temperature are inside. It refuses nothing: keep away what is no brain MR
slice. Torch's older exporter writes it: the newer one needs one more package, onnxscript.
"""

import importlib
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from pipeline.atomic import replacing_file, write_text
from pipeline.digests import digest_file, seed_for
from pipeline.errors import ServingError
from pipeline.recipe import Recipe, Strict
from pipeline.serving.card import ModelCard
from pipeline.serving.predictor import Predictor
from pipeline.training.inference import answer
from pipeline.training.inputs import normalise
from pipeline.training.models import Network

OPSET = 17
TOLERANCE = 1e-4
CHECKED = (1, 2, 16)  # images a batch that are asked of both sides: the graph must take any number
INPUT, OUTPUT = "image", "probabilities"


class EdgeCard(Strict):
    """What a person who runs the file has to know."""

    file: str = Field(description="name of the ONNX file, beside this card")
    file_digest: str = Field(description="SHA-256 of the ONNX file")
    file_bytes: int = Field(ge=1, description="size of the ONNX file")
    opset: int = Field(ge=1, description="version of ONNX's operators")
    input: str = Field(description="name, type and shape of the input")
    output: str = Field(description="name, type and shape of the output")
    difference: float = Field(ge=0, description="greatest difference of a probability from torch, at export")
    runtime: str = Field(description="version of ONNX Runtime that the difference was measured with")
    note: str = "Refuses nothing: keep away what is no brain MR slice, or far from the training images."
    card: ModelCard = Field(description="the card of the packaged model")


class Edge(nn.Module):
    """From uint8 pixels [n, 1, size, size] to calibrated probabilities float32 [n, classes]."""

    def __init__(self, model: Network, recipe: Recipe, temperature: float | None) -> None:
        super().__init__()
        self.model, self._recipe, self._temperature = model, recipe, temperature or 1.0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale, normalise, classify, calibrate."""
        logits = answer(self.model, normalise(pixels.float() / 255, self._recipe), self._recipe)
        return torch.softmax(logits / self._temperature, dim=1)


def export_onnx(package: Path, target: Path) -> EdgeCard:
    """Write the model of a package as `target` (ends in .onnx), then its card as .json beside it.

    Both sides are asked the same seeded pictures first; what differs is not written.

    Raises:
        ServingError: the package breaks its contract, the packages onnx or onnxruntime are missing, or a
            probability differs by more than 1e-4.
    """
    runtime = require_runtime()
    predictor = Predictor.open(package)
    with TemporaryDirectory(prefix="falx-") as folder:
        made = Path(folder, "model.onnx")
        write_graph(predictor, made)
        difference = compare_graph(predictor, made)
        if not difference <= TOLERANCE:
            raise ServingError(
                f"model {predictor.card.model_id}: its ONNX graph answers up to {difference:.2g} "
                f"otherwise than torch, where {TOLERANCE} is allowed; nothing was written. Export with the "
                "torch and the onnxruntime of constraints.txt, or serve the package with torch"
            )
        with replacing_file(target) as temporary:
            shutil.copyfile(made, temporary)
    card = _describe(target, predictor.card, difference, str(runtime.__version__))
    write_text(target.with_suffix(".json"), card.model_dump_json(indent=2) + "\n")
    return card


def require_runtime() -> Any:
    """The module onnxruntime, with onnx at hand.

    Raises:
        ServingError: one of them is not installed; says how to install both.
    """
    try:
        importlib.import_module("onnx")
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ServingError(
            f"ONNX export needs the packages onnx and onnxruntime ({error}); install them with "
            "`pip install -c constraints.txt -e '.[edge]'`"
        ) from error


def write_graph(predictor: Predictor, path: Path) -> None:
    """Trace the predictor's network with its scaling into an ONNX file, for any number of images."""
    size = predictor.card.size
    network = Edge(predictor.model, predictor.recipe, predictor.card.temperature).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the exporter is the older one, and that shapes are checked
        torch.onnx.export(
            network,
            (torch.zeros(2, 1, size, size, dtype=torch.uint8),),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "images"}, OUTPUT: {0: "images"}},
            opset_version=OPSET,
            dynamo=False,
        )


def open_session(path: Path, *, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU; 0 threads for as many as there are cores."""
    runtime = require_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def compare_graph(predictor: Predictor, path: Path) -> float:
    """Greatest difference of a probability between an ONNX file and torch, on seeded pictures."""
    session = open_session(path)
    found = []
    for count in CHECKED:
        pixels = draw_pictures(count, predictor.card.size)
        (other,) = session.run([OUTPUT], {INPUT: pixels[:, None]})
        found.append(float(np.abs(other - predictor.classify(pixels)[0]).max()))
    return max(found)


def draw_pictures(count: int, size: int) -> NDArray[np.uint8]:
    """Seeded pictures, uint8 [count, size, size]: blocks of 1, 2, 4, … pixels, so that no scale is missed."""
    rng = np.random.default_rng(seed_for("onnx", count, size))
    pictures = []
    for place in range(count):
        block = 1 << place % 5
        side = -(-size // block)
        coarse = rng.integers(0, 256, (side, side), np.uint8)
        pictures.append(np.kron(coarse, np.ones((block, block), np.uint8))[:size, :size])
    return np.stack(pictures)


def _describe(target: Path, card: ModelCard, difference: float, runtime: str) -> EdgeCard:
    return EdgeCard(
        file=target.name,
        file_digest=digest_file(target),
        file_bytes=target.stat().st_size,
        opset=OPSET,
        input=f"{INPUT}: uint8 [images, 1, {card.size}, {card.size}], grey, resized by areas",
        output=f"{OUTPUT}: float32 [images, {len(card.classes)}], {', '.join(card.classes)}",
        difference=difference,
        runtime=runtime,
        card=card,
    )
