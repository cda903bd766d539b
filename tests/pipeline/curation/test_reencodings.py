"""Re-encodings: found in all eight orientations, proven on the pixels, neighbours left alone."""

import numpy as np
import pytest
from painted_heads import adjust, paint_head, reencode, shrink

from pipeline.curation import reencodings, retrieval
from pipeline.curation.orientation import ORIENTATIONS, turn
from pipeline.curation.reencodings import find_reencodings
from pipeline.curation.thumbnails import Stack

HEADS = [shrink(paint_head(seed)) for seed in range(10)]


def stack(*pictures):
    return Stack([np.stack(pictures)])


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
@pytest.mark.parametrize(
    "change",
    [reencode, lambda p: adjust(p, 0.4), lambda p: adjust(p, 1.3), lambda p: adjust(p, 1, 1.8)],
    ids=["re-encoded", "dark", "bright", "gamma"],
)
def test_found_in_every_orientation(change, orientation):
    copy = shrink(np.ascontiguousarray(turn(change(paint_head(4)), orientation)))
    found = find_reencodings(stack(*HEADS, copy))
    assert [(pair.first, pair.second, pair.orientation) for pair in found] == [(4, 10, orientation)]
    back = find_reencodings(stack(copy, *HEADS))
    undone = {2: 6, 6: 2}.get(orientation, orientation)
    assert [(pair.first, pair.second, pair.orientation) for pair in back] == [(0, 5, undone)]


def test_strong_gamma_needs_the_local_proof():
    found = find_reencodings(stack(HEADS[0], shrink(adjust(paint_head(0), 1, 2.6))))
    assert [pair.evidence for pair in found] == ["lncc"] and 0.9 <= found[0].score < 1


def test_neighbours_stay_apart():
    assert find_reencodings(stack(*(shrink(paint_head(3, slice_seed=k)) for k in range(6)))) == []


def test_symmetric_picture_is_proven_once():
    half = HEADS[2].astype(float)
    symmetric = ((half + half[:, ::-1]) / 2).astype(np.uint8)
    found = find_reencodings(stack(symmetric, shrink(reencode(symmetric)), HEADS[1]))
    assert [(pair.first, pair.second, pair.orientation & 6) for pair in found] == [(0, 1, 0)]


def test_only_pairs_with_a_fresh_member():
    copies = [shrink(reencode(paint_head(k))) for k in (0, 1)]
    pixels = stack(HEADS[0], copies[0], HEADS[1], copies[1])
    everything = find_reencodings(pixels)
    fresh = find_reencodings(pixels, fresh=np.array([False, False, False, True]))
    assert len(everything) == 2 and fresh == everything[1:]
    assert find_reencodings(pixels, fresh=np.zeros(4, bool)) == []


@pytest.mark.parametrize("workers", [2, 5])
def test_neither_workers_nor_blocks_nor_the_index_change_anything(workers, monkeypatch):
    pixels = stack(*HEADS, *(shrink(reencode(paint_head(k), quality=60)) for k in range(10)))
    expected = find_reencodings(pixels)
    assert len(expected) == 10
    monkeypatch.setattr("pipeline.curation.reencodings.BATCH", 3)
    monkeypatch.setattr(retrieval, "BLOCK_ROWS", 7)
    assert find_reencodings(pixels, workers=workers) == expected
    monkeypatch.setattr(retrieval, "EXHAUSTIVE", 0)
    assert find_reencodings(pixels, workers=workers) == expected


def test_no_batch_grows_with_the_pairs_that_hang_together(monkeypatch):
    """Seven copies of one head are 21 pairs in one knot, which is proven piece by piece."""
    pixels = stack(*(shrink(reencode(HEADS[0])) for _ in range(7)))
    whole, sizes = find_reencodings(pixels), []
    prove = reencodings._prove_batch
    monkeypatch.setattr(reencodings, "BATCH", 4)
    monkeypatch.setattr(
        reencodings, "_prove_batch", lambda *given: (sizes.append(len(given[1])), prove(*given))[1]
    )
    assert find_reencodings(pixels) == whole
    assert len(whole) == 21
    assert sizes == [4, 4, 4, 4, 4, 1]
