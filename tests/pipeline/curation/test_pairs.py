"""Pairs: copies under every change are proven, neighbours are not, and nothing but the pixels matters."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from painted_heads import (
    adjust,
    blur,
    crop,
    equalise,
    name_image,
    pad,
    paint_head,
    reencode,
    rotate,
    tabulate_thumbnails,
)
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.curation.candidates import judge_candidates
from pipeline.curation.orientation import unflatten
from pipeline.curation.pairs import compare_images
from pipeline.curation.retrieval import retrieve_candidates
from pipeline.curation.verdicts import COPY, REVIEW
from pipeline.errors import TableError
from pipeline.tables import find_table, from_arrow, to_arrow

HEADS = {f"head{seed}": paint_head(seed) for seed in range(12)}


def mirror(pixels):
    return np.ascontiguousarray(pixels[:, ::-1])


CHANGES = {
    "re-encoded": reencode,
    "squeezed": lambda p: cv2.resize(p, (300, 190)),
    "bright": lambda p: adjust(p, 1.3),
    "gamma": lambda p: adjust(p, 1, 2.2),
    "CLAHE": equalise,
    "blurred": lambda p: blur(p, 2.2),
    "mirrored": mirror,
    "upside down": lambda p: np.ascontiguousarray(p[::-1]),
    "quarter turn": lambda p: np.ascontiguousarray(np.rot90(p)),
    "rotated": lambda p: rotate(p, 13),
    "cropped": lambda p: crop(p, 0.14, 0.02, 0.1, 0.12),
    "padded": lambda p: pad(p, 0.02, 0.14, 0.1, 0.05),
    "white frame": lambda p: 255 - pad(255 - p, 0.1, 0.05, 0.06, 0.12),
    "rotated, mirrored, CLAHE": lambda p: reencode(equalise(mirror(rotate(p, -9)))),
    "cropped, dark, blurred": lambda p: reencode(blur(adjust(crop(p, 0.1, 0.05, 0.1, 0.1), 0.6), 1.5)),
    "rotated, padded, gamma": lambda p: reencode(adjust(pad(rotate(p, 8), 0.1, 0.1, 0, 0), 1, 0.7)),
}


def compare(stack, **options):
    return compare_images(tabulate_thumbnails(stack), **options)


def join_names(pairs, names, verdict="copy"):
    called = {name_image(name): name for name in names}
    kept = pairs[pairs["verdict"] == verdict]
    return {frozenset((called[a], called[b])) for a, b in zip(kept["first"], kept["second"], strict=True)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_is_proven(change):
    stack = HEADS | {f"copy{seed}": change(HEADS[f"head{seed}"]) for seed in (1, 5)}
    expected = {frozenset((f"head{seed}", f"copy{seed}")) for seed in (1, 5)}
    assert join_names(compare(stack), stack) == expected


def test_neighbours_are_not_joined_even_when_turned_and_blurred():
    slices = {f"slice{k}": paint_head(3, slice_seed=k) for k in range(5)}
    turned = {f"turned{k}": mirror(rotate(blur(pixels, 1.5), 6)) for k, pixels in enumerate(slices.values())}
    pairs = compare(slices | turned)
    expected = {frozenset((f"slice{k}", f"turned{k}")) for k in range(5)}
    assert join_names(pairs, slices | turned) == expected
    others = pairs[pairs["verdict"] != "copy"]
    assert (others["score"] < COPY).all()


def test_transform_says_where_points_went():
    pairs = compare({"head": HEADS["head2"], "copy": mirror(rotate(HEADS["head2"], 10))})
    row = pairs.iloc[0]
    transform = unflatten(row["transform"])
    angle = np.deg2rad(10)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    forth = np.diag([-1.0, 1.0]) @ spin
    expected = forth if row["first"] == name_image("head") else np.linalg.inv(forth)
    np.testing.assert_allclose(transform[:, :2], expected, atol=0.01)
    assert row["mirrored"] and row["turned"] == 0 and row["worst"] > 0.8


def test_table_is_as_declared_and_verdicts_follow_the_rules():
    stack = HEADS | {"copy": rotate(HEADS["head0"], 9), "again": reencode(HEADS["head3"])}
    pairs = compare(stack)
    from_arrow("pairs", to_arrow("pairs", pairs))
    assert list(pairs.columns) == find_table("pairs").names
    assert (pairs["first"] < pairs["second"]).all()
    assert not pairs.duplicated(["first", "second"]).any()
    aligned = pairs["evidence"] == "aligned"
    assert pairs.loc[aligned, "worst"].notna().all() and pairs.loc[~aligned, "worst"].isna().all()
    assert (pairs.loc[pairs["verdict"] == "rejected", "score"] < REVIEW).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_images(count):
    pairs = compare(dict(list(HEADS.items())[:count]))
    assert list(pairs.columns) == find_table("pairs").names
    to_arrow("pairs", pairs)
    assert not (pairs["verdict"] == "copy").any()


def test_blank_and_identical_thumbnails():
    blank = {f"blank{k}": np.full((256, 256), 10 + k, np.uint8) for k in range(3)}
    twins = {"twin": HEADS["head4"], "other twin": HEADS["head4"]}
    pairs = compare(HEADS | blank | twins)
    trio = ("head4", "twin", "other twin")
    expected = {frozenset(pair) for pair in ((trio[0], trio[1]), (trio[0], trio[2]), (trio[1], trio[2]))}
    assert join_names(pairs, HEADS | blank | twins) == expected
    assert (pairs.loc[pairs["verdict"] == "copy", "score"] == 1).all()


def test_noise_and_single_dots_do_no_harm():
    rng = np.random.default_rng(0)
    noise = {f"noise{k}": rng.integers(0, 256, (256, 256)).astype(np.uint8) for k in range(3)}
    dots = {f"dot{k}": np.zeros((256, 256), np.uint8) for k in range(3)}
    for k, dot in enumerate(dots.values()):
        dot[100 + 40 * k : 140 + 40 * k, 60:90] = 255
    assert join_names(compare(noise | dots), noise | dots) == set()


def test_refuses_thumbnails_of_another_size():
    frame = pd.DataFrame({"image_id": ["a"], "pixels": [bytes(4096)]})
    with pytest.raises(TableError, match="128 × 128 bytes"):
        compare_images(frame)


MIXED = {
    **HEADS,
    "turned": rotate(HEADS["head1"], 8),
    "mirror": mirror(HEADS["head2"]),
    "dark": adjust(HEADS["head2"], 0.5),
    "cut": crop(HEADS["head3"], 0.1, 0.1, 0.05, 0.1),
    "cut again": reencode(crop(HEADS["head3"], 0.1, 0.1, 0.05, 0.1)),
    "slice": paint_head(4, slice_seed=1),
}


@pytest.fixture(scope="module")
def mixed():
    return compare(MIXED)


def test_each_worker_searches_with_one_thread_of_its_libraries(monkeypatch):
    seen = []

    def watch(*arguments, **settings):
        seen.append({one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"})
        return judge_candidates(*arguments, **settings)

    monkeypatch.setattr("pipeline.curation.pairs.judge_candidates", watch)
    with threadpool_limits(2, user_api="blas"):
        compare_images(tabulate_thumbnails(MIXED), workers=2)
    assert seen == [{1}]


@pytest.mark.parametrize("workers", [2, 8])
def test_any_number_of_workers_and_any_order(mixed, workers):
    shuffled = tabulate_thumbnails(MIXED).sample(frac=1, random_state=workers)
    pd.testing.assert_frame_equal(compare_images(shuffled, workers=workers), mixed)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.sampled_from(sorted(MIXED))))
def test_reuse_gives_the_same_table_whatever_was_known(mixed, known):
    thumbnails = tabulate_thumbnails(MIXED)
    ids = {name_image(name) for name in known}
    previous = compare_images(thumbnails[thumbnails["image_id"].isin(ids)])
    stored = from_arrow("pairs", to_arrow("pairs", previous))
    pd.testing.assert_frame_equal(compare_images(thumbnails, previous=stored, known=ids), mixed)


def test_reuse_measures_nothing_again(mixed, monkeypatch):
    def fail(*_):
        raise AssertionError("aligned again")

    monkeypatch.setattr("pipeline.curation.candidates.align_pairs", fail)
    monkeypatch.setattr("pipeline.curation.reencodings._prove_batch", fail)
    thumbnails = tabulate_thumbnails(MIXED)
    again = compare_images(thumbnails, previous=mixed, known=set(thumbnails["image_id"]))
    pd.testing.assert_frame_equal(again, mixed)


def test_images_that_went_leave_no_trace():
    rest = {name: pixels for name, pixels in MIXED.items() if name not in ("mirror", "cut")}
    thumbnails = tabulate_thumbnails(MIXED)
    reused = compare(rest, previous=compare_images(thumbnails), known=set(thumbnails["image_id"]))
    pd.testing.assert_frame_equal(reused, compare(rest))


@settings(max_examples=4, deadline=None)
@given(st.integers(100, 2**16))
def test_an_unrelated_image_changes_no_verdict_of_others(mixed, seed):
    after = compare(MIXED | {"new": paint_head(seed)})
    new = name_image("new")
    kept = after[(after["first"] != new) & (after["second"] != new)]
    proven = mixed[mixed["verdict"] == "copy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[kept["verdict"] == "copy"].reset_index(drop=True), proven)


@pytest.mark.parametrize(("rounds", "edges"), [(1, 1), (3, 2)])
def test_copies_that_were_crowded_out_are_found_in_the_next_round(rounds, edges, monkeypatch):
    """As if a retrieval had room for a single pair."""
    monkeypatch.setattr("pipeline.curation.candidates.ROUNDS", rounds)
    monkeypatch.setattr(
        "pipeline.curation.candidates.retrieve_candidates",
        lambda spectra, among, **options: retrieve_candidates(spectra, among=among)[:1],
    )
    turned = {f"turned{k}": rotate(HEADS["head0"], 9 * k) for k in (-1, 1)}
    assert len(join_names(compare({"head0": HEADS["head0"], **turned}), ["head0", *turned])) == edges
