"""Plans: copies differ by what they say, everybody gets a turn, folders fill to their counts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import load_catalog
from pipeline.labels import LABELS, TUMOURS
from pipeline.phantoms.generation import plan_files
from pipeline.phantoms.hardening import HARD_STEPS
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.reference import HEADER, draw_reference, publish_reference, write_table
from pipeline.phantoms.republishing import MASOUD, SARTAJ
from pipeline.phantoms.shelves import (
    COPY_KINDS,
    FIRST_MODES,
    Plan,
    Shelf,
    deal_people,
    name_steps,
    treat_copy,
    treat_original,
)


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return plan_files(seed=0, scale=0.15)


@given(st.integers(0, 1000), st.sampled_from(COPY_KINDS), st.integers(0, 9))
def test_copies_differ_by_what_they_say(seed: int, how: tuple[str, ...], turn: int) -> None:
    rng = np.random.default_rng(seed)
    source = treat_original(rng, turn=turn)
    copy = treat_copy(source, how, rng)
    assert (copy == source) == (how == ("bytes",))
    assert (copy.mirror != source.mirror) == ("mirrored" in how)
    assert (copy.size != source.size) == ("re-scaled" in how)
    assert (copy.gain != source.gain) == ("re-brightened" in how)
    if how != ("bytes",):
        assert (copy.format, copy.quality) != (source.format, source.quality)


@given(st.lists(st.sampled_from("abcde"), max_size=40), st.integers(0, 99))
def test_nobody_has_a_second_turn_before_all_had_a_first(people: list[str], seed: int) -> None:
    dealt = deal_people(people, lambda name: name, np.random.default_rng(seed))
    assert Counter(dealt) == Counter(people)
    assert len(set(dealt[: len(set(people))])) == len(set(people))


def test_steps_are_named_against_the_rendered_picture() -> None:
    assert name_steps(Treatment()) == ("re-encoded",)
    steps = name_steps(Treatment(mirror=True, size=(150, 168), gain=0.8))
    assert steps == ("mirrored", "re-scaled", "re-brightened")


def test_first_files_of_a_class_take_every_mode() -> None:
    rng = np.random.default_rng(0)
    taken = [treat_original(rng, turn=turn) for turn in range(len(FIRST_MODES))]
    assert [(treatment.mode, treatment.format) for treatment in taken] == list(FIRST_MODES)


def test_a_path_is_planned_once() -> None:
    shelf = Shelf(0)
    shelf.add(Plan("here", "a.jpg", None, Treatment()))
    with pytest.raises(ValueError, match=r"here/a\.jpg is planned twice"):
        shelf.add(Plan("here", "a.jpg", None, Treatment()))


@pytest.mark.parametrize("edition", [MASOUD, SARTAJ], ids=lambda edition: edition.name)
def test_folders_fill_to_their_counts(plans: list[Plan], edition: object) -> None:
    assert edition in (MASOUD, SARTAJ)
    layout = load_catalog().collections[edition.name].layout
    assert {part.path for part in layout.folders} == set(edition.folders.values())
    sound = [
        plan
        for plan in plans
        if plan.collection == edition.name
        and plan.quarantine is None
        and plan.foreign is None
        and not plan.contradicts
        and not set(plan.how) & set(HARD_STEPS)
    ]
    counts = Counter((plan.split, plan.label) for plan in sound)
    assert counts == {
        (split, label): least
        for split, least in zip(("train", "test"), edition.fewest, strict=True)
        for label in LABELS
    }
    for plan in sound:
        folder = f"{edition.folders[plan.split or 'train']}/{edition.spelling[plan.label or 'glioma']}/"
        assert plan.path.startswith(folder)


def test_reference_table_lists_pictures_and_leaves_out_matlab_files() -> None:
    shelf = Shelf(0)
    slices = draw_reference(shelf, 0.15)
    assert set(slices) == set(TUMOURS)
    publish_reference(shelf, slices)
    rows = [(plan, (0.5, 0.25, 0.125, 0.0625)) for plan in shelf.plans]
    lines = write_table(rows).decode().splitlines()
    assert lines[0] == HEADER
    matlab = [plan for plan in shelf.plans if plan.path.endswith(".mat")]
    pictures = [plan for plan in shelf.plans if plan.path.startswith("images/")]
    assert len(matlab) >= 3
    assert len(lines) - 1 == len(pictures)
    assert lines[1] == f"1,images/1.jpg,1,{pictures[0].pid},0.5000,0.2500,0.1250,0.0625"
