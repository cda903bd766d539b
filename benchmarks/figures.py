"""The figures of docs/pictures.md: where scores lie, and the hardest pairs on both sides of the threshold.

    python -m benchmarks.figures docs [--folder FOLDER] [--count 100] [--scratch FOLDER]

- pictures_scores.png: scores of synthetic copies with their sources, of proven real pairs, and of the nearest
  other picture of each reference slice and of each of its copies;
- pictures_negatives.png: the most alike pairs that are different pictures (reference slices);
- pictures_positives.png: the copies that score lowest among those joined, real ones and synthetic ones.
Prints the numbers behind them as Markdown.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.copies import list_kinds, make_copy, sample_images
from benchmarks.pictures import REFERENCE
from benchmarks.precision import draw_cell, tile_cells
from benchmarks.real import THUMBNAIL_SIDE, Real, digest_code, open_real
from pipeline.curation.pictures import compare_images
from pipeline.digests import digest_bytes, digest_json, seed_for
from pipeline.errors import SettingsError
from pipeline.imaging.decode import resize_grey

Pixels = NDArray[np.uint8]
GREYS = 48
"""Levels of grey that the figures are reduced to, so that they stay small."""


@dataclass(frozen=True)
class Measured:
    """Compared pairs of one kind of image, in the layout of `pairs`, with what they are.

    Attributes:
        pairs: columns of `pairs`, and `origin_first`, `origin_second`: the real image that each comes from.
        pixels: image_id → synthetic copy.
    """

    pairs: pd.DataFrame
    pixels: dict[str, Pixels]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("docs", type=Path, help="folder to write the figures to")
    parser.add_argument("--folder", type=Path, default=os.environ.get("FALX_DATASETS"))
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/falx-benchmarks"))
    parser.add_argument("--count", type=int, default=40, help="synthetic copies of each kind")
    options = parser.parse_args()
    if options.folder is None:
        raise SettingsError("give --folder, or set FALX_DATASETS to the folder of raw collections")
    mpl.use("Agg")
    real = open_real(options.folder, options.scratch)
    synthetic = compare_copies(real, options.folder, options.count)
    negatives = find_negatives(compare_references(real, options.scratch), real)
    groups = sort_scores(real, synthetic, negatives)
    draw_scores(groups, options.docs / "pictures_scores.png")
    print_scores(groups)
    positives = find_positives(real, synthetic)
    write_panel(real, synthetic, negatives, options.docs / "pictures_negatives.png")
    write_panel(real, synthetic, positives, options.docs / "pictures_positives.png")


def compare_copies(real: Real, folder: Path, count: int) -> Measured:
    """Copies of reference slices alone, `count` of each kind, compared with all reference slices at once."""
    references = [image_id for image_id, name in real.collections.items() if name == REFERENCE]
    origins = {image_id: image_id for image_id in references}
    kinds: dict[str, str] = {}
    pixels: dict[str, Pixels] = {}
    for kind in list_kinds():
        for sample in sample_images(folder, count, f"figures {kind}", [REFERENCE]):
            image_id = digest_bytes(f"figures/{sample.image_id}/{kind}".encode())[:32]
            pixels[image_id], _ = make_copy(sample.pixels, kind, seed_for("figures", sample.image_id))
            origins[image_id], kinds[image_id] = sample.image_id, kind
    small = [resize_grey(copy, THUMBNAIL_SIDE).tobytes() for copy in pixels.values()]
    base = real.thumbnails[real.thumbnails["image_id"].isin(references)]
    added = pd.DataFrame({"image_id": list(pixels), "pixels": small})
    pairs = compare_images(pd.concat([base, added], ignore_index=True), workers=os.cpu_count() or 1)
    pairs["origin_first"], pairs["origin_second"] = pairs["first"].map(origins), pairs["second"].map(origins)
    pairs["kind"] = pairs["first"].map(kinds).fillna(pairs["second"].map(kinds))
    fine = pairs["kind"].notna() & (pairs["evidence"] != "coarse")
    return Measured(pairs[fine].reset_index(drop=True), pixels)


def compare_references(real: Real, scratch: Path) -> pd.DataFrame:
    """Table `pairs` over the reference slices alone, so that no copy stands for one; kept in `scratch`."""
    ids = sorted(image_id for image_id, name in real.collections.items() if name == REFERENCE)
    path = scratch / f"references_{digest_json([ids, digest_code()])[:12]}.parquet"
    if not path.is_file():
        base = real.thumbnails[real.thumbnails["image_id"].isin(ids)]
        compare_images(base, workers=os.cpu_count() or 1).to_parquet(path)
    return pd.read_parquet(path)


def sort_scores(real: Real, synthetic: Measured, negatives: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Scores by what the pairs are; of negatives each image's highest."""
    same = synthetic.pairs["origin_first"] == synthetic.pairs["origin_second"]
    direct = same & (
        (synthetic.pairs["first"] == synthetic.pairs["origin_first"])
        | (synthetic.pairs["second"] == synthetic.pairs["origin_second"])
    )
    kin = negatives["kin"].to_numpy(dtype=bool)
    proven = real.pairs[real.pairs["verdict"] == "copy"]
    others = synthetic.pairs[~same].assign(
        copy=lambda pairs: pairs["first"].where(pairs["first"].isin(synthetic.pixels), pairs["second"])
    )
    return {
        "synthetic copy and its source": synthetic.pairs.loc[direct, "score"].to_numpy(dtype=np.float64),
        "real pair, proven": proven["score"].to_numpy(dtype=np.float64),
        "copy and another slice (highest each)": others.groupby("copy")["score"].max().to_numpy(np.float64),
        "slices of one patient": negatives.loc[kin, "score"].to_numpy(dtype=np.float64),
        "slices of two patients": negatives.loc[~kin, "score"].to_numpy(dtype=np.float64),
    }


