"""Synthetic copies of real images, with known truth: what re-publishing does to a slice, alone and combined.

    python -m benchmarks.copies --sheet copies.png [--folder FOLDER] [--kinds rotation crop]

draws source, copy, and source carried over by the known transform, three a row: the truth, to be looked at.

A transform is six floats a…f in fractions of width and height, x right, y down: a point (x, y) of the source
lies at (ax + by + c, dx + ey + f) in the copy. Every draw depends on kind and seed alone; the seed of an
image comes from its content (`sample_images`), so neither file order nor names show.
"""

import argparse
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.digests import seed_for
from pipeline.errors import DecodeError, SettingsError
from pipeline.imaging.decode import decode_image, resize_grey

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Transform = tuple[float, float, float, float, float, float]
Edit = Callable[[Pixels, np.random.Generator], tuple[Pixels, Floats]]
"""What a kind does: uint8 [h, w] → uint8 [h', w'], and its 3 × 3 matrix in fractions."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
STAY = np.eye(3)
NOMINAL_SIDE = 256
"""Blurs and frequencies are stated for images of 256 pixels and scale with the image."""

MIRROR = np.array([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
TURN = np.array([[0.0, 1, 0], [-1, 0, 1], [0, 0, 1]])  # a quarter turn counter-clockwise: (x, y) → (y, 1 − x)


@dataclass(frozen=True)
class Sample:
    """A real image: MD5 of its bytes, collection, and uint8 [h, w] pixels."""

    image_id: str
    collection: str
    pixels: Pixels


def make_copy(pixels: Pixels, kind: str, seed: int) -> tuple[Pixels, Transform]:
    """A copy of `pixels` [h, w] of that kind, and the transform from source to copy; a function of its input.

    Raises:
        SettingsError: no such kind.
    """
    if kind not in KINDS:
        raise SettingsError(f"no kind of copy is called {kind!r}; there are {', '.join(KINDS)}")
    copy, matrix = KINDS[kind](pixels, np.random.default_rng(seed_for("copy", kind, seed)))
    a, b, c, d, e, f = (float(number) for number in matrix[:2].ravel())
    return np.ascontiguousarray(copy, np.uint8), (a, b, c, d, e, f)


def sample_images(folder: Path, count: int, key: str, collections: Sequence[str] = ()) -> list[Sample]:
    """`count` MD5-distinct decodable images below `folder`, drawn by content: any file order gives the same.

    The first folder below `folder` is the collection; equal parts are drawn from each. All, if `count` is 0.

    Raises:
        SettingsError: the folder has no images, or fewer readable ones than asked for.
    """
    found = {name: paths for name, paths in index_images(folder).items() if name in (collections or [name])}
    if not found:
        raise SettingsError(f"no images below {folder}; give --folder or FALX_DATASETS")
    samples: list[Sample] = []
    for place, collection in enumerate(sorted(found)):
        here = found[collection]
        order = sorted(here, key=lambda digest: (seed_for("sample", key, digest), digest))
        share = count // len(found) + (place < count % len(found)) if count else len(order)
        samples += _read_samples(((digest, here[digest]) for digest in order), collection, share)
    return samples


def list_kinds(names: Sequence[str] = ()) -> list[str]:
    """The kinds asked for, or all.

    Raises:
        SettingsError: one of them does not exist.
    """
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise SettingsError(f"no such kinds of copies: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return list(names or KINDS)


def warp_image(pixels: Pixels, transform: Sequence[float], shape: tuple[int, int]) -> Pixels:
    """`pixels` [h, w] carried by a transform in fractions to `shape` (h, w); black outside."""
    height, width = pixels.shape
    matrix = _to_pixels(shape[1], shape[0]) @ _complete(transform) @ np.linalg.inv(_to_pixels(width, height))
    return np.asarray(cv2.warpAffine(pixels, matrix[:2], shape[::-1], flags=cv2.INTER_LINEAR), np.uint8)


def _complete(transform: Sequence[float]) -> Floats:
    return np.vstack([np.reshape(np.asarray(transform, np.float64), (2, 3)), [0, 0, 1]])


def _to_pixels(width: int, height: int) -> Floats:
    """Fractions to pixel coordinates as OpenCV counts them: the centre of the first pixel is 0."""
    return np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1.0]])


@cache
def index_images(folder: Path) -> dict[str, dict[str, Path]]:
    """Collection → MD5 → the first path with these bytes, dot-folders left out."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in parts):
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            found.setdefault(parts[0], {}).setdefault(digest, path)
    return found


