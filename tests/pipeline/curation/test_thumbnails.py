"""Thumbnails: opened in order, or refused."""

import numpy as np
import pandas as pd
import pytest
from painted_heads import paint_head, shrink, tabulate_thumbnails

from pipeline.curation.thumbnails import halve, open_thumbnails
from pipeline.errors import TableError


def test_opens_in_the_order_of_the_rows():
    stack = {"b": paint_head(1), "a": paint_head(2)}
    opened = open_thumbnails(tabulate_thumbnails(stack))
    assert (opened == np.stack([shrink(pixels) for pixels in stack.values()])).all()


def test_refuses_another_size():
    frame = pd.DataFrame({"image_id": ["a", "b"], "pixels": [bytes(16384), bytes(4096)]})
    with pytest.raises(TableError, match="1 thumbnails do not have 128 × 128 bytes, the first is b"):
        open_thumbnails(frame)


def test_halving_takes_means_of_four():
    stack = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) * 7
    halved = halve(stack)
    assert halved.shape == (2, 2, 2) and halved.dtype == np.float32
    assert halved[0, 0, 0] == stack[0, :2, :2].mean() and halved[1, 1, 1] == stack[1, 2:, 2:].mean()
