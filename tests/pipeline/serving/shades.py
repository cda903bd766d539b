"""A package whose answers are known by construction: the class is the shade that the image is nearest to."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from safetensors.torch import save_file

from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.serving.card import ModelCard, write_card
from pipeline.serving.distance import REFERENCE, save_reference
from pipeline.serving.fitting import fit_reference
from pipeline.serving.inputs import open_slice
from pipeline.serving.package import write_package
from pipeline.training.batches import Part
from pipeline.training.models import build_model
from pipeline.training.weights import load_file_into

SHADES = dict(zip(LABELS, (30, 95, 160, 225), strict=True))
SIZE = 16


def make_recipe() -> Recipe:
    """R2's network, small, on grey values in [0, 1]."""
    return Recipe.model_validate(
        {
            "name": "shades",
            "title": "Four shades of grey",
            "description": "Weights set by hand: the class is the nearest shade.",
            "source": "ours",
            "input": {"size": SIZE, "channels": 1, "normalise": "unit"},
            "model": {"name": "cnn3"},
            "stopping": {"epochs": 1},
        }
    )


def write_weights(work: Path) -> None:
    """Weights that pass the grey value through and answer the nearest shade.

    Each convolution copies channel 0; the classifier's lines 2·c·x − c² touch the parabola x² at the
    shades c, so that the greatest of them belongs to the shade that is nearest to x.
    """
    state = build_model(make_recipe()).state_dict()
    for name, values in state.items():
        if name.endswith(("running_var", "num_batches_tracked")):
            continue
        values.zero_()
        if values.ndim == 4:
            values[0, 0, 1, 1] = 1
        elif name.startswith("backbone") and values.ndim == 1 and name.endswith("weight"):
            values.fill_(1)
    (weight,) = [values for values in state.values() if values.ndim == 2]
    (bias,) = [values for name, values in state.items() if name.startswith("head") and name.endswith("bias")]
    shades = torch.tensor([shade / 255 for shade in SHADES.values()])
    pixels = (SIZE // 8) ** 2
    weight[:, :pixels] = 400 * 2 * shades[:, None] / pixels
    bias.copy_(-400 * shades**2)
    work.mkdir(parents=True, exist_ok=True)
    save_file({name: values.contiguous() for name, values in state.items()}, work / "best.safetensors")


def make_card(protocol: str = "patient", model_id: str = "5ade5" * 8, gate: str = "passed") -> ModelCard:
    """The card of the shades model."""
    return write_card(
        make_recipe(),
        protocol=protocol,
        seed=0,
        model_id=model_id,
        data_digest="da7a" * 16,
        gate=gate,
        val={"loss": 0.1, "accuracy": 0.97, "macro_f1": 0.96},
    )


def write_reference(work: Path) -> None:
    """A reference as if the model had been trained and validated on eight files of each shade."""
    files = [draw_shade(label, kind) for label in LABELS for kind in (".jpg", ".png", ".webp", ".bmp")] * 2
    pixels = torch.from_numpy(np.stack([open_slice(file, SIZE) for file in files]))
    part = Part(pixels, torch.zeros(len(files), dtype=torch.int64), tuple(map(str, range(len(files)))))
    model = build_model(make_recipe(), weights="none").to(memory_format=torch.channels_last)
    load_file_into(model, work / "best.safetensors")
    fitted = fit_reference(model, make_recipe(), part, part)
    save_reference(work / REFERENCE, replace(fitted, val=fitted.val + 0.1))


def make_package(folder: Path, *, reference: bool = False, **card: str) -> ModelCard:
    """Write the package of the shades model to `folder`/package."""
    write_weights(folder / "work")
    if reference:
        write_reference(folder / "work")
    return write_package(folder / "package", folder / "work", make_recipe(), make_card(**card))


def draw_head(label: str) -> np.ndarray:
    """A round head on black, uint8 [100, 120], whose brightest level in each quarter is a label's shade."""
    down, across = np.mgrid[-1:1:100j, -1:1:120j]
    radius = np.hypot(down, across)
    return (
        np.where(radius < 0.8, SHADES[label] * (1 - 0.4 * np.abs(radius - 0.4)), 0).round().astype(np.uint8)
    )


def draw_shade(label: str, kind: str = ".jpg") -> bytes:
    """An encoded image of a label's shade."""
    return cv2.imencode(kind, draw_head(label))[1].tobytes()


def write_dicom(pixels: np.ndarray, *, modality: str = "MR", frames: int = 1) -> bytes:
    """A DICOM file of uint8 [height, width], 12 bits deep, windowed to the levels that it was made from."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    stored = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    stored.SOPClassUID, stored.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    stored.Modality, stored.NumberOfFrames = modality, frames
    stored.Rows, stored.Columns = pixels.shape
    stored.SamplesPerPixel, stored.PhotometricInterpretation = 1, "MONOCHROME2"
    stored.BitsAllocated, stored.BitsStored, stored.HighBit, stored.PixelRepresentation = 16, 12, 11, 0
    stored.WindowCenter, stored.WindowWidth = 128 * 16, 256 * 16
    stored.PixelData = (pixels.astype(np.uint16) * 16).tobytes() * frames
    stream = io.BytesIO()
    stored.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def encode(data: bytes) -> str:
    """As base64 text."""
    return base64.b64encode(data).decode()
