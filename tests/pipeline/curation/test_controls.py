"""Negative controls: every planted fault is caught by the check that must, on tables and on files."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.catalog import load_catalog
from pipeline.curation import faults, raw_faults
from pipeline.curation.chain import Curated
from pipeline.curation.conflicts import list_conflicts
from pipeline.curation.controls import (
    CONTROLS,
    Catch,
    Control,
    Outcome,
    describe_outcome,
    examine,
    open_world,
    run_control,
    tabulate_outcomes,
)
from pipeline.curation.faults import World, choose_row, force_training
from pipeline.curation.inventory import Inventory, list_quarantine
from pipeline.curation.ledger import extend_ledger
from pipeline.curation.splits import split_patient
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.phantoms import generate
from pipeline.tables import find_table

BY_NAME = {control.name: control for control in CONTROLS}
IN_TABLES = [control for control in CONTROLS if control.plant.__module__ == faults.__name__]
ON_DISK = [control for control in CONTROLS if control.plant.__module__ == raw_faults.__name__]
ASKED = {
    "leaked picture", "mirrored leak", "leaked patient", "unmapped label", "lost file", "changed count",
    "conflicting label",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(kit, tmp_path_factory):
    """Tables alone: no folder, so the lock and the counts have nothing to say."""
    corpus = kit.Corpus()
    kit.fill(corpus, LABELS)
    for label in LABELS:
        for index in range(8):
            for copy in "ab":
                corpus.add(f"{copy}/{label}-{index}", label, picture=f"twin {label} {index}")
    tables = corpus.tables()
    split = split_patient(tables.images, tables.patients, tables.groups, pictures=tables.pictures)
    aside = tables.files.iloc[[0]].assign(path="Thumbs.db", reason="not_an_image", detail="no image")
    files = pd.concat([tables.files, aside], ignore_index=True)
    conflicts = list_conflicts(tables.images, tables.pictures, tables.patients)
    ledger = extend_ledger(None, split, pictures=tables.pictures, patients=tables.patients)
    pairs = pd.DataFrame(columns=find_table("pairs").names)
    nothing = {
        name: pd.DataFrame(columns=find_table(name).names) for name in ("thumbnails", "looks", "foreign")
    }
    found = Inventory(files, tables.records, nothing["thumbnails"], nothing["looks"])
    curated = Curated(
        found, nothing["foreign"], files, list_quarantine(files), tables.images, pairs, tables.pictures,
        tables.patients, tables.groups, conflicts, ledger, split,
    )  # fmt: skip
    return World({}, {}, tmp_path_factory.mktemp("lock") / "lock.json", curated)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    root = tmp_path_factory.mktemp("controls")
    key = generate(root / "raw", seed=5, scale=0.15)
    folders = {name: root / "raw" / name for name in key.collections}
    return open_world(load_catalog().collections, folders, root / "lock.json")


def test_all_faults_that_were_asked_for_are_planted():
    assert set(BY_NAME) >= ASKED
    assert len(BY_NAME) == len(CONTROLS) == len(IN_TABLES) + len(ON_DISK)
    assert [control.name for control in CONTROLS if not control.wanted] == ["no fault"]


@pytest.mark.parametrize("control", IN_TABLES, ids=lambda control: control.name)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_a_fault_in_tables_is_caught_wherever_it_hits(world, tmp_path, control, seed):
    outcome = run_control(control, world, tmp_path, seed=seed)
    assert outcome.passed, describe_outcome(outcome)
    assert outcome.refused == bool(control.wanted)


@pytest.mark.slow
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_a_fault_in_phantoms_is_caught(phantoms, tmp_path, control):
    outcome = run_control(control, phantoms, tmp_path, seed=11)
    assert outcome.passed, describe_outcome(outcome)


@pytest.mark.slow
def test_a_leaked_file_never_reaches_training(phantoms, tmp_path):
    """Whichever test picture it shows, the new file is in test or left out, and the join says mirrored."""
    for seed in range(3):
        scratch = tmp_path / str(seed)
        scratch.mkdir()
        outcome = run_control(BY_NAME["mirrored leak"], phantoms, scratch, seed=seed)
        said = [catch.said for catch in outcome.catches if catch.check == "split"]
        assert len(said) == 1
        assert said[0].startswith(("put into test", "put into left_out"))


def test_the_same_seed_plants_the_same_fault_in_any_order_of_rows(world, tmp_path):
    shuffled = world.curated.split.sample(frac=1, random_state=3)
    other = replace(world, curated=replace(world.curated, split=shuffled))
    for control in IN_TABLES:
        first, again = (control.plant(one, 4, tmp_path).words for one in (world, other))
        assert first == again
    words = {BY_NAME["leaked picture"].plant(world, seed, tmp_path).words for seed in range(12)}
    assert len(words) > 3


def test_planting_leaves_the_healthy_world_alone(world, tmp_path):
    before = {name: len(getattr(world.curated, name)) for name in ("split", "quarantine", "images")}
    split = world.curated.split.copy()
    for control in IN_TABLES:
        control.plant(world, 0, tmp_path)
    assert {name: len(getattr(world.curated, name)) for name in before} == before
    pd.testing.assert_frame_equal(world.curated.split, split)
    assert list(examine(world)) == []


def test_a_fault_that_nothing_catches_is_wrong(world, tmp_path):
    blind = Control("blind", faults.plant_nothing, ("shared_picture", "lock"))
    outcome = run_control(blind, world, tmp_path)
    assert not outcome.passed
    assert not outcome.refused
    assert outcome.missing == ("shared_picture", "lock")
    line = tabulate_outcomes([outcome]).splitlines()[1]
    assert "allowed" in line
    assert "WRONG, not by shared_picture, lock; caught by nothing" in line


def test_a_fault_that_stops_nothing_is_wrong():
    seen = Outcome(
        Control("seen", faults.plant_nothing, ("counts",)), "x", (Catch("counts", "1 less", False),)
    )
    assert seen.missing == ()
    assert not seen.passed


def test_a_false_alarm_is_wrong(world, tmp_path):
    noisy = replace(BY_NAME["lost row"], wanted=())
    outcome = run_control(noisy, world, tmp_path)
    assert not outcome.passed
    assert "WRONG, false alarm; caught by counts_add_up" in tabulate_outcomes([outcome])


def test_the_table_tells_fault_verdict_and_checks(world, tmp_path):
    outcomes = [run_control(BY_NAME[name], world, tmp_path) for name in ("no fault", "leaked patient")]
    head, healthy, leak = tabulate_outcomes(outcomes).splitlines()
    assert head.split() == ["planted", "training", "caught", "by"]
    assert healthy.split() == ["no", "fault", "allowed", "nothing"]
    assert leak.startswith("leaked patient  refused  ")
    assert "shared_patient" in leak
    told = describe_outcome(outcomes[1])
    assert "planted  " in told
    assert "caught   shared_patient: " in told


def test_a_world_without_the_like_says_so(world, tmp_path):
    empty = world.curated.split.iloc[:0]
    with pytest.raises(GateError, match="'row': these tables hold nothing to plant it in"):
        choose_row(empty, 0, "row")


def test_forcing_adds_a_file_that_the_split_lacks(world):
    thumbs = f"{world.curated.quarantine['collection'].iloc[0]}/Thumbs.db"
    forced = force_training(world, [thumbs]).curated.split
    assert len(forced) == len(world.curated.split) + 1
    assert forced.loc[forced["path"] == "Thumbs.db", "split"].tolist() == ["train"]
