"""Images that are no MR slice and lie among `no_tumor` all the same: members that no model may train on."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.labels import Label
from pipeline.phantoms.anatomy import draw_head, measure_surfaces
from pipeline.phantoms.geometry import View, inside, lay_points, place_pixels
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.republishing import CODES, Edition
from pipeline.phantoms.shelves import Plan, PublishedSplit, Shelf

FIRST_NUMBER = 7000
HOME: Label = "no_tumor"
SIDE = 256
WORDS = ("Login", "axial", "T1", "Save as", "Patient", "Report", "View", "Contrast", "Series 3", "Today")

Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def plant_foreign(shelf: Shelf, edition: Edition) -> None:
    """Plan one image of every kind in an edition's `no_tumor` folders, whatever the scale."""
    spelled = edition.spelling[HOME]
    for index, kind in enumerate(FOREIGN):
        split: PublishedSplit = "test" if index % 2 else "train"
        name = edition.names[split].format(code=CODES[HOME], number=FIRST_NUMBER + index)
        shelf.add(
            Plan(
                edition.name,
                f"{edition.folders[split]}/{spelled}/{name}",
                None,
                Treatment(),
                published_label=spelled,
                split=split,
                how=("foreign",),
                foreign=kind,
                litter=draw_foreign(kind, shelf.rng("foreign", edition.name, kind)),
            )
        )


def draw_foreign(kind: str, rng: Rng) -> bytes:
    """A JPEG file of a kind in `FOREIGN`, drawn anew."""
    stream = io.BytesIO()
    pixels = np.ascontiguousarray(FOREIGN[kind](rng))
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(rng.integers(80, 95)))
    return stream.getvalue()


def _draw_photograph(rng: Rng) -> Pixels:
    """Hills under a sky, in colour."""
    height, width = 240, 320
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([70, 130, 215]) * (1 - down) + np.array([205, 220, 235]) * down
    image = np.broadcast_to(sky, (height, width, 3)).astype(np.float32).copy()
    cv2.circle(image, (int(rng.integers(40, 280)), int(rng.integers(30, 70))), 18, (255, 240, 170), -1)
    across = np.arange(width)
    for layer in range(3):
        base = height * (0.45 + 0.16 * layer)
        phase, pitch = rng.uniform(0, 6.28), rng.uniform(0.012, 0.03)
        ridge = base + 16 * np.sin(across * pitch + phase) + 6 * np.sin(across * pitch * 3.1)
        hill = np.arange(height)[:, None] > ridge[None, :]
        green = np.array([120 - 30 * layer, 165 - 25 * layer, 90 - 20 * layer], np.float32)
        grass = _smooth(rng, (height, width), 1.5) * 22
        image[hill] = (green + grass[..., None])[hill]
    for _ in range(6):
        place = (int(rng.integers(10, 310)), int(rng.integers(165, 220)))
        cv2.circle(image, place, int(rng.integers(8, 18)), (35, 80 + int(rng.integers(30)), 40), -1)
    image += rng.normal(0, 4, image.shape)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _draw_screenshot(rng: Rng) -> Pixels:
    """A window with lines of text."""
    image = np.full((230, 300, 3), 250, np.uint8)
    cv2.rectangle(image, (0, 0), (300, 20), (70, 90, 130), -1)
    cv2.rectangle(image, (0, 20), (70, 230), (228, 232, 240), -1)
    _write(image, "Viewer", (8, 14), (255, 255, 255))
    for row in range(7):
        _write(image, WORDS[rng.integers(len(WORDS))], (6, 42 + 26 * row), (60, 70, 90))
    for row in range(10):
        line = " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=4))
        _write(image, line, (80, 44 + 18 * row), (30, 30, 30))
    return image


def _write(image: Pixels, text: str, place: tuple[int, int], ink: tuple[int, int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, 1, cv2.LINE_AA)


def _draw_noise(rng: Rng) -> Pixels:
    """Grey noise, each pixel for itself."""
    return rng.integers(0, 256, (SIDE, SIDE), np.uint8)


def _draw_blank(rng: Rng) -> Pixels:
    """One grey level."""
    return np.full((SIDE, SIDE), rng.integers(5, 60), np.uint8)


def _draw_ct(rng: Rng) -> Pixels:
    """An axial CT slice in a brain window: white bone, flat grey brain, dark ventricles, a head rest."""
    head, view = draw_head(rng), View("axial", float(rng.uniform(0.12, 0.35)), 1.22, (0.0, 0.06))
    points = lay_points(view, *place_pixels(view, SIDE))
    surfaces = measure_surfaces(head, view, points)
    image = np.zeros((SIDE, SIDE), np.float32)
    _lay(image, 78, inside(surfaces.skin, 0.02))
    _lay(image, 290, inside(surfaces.skull, 0.02))  # brighter than white: saturated
    _lay(image, 92, inside(surfaces.cavity + np.float32(0.025), 0.02))
    brain = 112 + 7 * _smooth(rng, image.shape, 9.0)
    _lay(image, brain, inside(surfaces.cerebrum + np.float32(0.03), 0.03))
    for side in (-1.0, 1.0):
        oval = ((points.x - side * 0.10) / 0.055) ** 2 + ((points.y - 0.05) / 0.24) ** 2 - 1
        _lay(image, 48, inside(np.asarray(oval, np.float32), 0.4))
    rest = np.abs(np.hypot(points.x, points.y - 0.15) - 1.24) - 0.012
    low = np.asarray(points.y < -0.62, np.float32)
    _lay(image, 190, inside(np.asarray(rest, np.float32), 0.02) * low)
    image += rng.normal(0, 5, image.shape) * (image > 20)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _lay(image: Floats, level: float | Floats, share: Floats) -> None:
    image += (level - image) * share


def _smooth(rng: Rng, shape: tuple[int, ...], scale: float) -> Floats:
    """Noise of unit deviation, smooth over `scale` pixels, float32 [height, width]."""
    noise = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), scale)
    return np.asarray(noise / noise.std(), np.float32)


FOREIGN: dict[str, Callable[[Rng], Pixels]] = {
    "photograph": _draw_photograph,
    "screenshot": _draw_screenshot,
    "noise": _draw_noise,
    "blank": _draw_blank,
    "ct": _draw_ct,
}
