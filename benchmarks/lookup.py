"""What it costs to ask whether a picture was in training: `python -m benchmarks.lookup --lake FOLDER`.

Measures the known pictures of a lake once, then asks about some of them, mirrored: each has to be found.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.curation.lookup import PictureIndex
from pipeline.curation.thumbnails import SIDE
from pipeline.digests import seed_for
from resources.lake import Lake


def measure_lookup(thumbnails: pd.DataFrame, asked: int) -> dict[str, float]:
    """CPU seconds to measure the pictures, and to ask about one (median); share of mirrored ones found.

    Args:
        thumbnails: table `thumbnails`.
        asked: how many pictures are asked about.
    """
    start = time.process_time()
    index = PictureIndex(thumbnails)
    measured = time.process_time() - start
    rows = thumbnails.iloc[np.argsort([seed_for("asked", one) for one in thumbnails["image_id"]])[:asked]]
    seconds, found = [], 0
    for image_id, pixels in zip(rows["image_id"], rows["pixels"], strict=True):
        mirrored = np.ascontiguousarray(np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE)[:, ::-1])
        start = time.process_time()
        matches = index.find(mirrored)
        seconds.append(time.process_time() - start)
        found += any(one.image_id == image_id and one.verdict == "copy" for one in matches)
    return {
        "pictures": len(index),
        "measured": measured,
        "asked": float(np.median(seconds)),
        "found": found / len(rows),
    }


def main() -> None:
    """Print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True, help="a home's folder `lake`")
    parser.add_argument("--asked", type=int, default=20, help="pictures that are asked about")
    parsed = parser.parse_args()
    found = measure_lookup(Lake(home=str(parsed.lake.parent)).read("thumbnails"), parsed.asked)
    print(
        f"{found['pictures']:,} pictures measured in {found['measured']:.1f} s of CPU, one asked about in "
        f"{found['asked']:.2f} s (median of {parsed.asked}), mirrored ones found: {found['found']:.0%}"
    )


if __name__ == "__main__":
    main()
