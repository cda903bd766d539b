"""A bad collection among the phantoms: mislabelled, from another scanner, with leaks from what is there."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.atomic import replacing_folder

FOLDERS = ("glioma", "meningioma", "pituitary", "notumor")
LEAKY = ("glioma_tumor", "meningioma_tumor", "pituitary_tumor", "no_tumor")
GAMMA = 0.45
"""Exponent of the grey values: much brighter, as another scanner's window would be."""
LEAKS = 6


def spoil_collection(source: Path, sound: Path, target: Path) -> dict[str, int]:
    """Write a collection of patients of its own with every label wrong, brighter, and copies under wrong
    labels.

    A function of the files in both folders alone. Truncated files and litter are left out.

    Args:
        source: a phantom `masoudnickparvar` of patients whom nobody else shows.
        sound: a phantom `sartajbhuvaji` that is there already; the first `LEAKS` training images of each
            class leak from it, byte for byte.
        target: the folder to write; it must not exist.

    Returns:
        Files written, by kind: `mislabelled` and `leaks`.
    """
    counts = {"mislabelled": 0, "leaks": 0}
    with replacing_folder(target) as temporary:
        for part in ("Training", "Testing"):
            for index, name in enumerate(FOLDERS):
                wrong = temporary / part / FOLDERS[(index + 1) % len(FOLDERS)]
                wrong.mkdir(parents=True)
                for path in _list_files(source / part / name):
                    counts["mislabelled"] += _brighten(path, wrong / f"export_{path.stem}.png")
                if part == "Training":
                    for path in _list_files(sound / part / LEAKY[index])[:LEAKS]:
                        shutil.copyfile(path, wrong / f"copy_{path.name}")
                        counts["leaks"] += 1
    return counts


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jpg") if path.stat().st_size)


def _brighten(path: Path, target: Path) -> int:
    """Write the brighter picture; 1, or 0 where the source cannot be read."""
    try:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"), np.float64) / 255
    except OSError:  # planted truncated files
        return 0
    Image.fromarray((255 * grey**GAMMA).round().astype(np.uint8)).save(target)
    return 1
