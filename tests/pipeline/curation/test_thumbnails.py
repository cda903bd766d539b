"""Thumbnails: opened in order, or refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from painted_heads import paint_head, shrink, tabulate_thumbnails

from pipeline.curation.thumbnails import halve, open_thumbnails, stack_thumbnails
from pipeline.errors import TableError


def test_opens_in_the_order_of_the_rows():
    stack = {"b": paint_head(1), "a": paint_head(2)}
    opened = open_thumbnails(tabulate_thumbnails(stack))
    assert (opened == np.stack([shrink(pixels) for pixels in stack.values()])).all()


def test_refuses_another_size():
    frame = pd.DataFrame({"image_id": ["a", "b"], "pixels": [bytes(16384), bytes(4096)]})
    with pytest.raises(TableError, match="1 thumbnails do not have 128 × 128 bytes, the first is b"):
        open_thumbnails(frame)


def test_arrow_columns_are_read_where_they_lie():
    pictures = [shrink(paint_head(seed)) for seed in range(5)]
    values = [pixels.tobytes() for pixels in pictures]
    chunks = pa.chunked_array([pa.array(values[:2]), pa.array(values[1:])[1:]])
    column = pd.Series(chunks, dtype=pd.ArrowDtype(pa.binary()))
    stack = stack_thumbnails(pd.DataFrame({"image_id": list("abcde"), "pixels": column}))
    assert (stack[:] == np.stack(pictures)).all()
    assert (stack.select(np.array([4, 0, 2]))[np.array([2, 0])] == np.stack([pictures[2], pictures[4]])).all()
    with pytest.raises(TableError, match="1 thumbnails"):
        bad = pd.Series(pa.chunked_array([[b"short"]]), dtype=pd.ArrowDtype(pa.binary()))
        stack_thumbnails(pd.DataFrame({"image_id": ["a"], "pixels": bad}))


def test_no_thumbnails_are_an_empty_stack():
    assert open_thumbnails(pd.DataFrame({"image_id": [], "pixels": []})).shape == (0, 128, 128)


def test_halving_takes_means_of_four():
    stack = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) * 7
    halved = halve(stack)
    assert halved.shape == (2, 2, 2) and halved.dtype == np.float32
    assert halved[0, 0, 0] == stack[0, :2, :2].mean() and halved[1, 1, 1] == stack[1, 2:, 2:].mean()
