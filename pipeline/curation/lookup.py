"""One more image against all known ones: the search for copies, answered while somebody waits.

What is said of a pair is what the table `pairs` would say: the same retrieval, proofs, alignment and
thresholds. Known images are measured once. The new one asks them all, and each of them asks for it, since a
picture that was cut is only found by asking.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.alignment import align_pairs
from pipeline.curation.borders import blacken_borders
from pipeline.curation.orientation import ORIENTATIONS, name_orientation
from pipeline.curation.pairs import BLANK_DEVIATION
from pipeline.curation.reencodings import ORDER, find_reencodings
from pipeline.curation.retrieval import LOOSE, NEAREST_CUT, retrieve_alike, retrieve_candidates
from pipeline.curation.spectra import NORM, Spectra, measure_frames, measure_spectra
from pipeline.curation.starts import find_starts
from pipeline.curation.thumbnails import Pixels, Stack, stack_thumbnails
from pipeline.curation.verdicts import Verdict, judge_alignment, judge_reencoding
from pipeline.curation.views import Bank, Queries, list_views
from pipeline.errors import TableError
from pipeline.threads import one_thread_each

BLOCK = 1024

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Match:
    """A known image that was compared closely with the new one.

    Attributes:
        image_id: of the known image.
        score: similarity after the transform, −1 to 1; that of 32 pixels where `evidence` is coarse.
        worst: similarity of the worst block, where the pair was aligned.
        mirrored, turned: the new image against the known one; degrees counter-clockwise after mirroring.
        evidence: ncc, lncc, aligned, or coarse (given up early).
        verdict: copy, review (grey band) or rejected, as in the table `pairs`.
        why: the rule that gave the verdict.
    """

    image_id: str
    score: float
    worst: float | None
    mirrored: bool
    turned: int
    evidence: str
    verdict: str
    why: str


class PictureIndex:
    """Known images, measured once. Nothing in it changes: several threads may ask.

    Args:
        thumbnails: table `thumbnails`; images that show nothing are left out.
        workers: threads that measure; they change nothing.

    Raises:
        TableError: a thumbnail has the wrong size, or none shows anything.
    """

    def __init__(self, thumbnails: pd.DataFrame, *, workers: int = 1) -> None:
        names = thumbnails["image_id"].to_numpy(dtype=object)
        order = np.argsort(names, kind="stable")
        with one_thread_each():
            pixels = stack_thumbnails(thumbnails, blacken_borders).select(order)
            shown = np.flatnonzero(_measure_spread(pixels) >= BLANK_DEVIATION)
            if not len(shown):
                raise TableError("thumbnails hold no image that shows anything; run `make curate` first")
            self._pixels: Pixels = pixels.select(shown)[:]
            self._names = names[order][shown]
            stack = Stack([self._pixels])
            self._frames = measure_frames(stack, ORDER, workers=workers)
            self._spectra = measure_spectra(stack, workers=workers)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, thumbnail: Pixels) -> list[Match]:
        """The known images that are most like a new one, copies first, then by score; ties by image_id.

        Deterministic. Empty where the thumbnail shows nothing.

        Args:
            thumbnail: uint8 [128, 128], grey, as `resize_grey` makes it.
        """
        with one_thread_each():
            new = blacken_borders(thumbnail[None])
            if _measure_spread(Stack([new]))[0] < BLANK_DEVIATION:
                return []
            pixels, row = Stack([self._pixels, new]), len(self)
            found = self._align(pixels, new, row) | self._prove(pixels, new)
        matches = [_describe(str(self._names[known]), what) for known, what in found.items()]
        return sorted(matches, key=_rank)

    def _prove(self, pixels: Stack, new: Pixels) -> dict[int, Verdict]:
        """Plain re-encodings, by row."""
        frames = np.concatenate([self._frames, measure_frames(Stack([new]), ORDER)])
        fresh = np.arange(len(frames)) == len(self)
        alike = retrieve_alike(frames, fresh)
        if not len(alike):
            return {}
        rows = np.append(np.unique(alike[:, 0]), len(self))
        proven = find_reencodings(pixels.select(rows), fresh=np.arange(len(rows)) == len(rows) - 1)
        return {int(rows[pair.first]): judge_reencoding(pair) for pair in proven}

    def _align(self, pixels: Stack, new: Pixels, row: int) -> dict[int, Verdict]:
        """What came of all candidates of the loose retrieval, by row."""
        spectra = _append(self._spectra, measure_spectra(Stack([new])))
        asked = retrieve_candidates(spectra, asking=np.array([row]))[:, 0]
        known = np.union1d(asked, _find_asking(spectra, row))
        if not len(known):
            return {}
        rows = np.append(known, row)
        pairs = np.stack([np.arange(len(known)), np.full(len(known), len(known))], axis=1)
        starts = find_starts(spectra.select(rows), pairs)
        aligned = align_pairs(pixels.select(rows), pairs, starts)
        judged = [judge_alignment(one.transform, one.fit, one.likeness) for one in aligned]
        return {int(one): what for one, what in zip(known, judged, strict=True)}


def tell_orientation(mirrored: bool, turned: int) -> str:
    """How an image lies against another, in words; empty where it lies the same way."""
    parts = ["mirrored"] if mirrored else []
    parts += [f"turned by {turned}°"] if turned else []
    return " and ".join(parts)


def _find_asking(spectra: Spectra, row: int) -> Rows:
    """Known rows that are like the picture `row` when they ask for it, the most alike."""
    queries, bank = Queries(spectra), Bank(spectra, np.array([row])).spectra[:, 0]
    rows = np.arange(row)
    best = np.full(len(rows), -np.inf, np.float32)
    for number, view in enumerate(list_views()):
        for orientation in range(ORIENTATIONS):
            asking = queries.admit(view, orientation, rows)
            if len(asking):
                scores = queries.ask(view, orientation, rows[asking]) @ bank[number]
                best[asking] = np.maximum(best[asking], scores)
    order = np.argsort(-best, kind="stable")[:NEAREST_CUT]
    return order[best[order] >= np.float32(LOOSE * NORM * NORM)]


def _append(known: Spectra, new: Spectra) -> Spectra:
    return Spectra(
        np.concatenate([known.full, new.full], axis=1),
        np.concatenate([known.box, new.box], axis=1),
        np.concatenate([known.windows, new.windows], axis=1),
        np.concatenate([known.touches, new.touches]),
    )


def _measure_spread(pixels: Stack) -> npt.NDArray[np.float64]:
    """Standard deviation of the grey levels of each thumbnail."""
    starts = range(0, len(pixels), BLOCK)
    blocks = [pixels[start : start + BLOCK].reshape(-1, 128 * 128).std(axis=1) for start in starts]
    return np.concatenate([np.empty(0), *blocks])


def _describe(image_id: str, what: Verdict) -> Match:
    # A pair leads from the known image to the new one, which is the last row and so the second.
    mirrored, turned = name_orientation(np.asarray(what.transform, np.float64))
    return Match(image_id, what.score, what.worst, mirrored, turned, what.evidence, what.verdict, what.why)


def _rank(match: Match) -> tuple[int, float, str]:
    verdicts = {"copy": 0, "review": 1}
    place = verdicts.get(match.verdict, 2 if match.evidence == "aligned" else 3)
    return place, -match.score, match.image_id
