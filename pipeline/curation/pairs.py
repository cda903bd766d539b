"""The table `pairs`: which images were compared closely, and which of them show the same picture."""

from collections.abc import Collection, Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.borders import blacken_borders
from pipeline.curation.candidates import choose_representatives, judge_candidates
from pipeline.curation.orientation import name_orientations
from pipeline.curation.reencodings import find_reencodings
from pipeline.curation.thumbnails import Stack, stack_thumbnails
from pipeline.curation.verdicts import Verdict, judge_reencoding
from pipeline.tables import find_table
from pipeline.threads import one_thread_each

BLANK_DEVIATION = 2.0  # grey levels; below it a thumbnail shows nothing that could be compared
BLOCK = 1024  # thumbnails

Names = npt.NDArray[np.object_]
Ends = tuple[int, int]


def compare_images(
    thumbnails: pd.DataFrame,
    *,
    workers: int = 1,
    previous: pd.DataFrame | None = None,
    known: Collection[str] = (),
) -> pd.DataFrame:
    """The table `pairs`: every two images that were compared closely, with what came of it.

    Re-encodings are proven first and collapse to clusters; one image of each goes on to the search for
    cropped, rotated and filtered copies. What is said of a pair depends on its two images alone. The same for
    any order of rows and any number of workers, and with `previous` the same as without.

    Pairs that the alignment gave up early are kept too (evidence `coarse`, their score that of 32 pixels), so
    that they need not be looked at again; beyond 20,000 clusters they are not.

    Args:
        thumbnails: table `thumbnails`, one row an image.
        workers: threads.
        previous: the table that an earlier call gave; its measurements are not taken again.
        known: the image_ids that the earlier call was given.

    Raises:
        TableError: a thumbnail has the wrong size.
    """
    with one_thread_each():
        return _compare(thumbnails, workers, previous, known)


def _compare(
    thumbnails: pd.DataFrame, workers: int, previous: pd.DataFrame | None, known: Collection[str]
) -> pd.DataFrame:
    names = thumbnails["image_id"].to_numpy(dtype=object)
    pixels, order = stack_thumbnails(thumbnails, blacken_borders), np.argsort(names, kind="stable")
    order = order[_find_textured(pixels)[order]]
    names, pixels = names[order], pixels.select(order)
    earlier = {} if previous is None else _read_previous(previous, names)
    judged = _judge_reencodings(names, pixels, earlier, set(known), workers)
    chosen = choose_representatives(len(names), judged)
    places = {int(row): place for place, row in enumerate(chosen)}
    taken = {
        (places[one], places[other]): what
        for (one, other), what in earlier.items()
        if one in places and other in places
    }
    for (one, other), what in judge_candidates(pixels.select(chosen), taken, workers=workers).items():
        judged[int(chosen[one]), int(chosen[other])] = what
    return _write_pairs(names, judged)


def _find_textured(pixels: Stack) -> npt.NDArray[np.bool_]:
    """Which thumbnails show anything at all."""
    starts = range(0, len(pixels), BLOCK)
    spread = [cv2.meanStdDev(image)[1][0, 0] for start in starts for image in pixels[start : start + BLOCK]]
    return np.array(spread, dtype=np.float64) >= BLANK_DEVIATION


def _judge_reencodings(
    names: Names, pixels: Stack, earlier: Mapping[Ends, Verdict], known: set[str], workers: int
) -> dict[Ends, Verdict]:
    """Proven re-encodings by rows; pairs of known images are taken over."""
    fresh = np.array([name not in known for name in names], dtype=np.bool_)
    judged = {
        (one, other): what
        for (one, other), what in earlier.items()
        if what.evidence in ("ncc", "lncc") and not fresh[one] and not fresh[other]
    }
    for pair in find_reencodings(pixels, fresh=fresh, workers=workers):
        judged[pair.first, pair.second] = judge_reencoding(pair)
    return judged


def _read_previous(previous: pd.DataFrame, names: Names) -> dict[Ends, Verdict]:
    """The rows of `pairs` between images that are here, by their rows."""
    places = {name: row for row, name in enumerate(names)}
    here = previous["first"].isin(places) & previous["second"].isin(places)
    return {
        (places[row["first"]], places[row["second"]]): Verdict(
            np.array(row["transform"], dtype=np.float64).reshape(2, 3),
            row["score"],
            None if pd.isna(row["worst"]) else row["worst"],
            row["evidence"],
            row["verdict"],
            row["why"],
        )
        for row in previous[here].to_dict("records")
    }


def _write_pairs(names: Names, judged: dict[Ends, Verdict]) -> pd.DataFrame:
    keys = sorted(judged)
    ends = np.array(keys, dtype=np.intp).reshape(-1, 2)
    pairs = [judged[key] for key in keys]
    transforms = np.array([pair.transform for pair in pairs]).reshape(-1, 2, 3).round(6) + 0.0
    mirrored, turned = name_orientations(transforms)
    columns = {
        "first": names[ends[:, 0]],
        "second": names[ends[:, 1]],
        "mirrored": mirrored,
        "turned": turned,
        "transform": pd.Series(transforms.reshape(-1, 6).tolist(), dtype=object),
        "score": np.array([pair.score for pair in pairs], dtype=np.float64),
        "worst": np.array([pair.worst for pair in pairs], dtype=np.float64),
    }
    words = {name: [getattr(pair, name) for pair in pairs] for name in ("evidence", "verdict", "why")}
    return pd.DataFrame(columns | words, columns=find_table("pairs").names)
