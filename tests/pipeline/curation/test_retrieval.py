"""Retrieval: every hard copy is among the candidates, whoever asks, and ties and blocks change nothing."""

import numpy as np
import pytest
from painted_heads import adjust, blur, crop, equalise, pad, paint_head, rotate, shrink

from pipeline.curation import retrieval, starts
from pipeline.curation.cells import Cells, make_keys
from pipeline.curation.orientation import ORIENTATIONS, turn, turn_spectra
from pipeline.curation.retrieval import retrieve_candidates
from pipeline.curation.spectra import measure_spectra
from pipeline.curation.starts import find_starts
from pipeline.curation.thumbnails import Stack

HEADS = [paint_head(seed) for seed in range(40)]
CORNERS = np.array([[0.3, 0.3, 1], [0.7, 0.3, 1], [0.3, 0.7, 1], [0.7, 0.7, 1]]).T
HARD = {
    "rotated": lambda p: rotate(p, 12),
    "rotated back": lambda p: rotate(p, -7),
    "cropped": lambda p: crop(p, 0.12, 0.15, 0.03, 0.1),
    "padded": lambda p: pad(p, 0.1, 0.02, 0.15, 0.0),
    "turned and rotated": lambda p: rotate(np.ascontiguousarray(np.rot90(p[:, ::-1])), 9),
    "CLAHE, rotated": lambda p: rotate(equalise(p), -10),
    "cropped, dark": lambda p: adjust(crop(p, 0.1, 0.1, 0.1, 0.1), 0.5, 1.3),
    "blurred, padded": lambda p: pad(blur(p, 2), 0.05, 0.1, 0.0, 0.1),
}


def measure(*pictures):
    return measure_spectra(Stack([np.stack([shrink(pixels) for pixels in pictures])]))


@pytest.mark.parametrize("change", HARD.values(), ids=HARD)
def test_hard_copies_are_candidates(change):
    spectra = measure(*HEADS, change(HEADS[7]))
    assert (7, 40) in set(map(tuple, retrieve_candidates(spectra)))


@pytest.mark.parametrize("change", HARD.values(), ids=HARD)
def test_starts_are_near_the_truth(change):
    """A picture with a cross that moves along tells where points go."""
    head = HEADS[11]
    spectra = measure(head, change(head))
    found = find_starts(spectra, np.array([[0, 1]]))[0]
    marks = []
    for x, y in CORNERS[:2].T:
        dot = np.zeros_like(head)
        dot[round(y * 256) - 4 : round(y * 256) + 4, round(x * 256) - 4 : round(x * 256) + 4] = 255
        row, column = np.nonzero((seen := change(dot)) > 0.5 * seen.max())
        marks.append([(column.mean() + 0.5) / seen.shape[1], (row.mean() + 0.5) / seen.shape[0]])
    errors = [np.abs(start @ CORNERS - np.array(marks).T).max() for start in found]
    assert min(errors) < 0.09
    back = find_starts(measure(change(head), head), np.array([[0, 1]]))[0]
    assert len(back) == len(found), "either way round there are the same views"


def test_starts_of_some_pairs_are_those_that_they_have_among_all(monkeypatch):
    monkeypatch.setattr(starts, "BLOCK", 7)
    spectra = measure(*HEADS[:20], *(rotate(head, 8) for head in HEADS[:6]))
    pairs = np.argwhere(np.triu(np.ones((26, 26)), 1))
    every = find_starts(spectra, pairs)
    some = np.array([3, 40, 41, 170, 324])
    for alone, among in zip(find_starts(spectra, pairs[some]), some, strict=True):
        assert (np.array(alone) == np.array(every[among])).all()


@pytest.mark.parametrize("workers", [1, 4])
def test_neither_workers_nor_blocks_change_the_candidates(workers, monkeypatch):
    spectra = measure(*HEADS[:20], *(rotate(head, 8) for head in HEADS[:6]))
    expected = retrieve_candidates(spectra)
    assert (np.diff(expected, axis=1) > 0).all()
    monkeypatch.setattr(retrieval, "BLOCK_ROWS", 5)
    monkeypatch.setattr(retrieval, "BLOCK_BANK", 7)
    assert (retrieve_candidates(spectra, workers=workers) == expected).all()


