"""Precision by score band: contact sheets of sampled real pairs, to be judged by eye.

    python -m benchmarks.precision SHEETS [--folder FOLDER] [--count 300] [--scratch FOLDER]

Pairs are drawn from the table `pairs` over all images of the folder: in each band of scores up to `--count`
pairs, by a draw that depends on their content alone. Each cell shows A, B carried onto A by the stored
transform, and their difference after the best gain and offset (grey: none). SHEETS/pairs.csv lists them,
with a column `same` to be filled in with yes, no or unsure; `--tally` counts a filled-in list:

    python -m benchmarks.precision SHEETS --tally
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.real import Real, open_real
from pipeline.digests import seed_for
from pipeline.errors import SettingsError
from pipeline.imaging.decode import resize_grey

SIDE = 96
COLUMNS, ROWS = 4, 10
STRIP = 13
"""Pixels of the caption above each cell."""

EDGES = {
    ("copy", "ncc"): [0.985, 0.995],
    ("copy", "lncc"): [0.90, 0.92, 0.95],
    ("copy", "aligned"): [0.0],
    ("rejected", "aligned"): [-1.0, 0.5, 0.7],
}
"""Lower ends of the bands, by verdict and by how the pair was compared; one band where nothing is said."""

Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheets", type=Path, help="folder to write, or to count with --tally")
    parser.add_argument("--folder", type=Path, default=os.environ.get("FALX_DATASETS"))
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/falx-benchmarks"))
    parser.add_argument("--count", type=int, default=300, help="pairs a band")
    parser.add_argument("--tally", action="store_true", help="count SHEETS/pairs.csv")
    options = parser.parse_args()
    if options.tally:
        print_tally(pd.read_csv(options.sheets / "pairs.csv", dtype={"same": str}))
        return
    if options.folder is None:
        raise SettingsError("give --folder, or set FALX_DATASETS to the folder of raw collections")
    real = open_real(options.folder, options.scratch)
    options.sheets.mkdir(parents=True, exist_ok=True)
    drawn = draw_pairs(real.pairs, options.count)
    for band, pairs in drawn.groupby("band"):
        pictures = pairs["picture"].nunique()
        print(f"{band}: {len(pairs)} of {int(pairs['of'].iloc[0]):,} pairs, from {pictures} pictures")
        write_sheets(real, pairs, options.sheets, str(band))
    shown = ["band", "number", "picture", "first", "second", "score", "worst", "evidence", "verdict", "of"]
    drawn[shown].assign(same="").to_csv(options.sheets / "pairs.csv", index=False)


def name_bands(pairs: pd.DataFrame) -> pd.Series:
    """Band of each pair: verdict, how it was compared, and the range of its score."""
    names = []
    for verdict, evidence, score in zip(pairs["verdict"], pairs["evidence"], pairs["score"], strict=True):
        edges = EDGES.get((verdict, evidence), [-1.0])
        low = max(edge for edge in edges if edge <= score)
        high = min((edge for edge in edges if edge > low), default=1.0)
        names.append(f"{verdict} {evidence} {low:.3f} to {high:.3f}")
    return pd.Series(names, index=pairs.index)


def draw_pairs(pairs: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` pairs of each band, numbered by falling score; a function of the pairs' content.

    Drawn in turn from the pictures that a band's pairs belong to (for other verdicts than `copy`: from the
    pictures of the first images), so that one picture with a hundred copies does not fill the sheets.
    """
    banded = pairs.assign(band=name_bands(pairs), picture=list_clusters(pairs))
    banded["key"] = [
        seed_for("precision", a, b) for a, b in zip(pairs["first"], pairs["second"], strict=True)
    ]
    banded["turn"] = banded.sort_values("key").groupby(["band", "picture"]).cumcount()
    parts = []
    for _, members in banded.groupby("band"):
        chosen = members.sort_values(["turn", "key"]).head(count)
        chosen = chosen.sort_values(["score", "key"], ascending=[False, True])
        parts.append(chosen.assign(number=range(len(chosen)), of=len(members)))
    return pd.concat(parts, ignore_index=True)


