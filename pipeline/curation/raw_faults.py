"""Faults on disk: a file lost, changed or added in a copy of a raw folder, for the real readers to meet."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.curation.faults import Fault, World, choose_row, list_used, name_row
from pipeline.imaging.decode import decode_image
from pipeline.labels import TUMOURS

Pixels = NDArray[np.uint8]

ANGLE = 8.0
SIDE = 200


def lose_file(world: World, seed: int, scratch: Path) -> Fault:
    """The file of a training image is gone."""
    name, path = _choose_file(world, seed, "lost")
    changed = _copy_folder(world, name, scratch)
    (changed.folders[name] / path).unlink()
    return Fault(f"{name}/{path} removed from the raw folder", changed)


def add_file(world: World, seed: int, scratch: Path) -> Fault:
    """The file of a training image lies there once more: one file too many."""
    name, path = _choose_file(world, seed, "count")
    changed = _copy_folder(world, name, scratch)
    target = f"{path.rpartition('/')[0]}/once_more.jpg"
    shutil.copyfile(changed.folders[name] / path, changed.folders[name] / target)
    return Fault(f"{name}/{path} lies there once more, as {target.rpartition('/')[2]}", changed)


def change_bytes(world: World, seed: int, scratch: Path) -> Fault:
    """A training image, encoded anew in place: the same name, the same count, other bytes."""
    name, path = _choose_file(world, seed, "bytes")
    changed = _copy_folder(world, name, scratch)
    file = changed.folders[name] / path
    file.write_bytes(_encode(_open(file), 61))
    return Fault(f"{name}/{path} encoded anew in place", changed)


def add_unknown_class(world: World, seed: int, scratch: Path) -> Fault:
    """A class folder that the label map does not know."""
    name, path = _choose_file(world, seed, "unmapped")
    changed = _copy_folder(world, name, scratch)
    target = f"{path.rsplit('/', 2)[0]}/astrocytoma/planted.jpg"
    pixels = _open(changed.folders[name] / path)
    _write(changed.folders[name] / target, _encode(pixels[::-1], 80))
    return Fault(
        f"{name}/{target}, a class that the label map lacks", changed, *_name_added(f"{name}/{target}")
    )


def leak_mirrored(world: World, seed: int, scratch: Path) -> Fault:
    """A test picture mirrored, re-scaled, darkened and re-encoded, filed for training."""
    return _leak_copy(world, seed, scratch, 0.0, "mirrored and re-encoded")


def leak_rotated(world: World, seed: int, scratch: Path) -> Fault:
    """A test picture mirrored and rotated, filed for training."""
    return _leak_copy(world, seed, scratch, ANGLE, f"mirrored and rotated by {ANGLE:g} degrees")


def contradict_reference(world: World, seed: int, scratch: Path) -> Fault:
    """A copy of a training picture that the reference knows, filed as another tumour."""
    return _contradict(world, seed, scratch, known=True)


def contradict_copies(world: World, seed: int, scratch: Path) -> Fault:
    """A copy of a training picture that no reference knows, filed as another tumour: nothing decides."""
    return _contradict(world, seed, scratch, known=False)


def _leak_copy(world: World, seed: int, scratch: Path, angle: float, how: str) -> Fault:
    row = choose_row(list_used(world, "test"), seed, "copy")
    pixels = _open(world.folders[row["collection"]] / row["path"])[:, ::-1]
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (width, height)) if angle else pixels
    small = cv2.resize(turned, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    place, changed = _file_under(world, str(row["label"]), _encode(small * 0.85, 80), scratch)
    return Fault(f"{place}: {name_row(row)}, which is in test, {how}", changed, *_name_added(place))


def _contradict(world: World, seed: int, scratch: Path, *, known: bool) -> Fault:
    used = list_used(world, "train").merge(world.curated.patients, on="image_id")
    used = used[(used["reference_label"].notna() == known) & used["label"].isin(TUMOURS)]
    row = choose_row(used, seed, "label")
    wrong = TUMOURS[(TUMOURS.index(row["label"]) + 1) % len(TUMOURS)]
    pixels = _open(world.folders[row["collection"]] / row["path"])
    place, changed = _file_under(world, wrong, _encode(pixels, 71), scratch)
    whose = "by the reference" if known else "by its folder alone"
    words = f"{place}: {name_row(row)}, a {row['label']} {whose}, filed as {wrong}"
    return Fault(words, changed, *_name_added(place, name_row(row)))


def _name_added(place: str, *others: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (place,), (place, *others)


def _choose_file(world: World, seed: int, what: str) -> tuple[str, str]:
    """Collection and path of a training image of a collection whose folders are the labels."""
    used = list_used(world, "train")
    used = used[used["collection"].isin(_list_filed(world)) & used["path"].str.endswith(".jpg")]
    row = choose_row(used, seed, what)
    return str(row["collection"]), str(row["path"])


def _list_filed(world: World) -> list[str]:
    return sorted(
        name
        for name in world.folders
        if any(folder.split == "train" for folder in world.collections[name].layout.folders)
    )


def _file_under(world: World, label: str, data: bytes, scratch: Path) -> tuple[str, World]:
    """A new file in the training folder of a label, in a collection that has both; `collection/path`."""
    name = _list_filed(world)[-1]
    entry = world.collections[name]
    home = next(folder.path for folder in entry.layout.folders if folder.split == "train")
    spelled = next(spelled for spelled, ours in entry.labels.items() if ours == label)
    changed = _copy_folder(world, name, scratch)
    path = f"{home}/{spelled}/planted.jpg"
    _write(changed.folders[name] / path, data)
    return f"{name}/{path}", changed


def _copy_folder(world: World, name: str, scratch: Path) -> World:
    folder = scratch / name
    shutil.copytree(world.folders[name], folder, symlinks=True)
    return replace(world, folders={**world.folders, name: folder})


def _open(path: Path) -> Pixels:
    return decode_image(path.read_bytes(), path.name).pixels


def _encode(pixels: NDArray[np.generic], quality: int) -> bytes:
    data = cv2.imencode(".jpg", np.asarray(pixels, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return bytes(data.tobytes())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
