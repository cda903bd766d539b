"""The image cache: right pixels, whole or absent, rebuilt when damaged, safe under concurrent builders."""

import hashlib
import json
import logging
import multiprocessing
import re
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DecodeError, FalxError, SourceError, TableError
from pipeline.imaging import cache as cache_module
from pipeline.imaging.cache import DECODER, ImageCache, open_cache
from pipeline.imaging.decode import decode_image, resize_grey

Collection = tuple[pd.DataFrame, Path]


def open_shelf(collection: Collection, root: Path, **options: int) -> ImageCache:
    rows, folder = collection
    return open_cache(rows, {"shelf": folder}, root=root, **({"size": 32} | options))


def only(root: Path, pattern: str) -> Path:
    [path] = root.glob(pattern)
    return path


def test_the_key_holds_every_module_that_decoding_imports() -> None:
    folder = Path(cache_module.__file__).parent
    found, open_ends = set(), ["decode.py"]
    while open_ends:
        found.add(module := open_ends.pop())
        source = (folder / module).read_text(encoding="utf-8")
        named = re.findall(r"from pipeline\.imaging\.(\w+) import|from pipeline\.imaging import (.+)", source)
        names = {f"{name.strip()}.py" for pair in named for name in (pair[0] or pair[1]).split(",")}
        open_ends += sorted(names - found)
    assert sorted(found) == sorted(DECODER)


