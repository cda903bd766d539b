"""MATLAB files give the numbers that lie in their own bytes, and nothing else."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.errors import DecodeError
from pipeline.imaging.decode import decode_image
from pipeline.imaging.matlab import measure_matlab, open_matlab, read_matlab

NUMBERS = np.arange(12, dtype=np.int16).reshape(4, 3)


def build(fill: Callable[[h5py.Group], object], group: str = "cjdata") -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        fill(file.create_group(group))
    return stream.getvalue()


def refuse(data: bytes, field: str = "image", most: int = 100) -> DecodeError:
    with pytest.raises(DecodeError) as caught, open_matlab(data) as group:
        read_matlab(group, field, most)
    return caught.value


def test_fields_are_read_as_stored() -> None:
    data = build(lambda group: group.create_dataset("image", data=NUMBERS))
    with open_matlab(data) as group:
        assert read_matlab(group, "image", 12).tolist() == NUMBERS.tolist()
        assert measure_matlab(group, "image") == (4, 3)


def test_files_open_at_once_do_not_mix() -> None:
    """HDF5 would take files in memory for one where they had one name."""
    files = [build(lambda group, i=i: group.create_dataset("image", data=NUMBERS + i)) for i in range(8)]
    with open_matlab(files[0]) as first, open_matlab(files[1]) as second:
        assert read_matlab(first, "image", 12)[0, 0] == 0
        assert read_matlab(second, "image", 12)[0, 0] == 1

    def look(data: bytes) -> int:
        with open_matlab(data) as group:
            return int(read_matlab(group, "image", 12)[0, 0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, files * 10)) == list(range(8)) * 10


def test_a_file_without_cjdata_names_what_it_holds() -> None:
    error = refuse(build(lambda group: group.create_dataset("image", data=NUMBERS), group="other"))
    assert (error.reason, error.detail) == ("not_an_image", "MAT: no cjdata in it; it holds ['other']")


def test_a_missing_field_names_those_that_are_there() -> None:
    error = refuse(build(lambda group: group.create_dataset("label", data=[1])))
    assert error.reason == "not_an_image"
    assert "['label']" in error.detail


def test_too_many_numbers_are_not_read() -> None:
    error = refuse(build(lambda group: group.create_dataset("image", data=NUMBERS)), most=11)
    assert error.reason == "too_large"
    assert "(4, 3)" in error.detail


def test_a_chunk_larger_than_the_picture_is_not_unpacked() -> None:
    def fill(group: h5py.Group) -> None:
        group.create_dataset("image", shape=(2, 2), maxshape=(None, None), chunks=(4096, 4096), dtype="i2")

    assert refuse(build(fill)).reason == "too_large"


@pytest.mark.parametrize("values", [np.array([[1j]]), np.array([b"text"]), np.zeros(2, [("a", "i2")])])
def test_what_is_no_number_is_corrupt(values: np.ndarray) -> None:
    error = refuse(build(lambda group: group.create_dataset("image", data=values)))
    assert error.reason == "corrupt"
    assert "no numbers" in error.detail


def test_a_group_in_place_of_an_array_is_corrupt() -> None:
    assert refuse(build(lambda group: group.create_group("image"))).reason == "corrupt"


def test_nothing_outside_the_bytes_is_read(tmp_path: Path) -> None:
    """Links, external storage and virtual arrays could show any file of this machine as a picture."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["cjdata/image"] = NUMBERS

    def link(group: h5py.Group) -> None:
        group["image"] = h5py.ExternalLink(str(secret), "cjdata/image")

    def soft(group: h5py.Group) -> None:
        group["image"] = h5py.SoftLink("/cjdata")

    def external(group: h5py.Group) -> None:
        group.create_dataset("image", (4, 3), "i2", external=[(str(secret), 0, 24)])

    def virtual(group: h5py.Group) -> None:
        layout = h5py.VirtualLayout((4, 3), "i2")
        layout[...] = h5py.VirtualSource(str(secret), "cjdata/image", shape=(4, 3))
        group.create_virtual_dataset("image", layout)

    for fill in (link, soft, external, virtual):
        error = refuse(build(fill))
        assert (error.reason, error.detail) == ("corrupt", "MAT: cjdata/image is no plain array")

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["cjdata"] = h5py.ExternalLink(str(secret), "cjdata")
    assert refuse(stream.getvalue()).reason == "not_an_image"
    with pytest.raises(DecodeError, match="no cjdata"):
        decode_image(stream.getvalue())


def test_opening_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_matlab(build(lambda group: group.create_dataset("image", data=NUMBERS))) as group:
        assert measure_matlab(group, "image") == (4, 3)
    assert list(tmp_path.iterdir()) == []