def find_negatives(pairs: pd.DataFrame, real: Real) -> pd.DataFrame:
    """Compared pairs of two reference slices, highest score first, with `kin`: one patient has both."""
    patients = real.patients
    both = pairs[pairs["first"].isin(patients) & pairs["second"].isin(patients)]
    both = both[both["evidence"] != "coarse"]  # given up before a score on all that both show
    kin = both["first"].map(patients) == both["second"].map(patients)
    return both.assign(kin=kin).sort_values(["score", "first", "second"], ascending=[False, True, True])


def find_positives(real: Real, synthetic: Measured) -> pd.DataFrame:
    """The joined pairs of lowest score, no image twice: real ones first, then synthetic ones of each kind."""
    proven = real.pairs[real.pairs["verdict"] == "copy"].sort_values(["score", "first", "second"])
    made = synthetic.pairs[
        (synthetic.pairs["origin_first"] == synthetic.pairs["origin_second"])
        & (synthetic.pairs["verdict"] == "copy")
    ]
    made = made.sort_values(["score", "first", "second"]).drop_duplicates("kind")
    return pd.concat([proven.drop_duplicates("first").head(6), made.head(6)], ignore_index=True)


def draw_scores(groups: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Histogram with a logarithmic count: copies and neighbours, and the gap between."""
    colours = ["#1b7837", "#7fbf7b", "#762a83", "#d95f02", "#666666"]
    figure = Figure(figsize=(8, 3.6), dpi=110)
    axes = figure.subplots()
    bins = [round(0.3 + 0.01 * step, 2) for step in range(71)]
    for (name, scores), colour in zip(groups.items(), colours, strict=True):
        axes.hist(
            scores, bins, histtype="step", color=colour, linewidth=1.4, label=f"{name} ({len(scores):,})"
        )
    axes.set_yscale("log")
    axes.set_xlabel("score")
    axes.set_ylabel("pairs in a bin of 0.01")
    axes.legend(fontsize=7, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


def print_scores(groups: dict[str, NDArray[np.float64]]) -> None:
    """Markdown: quantiles of each group."""
    print("| pairs | n | lowest | 1 % | median | 99 % | highest |")
    print("|---|---:|" + "---:|" * 5)
    for name, scores in groups.items():
        if len(scores):
            shown = " | ".join(f"{value:.3f}" for value in np.quantile(scores, [0, 0.01, 0.5, 0.99, 1]))
            print(f"| {name} | {len(scores):,} | {shown} |")


def write_panel(real: Real, synthetic: Measured, pairs: pd.DataFrame, path: Path) -> None:
    """The first twelve pairs as A, B on A, difference; three a row."""

    def read(image_id: str) -> Pixels:
        made = synthetic.pixels.get(image_id)
        return real.read_pixels(image_id) if made is None else made

    cells = []
    for pair in pairs.head(12).to_dict("records"):
        cells.append(
            draw_cell(
                read(str(pair["first"])),
                read(str(pair["second"])),
                pair["transform"],
                caption_pair(pair),
                side=88,
            )
        )
    sheet = tile_cells(cells, 3)
    step = 256 // GREYS
    path.write_bytes(
        cv2.imencode(".png", sheet // step * step, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    )


def caption_pair(pair: dict[Any, Any]) -> str:
    """Score, and what the pair is."""
    what = ""
    if isinstance(pair.get("kind"), str):
        what = pair["kind"]
    elif "kin" in pair and isinstance(pair["kin"], bool | np.bool_):
        what = "one patient" if pair["kin"] else "two patients"
    return f"{pair['score']:.3f} {what}".strip()


if __name__ == "__main__":
    main()
