"""Decoded images, once and for all: one memory-mapped uint8 array a set of images and size.

`<root>/<key>.npy` holds the pixels [n, size, size], `<key>.json` the image ids in the same order; it is
written last, so its presence means complete. The key is a digest of size, sorted image ids, the decoder's
code and the versions of the libraries behind it: a cache never goes stale, and whoever builds it gets the
same bytes.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL
from numpy.typing import NDArray

from pipeline.atomic import replacing_file, write_text
from pipeline.digests import digest_json, digest_sources
from pipeline.errors import FalxError, SourceError, TableError
from pipeline.imaging.decode import decode_image, resize_grey

_log = logging.getLogger(__name__)

DECODER = ("decode.py", "dicom.py", "jpeg.py", "matlab.py", "windows.py")
"""Every module of this folder that has a say in what a file's bytes become."""

_CODE = digest_sources(Path(__file__).with_name(name) for name in DECODER)
_VERSIONS = [PIL.__version__, cv2.__version__, version("h5py"), version("pydicom")]
_IMAGES_A_WORKER = 64


@dataclass(frozen=True)
class ImageCache:
    """An open cache.

    Attributes:
        pixels: grey uint8 [n, size, size], memory-mapped and read-only; row i shows `image_ids[i]`.
        image_ids: MD5 of each image's file, sorted.
    """

    pixels: NDArray[np.uint8]
    image_ids: list[str]

    @property
    def size(self) -> int:
        """Side of an image, pixels."""
        return int(self.pixels.shape[1])

    def rows_of(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of `image_ids` in `pixels`: int64 [len(image_ids)], in the order asked for.

        Raises:
            TableError: an image is not in the cache.
        """
        known, wanted = np.array(self.image_ids, dtype=str), np.array(list(image_ids), dtype=str)
        rows = np.searchsorted(known, wanted).astype(np.int64)
        found = rows < len(known)
        found[found] = known[rows[found]] == wanted[found]
        if not found.all():
            raise TableError(
                f"{int((~found).sum())} of {len(wanted)} images are not in the cache of {len(known)}, "
                f"the first is {str(wanted[~found][0])!r}. Open the cache with rows that hold every image."
            )
        return rows

    def read(self, image_ids: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels of `image_ids`, copied into memory: uint8 [len(image_ids), size, size].

        Raises:
            TableError: an image is not in the cache.
        """
        return np.array(self.pixels[self.rows_of(image_ids)])


def open_cache(
    rows: pd.DataFrame, folders: Mapping[str, Path], *, size: int, root: Path, workers: int = 1
) -> ImageCache:
    """Open the cache of the images in `rows`, building it where it is missing or damaged.

    Args:
        rows: columns image_id, collection, path; an image that several files hold is read from the first.
        folders: folder of each collection.
        size: side of the square images, pixels.
        root: folder of the caches.
        workers: threads that decode; they change the time taken and nothing else.

    Returns:
        The cache; memory use while building is bounded by `workers`, not by the number of images.

    Raises:
        SourceError: a collection has no folder, a file is gone, or its bytes are not those of the inventory.
        DecodeError: a file is no image; the inventory would have set it aside.
        FalxError: the cache cannot be written, for want of room for example.
    """
    files = _list_files(rows, folders)
    key = digest_json([size, list(files), _CODE, _VERSIONS])
    path = root / f"{size}-{key[:24]}.npy"
    cache = _open_whole(path, list(files), size)
    if cache is not None:
        return cache
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _only_builder(path):
            cache = _open_whole(path, list(files), size)
            if cache is None:
                _build(path, files, size, max(1, workers))
                cache = _open_whole(path, list(files), size)
    except OSError as error:
        raise FalxError(_explain_failure(path, len(files), size, error)) from error
    if cache is None:
        raise FalxError(f"the image cache {path} was written and cannot be read back; check the disk")
    return cache


def _list_files(rows: pd.DataFrame, folders: Mapping[str, Path]) -> dict[str, Path]:
    missing = sorted(set(rows["collection"]) - set(folders))
    if missing:
        raise SourceError(f"no folder is known for {', '.join(missing)}; known: {', '.join(sorted(folders))}")
    ordered = rows.sort_values(["image_id", "collection", "path"]).drop_duplicates("image_id")
    names = (ordered[column].astype(str).tolist() for column in ("image_id", "collection", "path"))
    return {image_id: folders[collection] / path for image_id, collection, path in zip(*names, strict=True)}


def _open_whole(path: Path, image_ids: list[str], size: int) -> ImageCache | None:
    index = path.with_suffix(".json")
    if not index.exists():
        return None
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))["image_ids"]
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        _log.warning("image cache %s cannot be read and is built anew: %s", path, error)
        return None
    shape = (len(image_ids), size, size)
    length = path.stat().st_size - int(np.prod(shape))
    if stored != image_ids or pixels.shape != shape or pixels.dtype != np.uint8 or length != pixels.offset:
        _log.warning("image cache %s is damaged (index, shape or length) and is built anew", path)
        return None
    return ImageCache(pixels, image_ids)


def _build(path: Path, files: Mapping[str, Path], size: int, workers: int) -> None:
    _log.info("building image cache %s: %d images at %d pixels", path, len(files), size)
    with replacing_file(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size)}
        np.lib.format.write_array_header_1_0(stream, header)
        for planes in _read_planes(list(files.items()), size, workers):
            stream.write(planes.tobytes())
    write_text(path.with_suffix(".json"), json.dumps({"size": size, "image_ids": list(files)}, indent=0))


def _read_planes(files: Sequence[tuple[str, Path]], size: int, workers: int) -> Iterator[NDArray[np.uint8]]:
    step = _IMAGES_A_WORKER * workers
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for first in range(0, len(files), step):
            part = files[first : first + step]
            yield np.stack(list(pool.map(lambda file: _read_plane(file[0], file[1], size), part)))


def _read_plane(image_id: str, path: Path, size: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); take the inventory again") from error
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != image_id:
        raise SourceError(
            f"{path} changed since the inventory: its MD5 is {found}, {image_id} was recorded. "
            "Put the file back, or take the inventory again."
        )
    return resize_grey(decode_image(data, path.name).pixels, size)


@contextlib.contextmanager
def _only_builder(path: Path) -> Iterator[None]:
    # The lock dies with its holder: what a killed builder left behind is known to be garbage.
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that builds image cache %s", path)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in path.parent.glob(f".{path.stem}.*.part"):
            leftover.unlink(missing_ok=True)
        yield


def _explain_failure(path: Path, count: int, size: int, error: OSError) -> str:
    needed = count * size * size / 1e6
    room = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free / 1e6
    return (
        f"the image cache {path} cannot be written: {error}. It takes {needed:,.1f} MB, {room:,.1f} MB are "
        "free there; make room, or move FALX_HOME to a larger disk."
    )
