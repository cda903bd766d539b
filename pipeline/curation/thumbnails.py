"""Thumbnails as arrays: what the search for same pictures looks at."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableError

SIDE = 128

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


Rows = npt.NDArray[np.intp]
Edit = Callable[[Pixels], Pixels]


class Stack:
    """Thumbnails by row, copied when asked for, so that a million of them may stay in a mapped file.

    Args:
        parts: arrays uint8 [m, 128, 128], one after the other.
        rows: which rows of all parts, in which order; all by default.
        edit: what is done to each thumbnail [n, 128, 128] that is asked for.
    """

    def __init__(self, parts: Sequence[Pixels], rows: Rows | None = None, edit: Edit | None = None) -> None:
        self._edit = edit
        self._parts = [part for part in parts if len(part)]
        self._ends = np.cumsum([len(part) for part in self._parts], dtype=np.intp)
        total = int(self._ends[-1]) if len(self._ends) else 0
        self._rows = np.arange(total) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted: slice | Rows) -> Pixels:
        """Uint8 [rows, 128, 128]."""
        rows = self._rows[wanted]
        owners = np.searchsorted(self._ends, rows, side="right")
        found = np.empty((len(rows), SIDE, SIDE), np.uint8)
        for owner in np.unique(owners):
            part = self._parts[owner]
            here = np.flatnonzero(owners == owner)
            found[here] = part[rows[here] - (self._ends[owner] - len(part))]
        return found if self._edit is None else self._edit(found)

    def select(self, rows: Rows) -> "Stack":
        """These rows alone, in this order; no pixel is copied."""
        return Stack(self._parts, self._rows[rows], self._edit)


def stack_thumbnails(thumbnails: pd.DataFrame, edit: Edit | None = None) -> Stack:
    """The `thumbnails` table's pixels, in the order of its rows. A column of Arrow's is not copied.

    Raises:
        TableError: a thumbnail has not 16,384 bytes.
    """
    column, mapped = thumbnails["pixels"], isinstance(thumbnails["pixels"].dtype, pd.ArrowDtype)
    stored = pa.chunked_array(column.array.__arrow_array__()) if mapped else None
    sizes = column.map(len).to_numpy() if stored is None else pc.binary_length(stored).to_numpy()
    wrong = thumbnails.loc[sizes != SIDE * SIDE, "image_id"]
    if len(wrong):
        raise TableError(
            f"{len(wrong)} thumbnails do not have {SIDE} × {SIDE} bytes, the first is {wrong.iloc[0]}; "
            "materialise thumbnails again"
        )
    if stored is None:
        return Stack([np.frombuffer(b"".join(column), np.uint8).reshape(-1, SIDE, SIDE)], edit=edit)
    return Stack([_view_chunk(chunk) for chunk in stored.chunks], edit=edit)


def _view_chunk(chunk: pa.Array) -> Pixels:
    """The bytes of an Arrow array of equally long values, where they lie."""
    _, offsets, values = chunk.buffers()
    kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
    start = int(np.frombuffer(offsets, kind, count=1, offset=chunk.offset * np.dtype(kind).itemsize)[0])
    flat = np.frombuffer(values, np.uint8, count=len(chunk) * SIDE * SIDE, offset=start)
    return flat.reshape(-1, SIDE, SIDE)


def open_thumbnails(thumbnails: pd.DataFrame) -> Pixels:
    """All of `stack_thumbnails` at once: uint8 [n, 128, 128]."""
    return stack_thumbnails(thumbnails)[:]


def halve(stack: Pixels | Floats) -> Floats:
    """A stack [..., h, w] of even sides as float32 [..., h / 2, w / 2]: means of 2 × 2 pixels."""
    grey = stack.astype(np.float32)
    rows = grey[..., 0::2, :] + grey[..., 1::2, :]
    halved: Floats = (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)
    return halved
