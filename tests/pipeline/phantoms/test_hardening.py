"""Hard copies: every kind is planted, within its limits, and the other files are the same without them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.labels import LABELS
from pipeline.phantoms.distortions import UNDISTORTED
from pipeline.phantoms.generation import plan_files
from pipeline.phantoms.hardening import HARD_KINDS, HARD_STEPS, TARGETS, treat_hard
from pipeline.phantoms.key import hard_images, relate_files
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.scanner import SIZE


@given(st.integers(0, 10_000), st.sampled_from(HARD_KINDS), st.booleans())
def test_a_hard_copy_differs_by_what_it_says_and_no_more(seed, how, mirror):
    source = Treatment(mirror=mirror, quality=90, tags=(1, "7"))
    copy = treat_hard(source, how, np.random.default_rng(seed))
    done = copy.distortion
    assert done != UNDISTORTED
    assert copy.tags is None
    assert (copy.mirror != source.mirror) == ("mirrored" in how)
    assert (done.turn in (90, 180, 270)) == ("turned" in how)
    assert (5 <= abs(done.angle) <= 12) == ("rotated" in how)
    assert (done.clip > 0) == ("equalised" in how)
    assert (done.blur > 0) == ("blurred" in how)
    left, top, right, bottom = done.crop
    assert max(left + right, top + bottom) <= 0.10 * SIZE
    assert (left + right > 0) == ("cropped" in how)
    assert (min(done.border) > 0) == ("bordered" in how)
    assert max(done.border) <= 0.10 * SIZE


@pytest.mark.parametrize("scale", [0.15, 1.0])
def test_every_kind_is_planted_across_collections_and_published_folders(scale):
    plans = plan_files(seed=0, scale=scale)
    hard = [plan for plan in plans if set(plan.how) & set(HARD_STEPS)]
    assert {plan.how for plan in hard} == set(HARD_KINDS)
    assert {plan.collection for plan in hard} == {target.collection for target in TARGETS}
    assert {plan.label for plan in hard} == set(LABELS)
    homes: dict[str, set[tuple[str, str | None]]] = {}
    for plan in plans:
        if plan.shown is not None and plan not in hard:
            homes.setdefault(plan.shown.picture, set()).add((plan.collection, plan.split))
    for plan in hard:
        assert plan.shown is not None
        assert homes[plan.shown.picture] - {(plan.collection, plan.split)}, "a copy of what lies elsewhere"
    leaks = [plan for plan in hard if (plan.collection, "train") in homes[plan.shown.picture]]
    assert any(plan.split == "test" for plan in leaks)
    if scale == 1.0:
        assert 60 <= len(hard) <= 100
        assert min(Counter(step for plan in hard for step in plan.how).values()) >= 5


def test_hard_copies_come_on_top(monkeypatch):
    plans = plan_files(seed=2, scale=0.15)
    monkeypatch.setattr("pipeline.phantoms.generation.plant_hard_copies", lambda shelf, scale: None)
    plain = plan_files(seed=2, scale=0.15)
    assert plans[: len(plain)] == plain
    assert len(plans) - len(plain) == sum(target.fewest for target in TARGETS)


def test_the_key_tells_hard_images_and_how_two_files_lie(key):
    for step in HARD_STEPS:
        assert hard_images(key, step), step
    turned = [file for file in key.images() if file.turned]
    assert {file.how for file in turned} == {how for how in HARD_KINDS if "turned" in how}
    for file in turned:
        assert relate_files(file, file) == (False, 0)
        source = next(one for one in key.images() if one.picture == file.picture and not one.turned)
        assert relate_files(source, file)[0] == (source.mirrored != file.mirrored)


@pytest.mark.parametrize("mirrors", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("turns", [(0, 90), (90, 0), (270, 90), (90, 180)])
def test_the_relation_of_two_files_turns_one_into_the_other(key, mirrors, turns):
    pixels = np.arange(12).reshape(3, 4)
    shown = [
        np.rot90(pixels[:, ::-1] if mirror else pixels, turn // 90)
        for mirror, turn in zip(mirrors, turns, strict=True)
    ]
    file = key.images()[0]
    first, second = (
        file.model_copy(update={"mirrored": mirror, "turned": turn})
        for mirror, turn in zip(mirrors, turns, strict=True)
    )
    mirrored, turned = relate_files(first, second)
    assert np.array_equal(np.rot90(shown[0][:, ::-1] if mirrored else shown[0], turned // 90), shown[1])
