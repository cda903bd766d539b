"""The benchmark of the lookup runs and finds what it asks about."""

import cv2
import numpy as np
import pandas as pd

from benchmarks.lookup import measure_lookup


def test_every_mirrored_picture_is_found():
    rng = np.random.default_rng(3)
    noise = [cv2.GaussianBlur(rng.normal(size=(128, 128)), (0, 0), 3) for _ in range(8)]
    pixels = [np.clip(120 + 600 * one, 0, 255).astype(np.uint8).tobytes() for one in noise]
    thumbnails = pd.DataFrame({"image_id": [f"{place:032x}" for place in range(8)], "pixels": pixels})
    figures = measure_lookup(thumbnails, asked=3)
    assert (figures["pictures"], figures["found"]) == (8, 1.0)