def test_another_decoder_or_library_has_another_cache(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_shelf(collection, tmp_path / "cache")
    for name, value in (("_CODE", "another"), ("_VERSIONS", ["another"])):
        monkeypatch.setattr(cache_module, name, value)
        open_shelf(collection, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_pixels_are_the_decoded_files_by_image_id(collection: Collection, tmp_path: Path) -> None:
    rows, folder = collection
    cache = open_shelf(collection, tmp_path / "cache")
    assert cache.image_ids == sorted(rows["image_id"])
    assert (cache.pixels.shape, cache.pixels.dtype, cache.size) == ((12, 32, 32), np.uint8, 32)
    for image_id, path in zip(rows["image_id"], rows["path"], strict=True):
        expected = resize_grey(decode_image((folder / path).read_bytes()).pixels, 32)
        assert (cache.read([image_id])[0] == expected).all()


def test_pixels_are_mapped_and_read_only(collection: Collection, tmp_path: Path) -> None:
    cache = open_shelf(collection, tmp_path / "cache")
    assert isinstance(cache.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0, 0, 0] = 1
    assert cache.read(cache.image_ids[:2]).flags.writeable


def test_workers_and_row_order_change_no_byte(collection: Collection, tmp_path: Path) -> None:
    rows, folder = collection
    open_shelf(collection, tmp_path / "one")
    open_shelf((rows.sample(frac=1, random_state=3), folder), tmp_path / "four", workers=4)
    one, four = only(tmp_path / "one", "*.npy"), only(tmp_path / "four", "*.npy")
    assert one.name == four.name
    assert one.read_bytes() == four.read_bytes()
    assert one.with_suffix(".json").read_bytes() == four.with_suffix(".json").read_bytes()


def test_more_images_than_a_part_keep_their_order(
    collection: Collection, tmp_path: Path, monkeypatch
) -> None:
    whole = open_shelf(collection, tmp_path / "whole")
    monkeypatch.setattr(cache_module, "_IMAGES_A_WORKER", 2)
    parts = open_shelf(collection, tmp_path / "parts", workers=2)
    assert (whole.pixels == parts.pixels).all()


def test_a_whole_cache_is_opened_without_its_files(collection: Collection, tmp_path: Path) -> None:
    first = open_shelf(collection, tmp_path / "cache")
    second = open_cache(collection[0], {"shelf": tmp_path / "gone"}, size=32, root=tmp_path / "cache")
    assert (first.pixels == second.pixels).all()


def test_size_and_members_choose_the_file(collection: Collection, tmp_path: Path) -> None:
    rows, folder = collection
    open_shelf(collection, tmp_path / "cache")
    open_shelf(collection, tmp_path / "cache", size=16)
    open_shelf((rows.iloc[:5], folder), tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_an_image_in_several_files_is_held_once(collection: Collection, tmp_path: Path) -> None:
    rows, folder = collection
    copy = rows.iloc[[0]].assign(path="z.png")
    (folder / "z.png").write_bytes((folder / rows["path"][0]).read_bytes())
    assert len(open_shelf((pd.concat([rows, copy]), folder), tmp_path / "cache").image_ids) == 12


def test_no_images_make_an_empty_cache(collection: Collection, tmp_path: Path) -> None:
    cache = open_shelf((collection[0].iloc[:0], collection[1]), tmp_path / "cache")
    assert cache.pixels.shape == (0, 32, 32)
    assert cache.rows_of([]).tolist() == []
    with pytest.raises(TableError, match="1 of 1 images are not in the cache of 0"):
        cache.rows_of(["a"])


def test_rows_come_in_the_order_asked_for(collection: Collection, tmp_path: Path) -> None:
    cache = open_shelf(collection, tmp_path / "cache")
    rows = cache.rows_of([cache.image_ids[7], cache.image_ids[0], cache.image_ids[7]])
    assert rows.dtype == np.int64
    assert rows.tolist() == [7, 0, 7]


@pytest.mark.parametrize("stranger", ["0" * 31, "f" * 40, "zz", ""])
def test_an_unknown_image_is_named(collection: Collection, tmp_path: Path, stranger: str) -> None:
    cache = open_shelf(collection, tmp_path / "cache")
    with pytest.raises(
        TableError, match=f"1 of 2 images are not in the cache of 12, the first is {stranger!r}"
    ):
        cache.rows_of([cache.image_ids[0], stranger])


def test_changed_bytes_are_refused(collection: Collection, tmp_path: Path) -> None:
    rows, folder = collection
    path = folder / rows["path"][4]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SourceError, match=rf"{path.name} changed since the inventory.*{rows['image_id'][4]}"):
        open_shelf(collection, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert not list((tmp_path / "cache").glob(".*"))


def test_a_missing_file_is_named(collection: Collection, tmp_path: Path) -> None:
    (collection[1] / collection[0]["path"][4]).unlink()
    with pytest.raises(SourceError, match=r"4\.png cannot be read \(No such file"):
        open_shelf(collection, tmp_path / "cache")


def test_a_collection_without_a_folder_is_named(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder is known for shelf; known: other"):
        open_cache(collection[0], {"other": tmp_path}, size=32, root=tmp_path / "cache")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/a.png").write_bytes(b"no picture")
    image_id = hashlib.md5(b"no picture", usedforsecurity=False).hexdigest()
    rows = pd.DataFrame([(image_id, "shelf", "a.png")], columns=["image_id", "collection", "path"])
    with pytest.raises(DecodeError):
        open_cache(rows, {"shelf": tmp_path / "shelf"}, size=32, root=tmp_path / "cache")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def spoil_header(path: Path) -> None:
    path.write_bytes(b"rubbish" + path.read_bytes()[7:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def swap_ids(path: Path) -> None:
    index = path.with_suffix(".json")
    stored = json.loads(index.read_text())
    index.write_text(json.dumps(stored | {"image_ids": stored["image_ids"][::-1]}))


def spoil_index(path: Path) -> None:
    path.with_suffix(".json").write_text("{")


def unlist_index(path: Path) -> None:
    path.with_suffix(".json").write_text("[]")


@pytest.mark.parametrize(
    "damage", [cut, lengthen, spoil_header, empty, remove, swap_ids, spoil_index, unlist_index]
)
def test_a_damaged_cache_is_rebuilt_and_said_so(
    collection: Collection, tmp_path: Path, caplog, damage
) -> None:
    root = tmp_path / "cache"
    open_shelf(collection, root)
    path = only(root, "*.npy")
    whole = path.read_bytes()
    damage(path)
    with caplog.at_level(logging.WARNING):
        cache = open_shelf(collection, root)
    assert "built anew" in caplog.text
    assert path.name in caplog.text
    assert path.read_bytes() == whole
    assert len(cache.image_ids) == 12


def test_without_an_index_nothing_counts_as_complete(collection: Collection, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    open_shelf(collection, root)
    only(root, "*.json").unlink()
    only(root, "*.npy").write_bytes(b"half")
    assert len(open_shelf(collection, root).pixels) == 12


def test_what_a_killed_builder_left_is_removed(collection: Collection, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    open_shelf(collection, root)
    path = only(root, "*.npy")
    leftover = root / f".{path.name}.0badcafe.part"
    other = root / ".32-other.npy.0badcafe.part"
    leftover.write_bytes(b"half")
    other.write_bytes(b"half")
    path.unlink()
    open_shelf(collection, root)
    assert not leftover.exists()
    assert other.exists()


def test_threads_that_build_at_once_agree(collection: Collection, tmp_path: Path) -> None:
    root, found = tmp_path / "cache", []
    threads = [threading.Thread(target=lambda: found.append(open_shelf(collection, root))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all((cache.pixels == found[0].pixels).all() for cache in found)
    assert len(list(root.glob("*.npy"))) == 1
    assert not list(root.glob(".*"))


def _build_and_report(rows: pd.DataFrame, folder: Path, root: Path, queue) -> None:
    pixels = open_cache(rows, {"shelf": folder}, size=32, root=root, workers=2).pixels
    queue.put(int(pixels.astype(np.int64).sum()))


@pytest.mark.slow
def test_processes_that_build_at_once_agree(collection: Collection, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (*collection, tmp_path / "cache", queue)
    processes = [context.Process(target=_build_and_report, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    sums = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sums == {int(open_shelf(collection, tmp_path / "cache").pixels.astype(np.int64).sum())}


@pytest.fixture
def small_files() -> Iterator[None]:
    """Writing past 4 kB fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_without_room_is_a_clear_error(collection: Collection, tmp_path: Path, small_files) -> None:
    with pytest.raises(FalxError, match=r"cannot be written: .*It takes 0\.0 MB, .* make room"):
        open_shelf(collection, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert not list((tmp_path / "cache").glob(".*"))
