"""MATLAB v7.3 files, which are HDF5: the numbers of `cjdata`, and nothing that lies outside the bytes."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DecodeError

MAGIC = b"\x89HDF\r\n\x1a\n"
HDF5_STARTS = (0, 512)
"""Where HDF5 may begin: MATLAB puts 512 bytes of its own before it."""


@contextlib.contextmanager
def open_matlab(data: bytes) -> Iterator[h5py.Group]:
    """Open the `cjdata` group of a MATLAB v7.3 file that lies in memory.

    Raises:
        DecodeError: `not_an_image` where the file holds no `cjdata`.
        OSError: the bytes are no whole HDF5 file.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_file_image(data)
    # HDF5 takes two files in memory for one where their names are equal, so each needs its own.
    with h5py.File(h5py.h5f.open(uuid4().hex.encode(), h5py.h5f.ACC_RDONLY, access)) as file:
        link = file.get("cjdata", getlink=True)
        group = file["cjdata"] if isinstance(link, h5py.HardLink) else None  # others lead to other files
        if not isinstance(group, h5py.Group):
            raise DecodeError("not_an_image", f"MAT: no cjdata in it; it holds {sorted(file)[:8]}")
        yield group


def read_matlab(group: h5py.Group, field: str, most: int) -> NDArray[Any]:
    """Read a numeric array of `cjdata`, at most `most` numbers, as stored (MATLAB's axes are reversed).

    Raises:
        DecodeError: `not_an_image` where there is no such field, `corrupt` where it is no plain array of
            numbers inside this file, `too_large`.
    """
    return np.asarray(_find_array(group, field, most)[()])


def measure_matlab(group: h5py.Group, field: str) -> tuple[int, ...]:
    """The sides of a numeric array of `cjdata`, as stored; raises as `read_matlab` does."""
    return tuple(int(side) for side in _find_array(group, field, None).shape)


def _find_array(group: h5py.Group, field: str, most: int | None) -> h5py.Dataset:
    link = group.get(field, getlink=True)
    if link is None:
        raise DecodeError("not_an_image", f"MAT: cjdata/{field} is missing; there are {sorted(group)[:8]}")
    found = group[field] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise DecodeError("corrupt", f"MAT: cjdata/{field} is no plain array")
    if found.dtype.kind not in "biuf" or found.shape is None:
        raise DecodeError("corrupt", f"MAT: cjdata/{field} holds {found.dtype}, no numbers")
    chunk = math.prod(int(side) for side in found.chunks or (0,))
    if most is not None and max(int(found.size), chunk) > most:
        raise DecodeError("too_large", f"MAT: cjdata/{field} is {found.shape}; at most {most} numbers")
    return found