def test_index_finds_rotated_and_padded_copies(monkeypatch):
    copies = [change(HEADS[k]) for k in range(6) for change in (HARD["rotated"], HARD["padded"])]
    spectra = measure(*HEADS, *copies)
    monkeypatch.setattr(retrieval, "EXHAUSTIVE", 0)
    found = set(map(tuple, retrieve_candidates(spectra, workers=2)))
    truth = {(k // 2, 40 + k) for k in range(12)}
    assert len(truth & found) >= 11 and len(found) < 40 * 39 / 4
    assert (retrieve_candidates(spectra) == sorted(found)).all()


@pytest.mark.parametrize("exhaustive", [0, 20_000])
def test_among_some_rows_is_as_if_there_were_no_others(exhaustive, monkeypatch):
    monkeypatch.setattr(retrieval, "EXHAUSTIVE", exhaustive)
    monkeypatch.setattr(retrieval, "BLOCK_BANK", 7)
    spectra = measure(*HEADS[:20], *(rotate(head, 8) for head in HEADS[:6]))
    among = np.array([0, 1, 3, 4, 8, 9, 12, 20, 21, 24])
    alone = retrieve_candidates(spectra.select(among))
    assert (0, 7) in set(map(tuple, alone))
    assert (retrieve_candidates(spectra, among=among) == among[alone]).all()
    asked = retrieve_candidates(spectra, among=among, asking=np.array([9, 24]))
    assert (asked == among[retrieve_candidates(spectra.select(among), asking=np.array([5, 9]))]).all()
    assert {9, 24} & set(asked.ravel().tolist())


def test_the_index_of_all_pictures_is_their_spectra_and_no_copy():
    spectra = measure(*HEADS[:3])
    assert retrieval._take_frames(spectra, np.arange(3)) is spectra.full
    some = np.array([0, 2])
    assert (retrieval._take_frames(spectra, some) == spectra.full[:, some]).all()
    assert (
        retrieval._take_boxes(spectra, some) == retrieval._take_boxes(spectra, np.arange(3))[:, some]
    ).all()


def test_keys_do_not_change_with_the_orientation():
    spectra = measure(*HEADS[:3]).full[0]
    for orientation in range(ORIENTATIONS):
        turned = turn_spectra(spectra.astype(np.float32), orientation).astype(np.int16)
        assert (make_keys(turned) == make_keys(spectra)).all()
    assert turn(np.eye(2, dtype=np.float32), 1)[0, 0] == 0


def test_every_row_is_a_member_of_its_nearest_cell():
    rng = np.random.default_rng(0)
    keys = rng.integers(-300, 300, (500, 72)).astype(np.int16)
    cells = Cells(keys)
    members = {}
    for cell, (asking, inside) in enumerate(cells.pair_up(keys)):
        assert set(inside) <= set(asking), "each row asks its own cell first"
        members |= dict.fromkeys(inside.tolist(), cell)
    assert sorted(members) == list(range(500))
    again = Cells(keys)
    assert (again.centres == cells.centres).all()


def test_a_key_as_near_to_two_cells_is_in_the_smaller():
    keys = np.random.default_rng(1).integers(-3, 3, (400, 4)).astype(np.int16)
    cells = Cells(keys)
    half = (cells.centres**2).sum(axis=1) / 2
    far = half - keys.astype(np.float32) @ cells.centres.T
    assert ((far == far.min(axis=1, keepdims=True)).sum(axis=1) > 1).sum() > 5, "ties are what is asked"
    wanted = np.argsort(far, axis=1, kind="stable")
    for count in (1, 2, len(half)):
        assert (cells.find(keys, count) == wanted[:, :count]).all()


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures_have_no_candidates(count):
    spectra = measure(*HEADS[:2])
    if count:
        assert len(retrieve_candidates(measure(HEADS[0]))) == 0
    assert len(find_starts(spectra, np.empty((0, 2), np.intp))) == 0
