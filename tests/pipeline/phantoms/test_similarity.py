"""Plain copies look alike and neighbouring slices do not, by NCC of 64-pixel thumbnails; hard ones do not."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.phantoms import Key, Planted, read_key
from pipeline.phantoms.hardening import HARD_STEPS

ACCEPT = 0.985


class Measured(NamedTuple):
    images: list[Planted]
    upright: np.ndarray
    mirrored: np.ndarray


def measure(root: Path, key: Key) -> Measured:
    """Normalised correlation of all pairs of 64-pixel thumbnails, [n, n], in both orientations."""
    plain = [file for file in key.images() if not file.foreign and not set(file.how) & set(HARD_STEPS)]
    images = list({file.md5: file for file in plain}.values())
    thumbnails = np.stack(
        [
            resize_grey(decode_image((root / file.collection / file.path).read_bytes()).pixels, 64)
            for file in images
        ]
    )
    rows, turned = normalise(thumbnails), normalise(thumbnails[:, :, ::-1])
    return Measured(images, rows @ rows.T, rows @ turned.T)


def normalise(thumbnails: np.ndarray) -> np.ndarray:
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def check(measured: Measured) -> None:
    images, upright, mirrored = measured
    picture = np.array([file.picture for file in images])
    turned = np.array([file.mirrored for file in images])
    patient = np.array([file.patient for file in images])
    pairs = np.triu(np.ones((len(images), len(images)), bool), 1)
    copies = (picture[:, None] == picture) & pairs
    said = np.where(turned[:, None] == turned, upright, mirrored)
    other_way = np.where(turned[:, None] == turned, mirrored, upright)
    assert copies.sum() > 100
    assert said[copies].min() >= ACCEPT
    assert (said[copies] > other_way[copies]).all(), "no picture is its own mirror image"
    best = np.maximum(upright, mirrored)
    neighbours = ~copies & (patient[:, None] == patient) & pairs
    assert neighbours.sum() > 100
    assert best[neighbours].max() < ACCEPT
    assert best[(patient[:, None] != patient) & pairs].max() < ACCEPT


def test_hard_copies_do_not_correlate(root: Path, key: Key) -> None:
    """Of those that are moved, most lie below the threshold: that is what makes them hard."""
    moved = {"rotated", "cropped", "bordered", "turned"}
    scores = []
    for file in key.images():
        if moved & set(file.how):
            source = next(one for one in key.images() if one.picture == file.picture and one.md5 != file.md5)
            pair = [
                decode_image((root / one.collection / one.path).read_bytes()).pixels for one in (source, file)
            ]
            rows = normalise(np.stack([resize_grey(pixels, 64) for pixels in pair]))
            turned = normalise(np.stack([resize_grey(pixels[:, ::-1], 64) for pixels in pair]))
            scores.append(max(rows[0] @ rows[1], rows[0] @ turned[1]))
    assert len(scores) >= 15
    assert np.mean(np.array(scores) < ACCEPT) > 0.9


def test_copies_correlate_and_neighbours_do_not(root: Path, key: Key) -> None:
    check(measure(root, key))


@pytest.mark.slow
def test_copies_correlate_and_neighbours_do_not_at_full_scale(full_root: Path) -> None:
    check(measure(full_root, read_key(full_root / "key.json")))