def _read_samples(items: Iterator[tuple[str, Path]], collection: str, count: int) -> list[Sample]:
    """The first `count` of `items` that decode."""
    samples: list[Sample] = []
    broken = ""
    for digest, path in items:
        if len(samples) == count:
            break
        try:
            samples.append(Sample(digest, collection, decode_image(path.read_bytes()).pixels))
        except DecodeError as error:
            broken = f"; {path}: {error}"
    if len(samples) < count:
        raise SettingsError(f"{collection} has {len(samples)} readable images, {count} are asked for{broken}")
    return samples


# Grey levels --------------------------------------------------------------------------------------------


def _save_jpeg(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    return _encode(pixels, int(rng.integers(30, 91))), STAY


def _encode(pixels: Pixels, quality: int) -> Pixels:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _brighten(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """Multiplied, or shifted with clipping: Keras' and Pillow's way, and that of image editors."""
    if rng.random() < 0.5:
        return _to_grey(pixels * rng.uniform(0.5, 1.6)), STAY
    return _to_grey(pixels + rng.choice([-1, 1]) * rng.uniform(10, 50)), STAY


def _stretch(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    mean = pixels.mean()
    return _to_grey((pixels - mean) * rng.uniform(0.5, 1.6) + mean), STAY


def _bend(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    gamma = np.exp(rng.uniform(np.log(0.5), np.log(2)))
    return _to_grey(255 * (pixels / 255) ** gamma), STAY


def _equalise(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    tiles = int(rng.choice([4, 8]))
    return np.asarray(cv2.createCLAHE(rng.uniform(2, 4), (tiles, tiles)).apply(pixels), np.uint8), STAY


def _equalise_whole(pixels: Pixels, _rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """One histogram for the whole picture: faint noise of the background becomes as bright as tissue."""
    return np.asarray(cv2.equalizeHist(pixels), np.uint8), STAY


def _blur(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    sigma = rng.uniform(0.5, 2) * max(pixels.shape) / NOMINAL_SIDE
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8), STAY


def _filter(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """Butterworth of order 2: a low pass at 40 to 90 cycles an image, or a high boost from 10 to 40."""
    height, width = pixels.shape
    down, across = np.meshgrid(np.fft.fftfreq(height) * height, np.fft.rfftfreq(width) * width, indexing="ij")
    radius = np.hypot(down, across)
    if rng.random() < 0.5:
        gain = 1 / (1 + (radius / rng.uniform(40, 90)) ** 4)
    else:
        gain = 1 + rng.uniform(0.3, 1.0) / (1 + (rng.uniform(10, 40) / np.maximum(radius, 1e-9)) ** 4)
    return _to_grey(np.fft.irfft2(np.fft.rfft2(pixels) * gain, s=pixels.shape)), STAY


def _darken_wavelet(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """One Haar level: the approximation darkened to 50 to 85 %, the details kept or raised to 1.5-fold."""
    height, width = (side - side % 2 for side in pixels.shape)
    even = pixels[:height, :width].astype(np.float64)
    mean = even.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    darker = mean * rng.uniform(0.5, 0.85) + (even - mean) * rng.uniform(1, 1.5)
    sides = np.diag([pixels.shape[1] / width, pixels.shape[0] / height, 1.0])
    return _to_grey(darker), sides


def _to_grey(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


# Geometry -----------------------------------------------------------------------------------------------


def _rescale(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """0.4 to 1.6 of the size, every other time with the aspect changed by up to a quarter, three filters."""
    scale = np.exp(rng.uniform(np.log(0.4), np.log(1.6)))
    aspect = np.exp(rng.uniform(-1, 1) * np.log(1.25) / 2) if rng.random() < 0.5 else 1.0
    height, width = pixels.shape
    size = max(round(width * scale * aspect), 32), max(round(height * scale / aspect), 32)
    smaller = [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]
    return np.asarray(cv2.resize(pixels, size, interpolation=int(rng.choice(smaller))), np.uint8), STAY


def _crop(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    height, width = pixels.shape
    left, right = (round(width * rng.uniform(0, 0.15)) for _ in "lr")
    top, bottom = (round(height * rng.uniform(0, 0.15)) for _ in "tb")
    across, down = width - left - right, height - top - bottom
    matrix = np.array([[width / across, 0, -left / across], [0, height / down, -top / down], [0, 0, 1]])
    return pixels[top : height - bottom, left : width - right], matrix


def _pad(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    height, width = pixels.shape
    left, right = (round(width * rng.uniform(0, 0.15)) for _ in "lr")
    top, bottom = (round(height * rng.uniform(0, 0.15)) for _ in "tb")
    grey = 0 if rng.random() < 0.5 else int(rng.integers(1, 256))
    wider = np.full((height + top + bottom, width + left + right), grey, np.uint8)
    wider[top : top + height, left : left + width] = pixels
    across, down = wider.shape[::-1]
    return wider, np.array([[width / across, 0, left / across], [0, height / down, top / down], [0, 0, 1]])


def _rotate(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
    """By up to 15° about the centre, at least 1°; the size stays, corners turn black."""
    height, width = pixels.shape
    angle = np.deg2rad(rng.choice([-1, 1]) * rng.uniform(1, 15))
    cosine, sine = np.cos(angle), np.sin(angle)
    middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1.0]])
    spin = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    sides = np.diag([width, height, 1.0])
    matrix = np.linalg.inv(sides) @ middle @ spin @ np.linalg.inv(middle) @ sides
    pixel = _to_pixels(width, height)
    affine = (pixel @ matrix @ np.linalg.inv(pixel))[:2]
    return np.asarray(
        cv2.warpAffine(pixels, affine, (width, height), flags=cv2.INTER_LINEAR), np.uint8
    ), matrix


def _mirror(pixels: Pixels, _rng: np.random.Generator) -> tuple[Pixels, Floats]:
    return pixels[:, ::-1], MIRROR


def _flip(pixels: Pixels, _rng: np.random.Generator) -> tuple[Pixels, Floats]:
    return pixels[::-1], np.array([[1.0, 0, 0], [0, -1, 1], [0, 0, 1]])


def _make_turn(quarters: int) -> Edit:
    def turn(pixels: Pixels, _rng: np.random.Generator) -> tuple[Pixels, Floats]:
        return np.rot90(pixels, quarters), np.linalg.matrix_power(TURN, quarters)

    return turn


# Combinations -------------------------------------------------------------------------------------------

SINGLE: dict[str, Edit] = {
    "jpeg": _save_jpeg,
    "rescale": _rescale,
    "brightness": _brighten,
    "contrast": _stretch,
    "gamma": _bend,
    "clahe": _equalise,
    "histogram": _equalise_whole,
    "blur": _blur,
    "butterworth": _filter,
    "wavelet_darkened": _darken_wavelet,
    "crop": _crop,
    "border": _pad,
    "rotation": _rotate,
    "mirror": _mirror,
    "flip": _flip,
    "turn90": _make_turn(1),
    "turn180": _make_turn(2),
    "turn270": _make_turn(3),
}
FAMILIES: tuple[tuple[str, ...], ...] = (
    ("mirror", "mirror", "mirror", "flip", "turn90", "turn180", "turn270"),
    ("rotation",),
    ("crop", "border"),
    ("rescale",),
    ("brightness", "contrast", "gamma", "wavelet_darkened"),
    ("clahe", "butterworth"),
    ("blur",),
)
"""A combination takes one edit from each of some families; mirroring is the commonest turn out there."""


def _make_combination(count: int) -> Edit:
    """`count` edits of different families in a random order, then saved as JPEG, as published images are."""

    def combine(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
        matrix = STAY
        for family in rng.permutation(len(FAMILIES))[:count]:
            pixels, step = SINGLE[str(rng.choice(FAMILIES[family]))](np.ascontiguousarray(pixels), rng)
            matrix = step @ matrix
        return _encode(np.ascontiguousarray(pixels), int(rng.integers(50, 96))), matrix

    return combine


def _chain(*names: str) -> Edit:
    def chain(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, Floats]:
        matrix = STAY
        for name in names:
            pixels, step = SINGLE[name](np.ascontiguousarray(pixels), rng)
            matrix = step @ matrix
        return pixels, matrix

    return chain


KINDS: dict[str, Edit] = {
    **SINGLE,
    "mirror+jpeg": _chain("mirror", "jpeg"),
    "clahe+butterworth": _chain("clahe", "butterworth"),
    "border+mirror+histogram": _chain("border", "mirror", "histogram"),
    "mirror+rotation+gamma+jpeg": _chain("mirror", "rotation", "gamma", "jpeg"),
    "two": _make_combination(2),
    "three": _make_combination(3),
}
"""Kinds of copies, by name; `two` and `three` are random combinations, saved as JPEG."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=os.environ.get("FALX_DATASETS"))
    parser.add_argument("--kinds", nargs="*", default=[], help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--sheet", type=Path, required=True, help="PNG to write")
    options = parser.parse_args()
    if options.folder is None:
        raise SettingsError("give --folder, or set FALX_DATASETS to the folder of raw collections")
    rows = []
    for kind in list_kinds(options.kinds):
        row = []
        for sample in sample_images(options.folder, 3, kind):
            copy, transform = make_copy(sample.pixels, kind, seed_for(sample.image_id))
            carried = warp_image(sample.pixels, transform, copy.shape)
            row += [resize_grey(np.ascontiguousarray(part), 128) for part in (sample.pixels, copy, carried)]
        rows.append(np.hstack(row))
        cv2.putText(rows[-1], kind, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
    options.sheet.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
    print(f"{len(rows)} kinds on {options.sheet}")


if __name__ == "__main__":
    main()