def list_clusters(pairs: pd.DataFrame) -> list[str]:
    """For each pair the smallest image_id that proven pairs connect its first image with."""
    parent = {image_id: image_id for image_id in [*pairs["first"], *pairs["second"]]}

    def root(image_id: str) -> str:
        while parent[image_id] != image_id:
            parent[image_id] = parent[parent[image_id]]
            image_id = parent[image_id]
        return image_id

    proven = pairs[pairs["verdict"] == "copy"]
    for first, second in zip(proven["first"], proven["second"], strict=True):
        one, other = sorted((root(first), root(second)))
        parent[other] = one
    return [root(image_id) for image_id in pairs["first"]]


def write_sheets(real: Real, pairs: pd.DataFrame, folder: Path, band: str) -> None:
    """PNG sheets of 40 pairs each."""
    cells = []
    for pair in pairs.to_dict("records"):
        one, other = real.read_pixels(str(pair["first"])), real.read_pixels(str(pair["second"]))
        caption = f"{pair['number']} {pair['score']:.3f} {pair['evidence']}"
        cells.append(draw_cell(one, other, pair["transform"], caption))
    each = COLUMNS * ROWS
    for start in range(0, len(cells), each):
        (folder / f"{band.replace(' ', '_')}_{start // each:02d}.png").write_bytes(
            cv2.imencode(".png", tile_cells(cells[start : start + each], COLUMNS))[1].tobytes()
        )


def draw_cell(
    first: Pixels, second: Pixels, transform: Sequence[float], caption: str, side: int = SIDE
) -> Pixels:
    """uint8 [side + STRIP, 3 × side]: A, B on A, difference; `transform` leads from A to B, in fractions."""
    one = resize_grey(first, side)
    other = align_image(second, transform, side)
    inside = align_image(np.full_like(second, 255), transform, side) == 255
    strip = np.full((STRIP, 3 * side), 40, np.uint8)
    cv2.putText(strip, caption, (2, STRIP - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.36, 255)
    return np.vstack([strip, np.hstack([one, other, draw_difference(one, other, inside)])])


def align_image(pixels: Pixels, transform: Sequence[float], side: int) -> Pixels:
    """The second image of a pair [h, w] as it lies on the first, uint8 [side, side], black outside."""
    width = height = side * 2  # first averaged to twice the sheet's size, so that nothing aliases
    larger = resize_grey(pixels, side * 2)
    matrix = np.reshape(np.asarray(transform, np.float64), (2, 3))
    scale = np.array([[width], [height]])
    # Pixel centres: (u + ½) / side is the fraction; OpenCV asks for the map from target to source.
    linear = matrix[:, :2] * scale / side
    offset = (matrix[:, :2] @ np.array([0.5, 0.5]) / side + matrix[:, 2]) * scale[:, 0] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    affine = np.hstack([linear, offset[:, None]])
    return np.asarray(cv2.warpAffine(larger, affine, (side, side), flags=flags), np.uint8)


def draw_difference(one: Pixels, other: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Grey 128 where equal after the best gain and offset inside; twice the difference; 0 outside."""
    x, y = other[inside].astype(np.float64), one[inside].astype(np.float64)
    if len(x) < 16:
        return np.zeros_like(one)
    gain = ((x - x.mean()) * (y - y.mean())).mean() / max(x.var(), 1e-6)
    fitted = gain * (other - x.mean()) + y.mean()
    shown = np.clip(128 + 2 * (one - fitted), 0, 255)
    return np.where(inside, shown, 0).astype(np.uint8)


def tile_cells(cells: Sequence[Pixels], columns: int) -> Pixels:
    """Cells of one size in rows of `columns`."""
    empty = np.zeros_like(cells[0])
    filled = [*cells, *[empty] * (-len(cells) % columns)]
    return np.vstack([np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)])


def print_tally(judged: pd.DataFrame) -> None:
    """Markdown: pairs looked at, same picture, not, and unsure, by band."""
    print("| band | pairs in it | looked at | of pictures | same picture | another picture | unsure |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for band, pairs in judged.groupby("band"):
        counts = [int((pairs["same"] == answer).sum()) for answer in ("yes", "no", "unsure")]
        of, pictures = int(pairs["of"].iloc[0]), pairs.loc[pairs["same"].notna(), "picture"].nunique()
        print(f"| {band} | {of:,} | {sum(counts)} | {pictures} | {' | '.join(map(str, counts))} |")


if __name__ == "__main__":
    main()
