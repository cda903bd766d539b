"""The frozen ledger: nobody ever moves, whatever is added, removed, renamed, re-encoded or proven later."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_worlds import Shot, Tables, head_shots, pass_gate, single_shots, tabulate

from pipeline.curation.gate import inspect_split
from pipeline.curation.ledger import extend_ledger, read_ledger, recall_splits
from pipeline.curation.splits import split_patient
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.tables import from_arrow, to_arrow

BASE = single_shots(4)
REASONS = (
    "bridges splits: ",
    "now shares a picture or patient with ",
    "copies of this picture carry different",
)


def split_of(tables: Tables, **options) -> pd.DataFrame:
    return split_patient(*tables.three, pictures=tables.pictures, **options)


def extend(ledger: pd.DataFrame | None, split: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return extend_ledger(ledger, split, pictures=tables.pictures, patients=tables.patients)


def freeze(tables: Tables, ledger: pd.DataFrame | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    split = split_of(tables, ledger=ledger)
    return split.set_index("image_id"), extend(ledger, split, tables)


def ids(shots: Sequence[Shot]) -> list[str]:
    return [shot.image_id for shot in shots]


@dataclass
class History:
    """What a curator does to the collections over the years, and what must hold after each step."""

    shelves: dict[str, list[Shot]]
    present: set[str] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    ledger: pd.DataFrame | None = None
    homes: dict[str, str] = field(default_factory=dict)
    shown: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def step(self, action: str, which: int) -> None:
        names = sorted(self.shelves)
        name = names[which % len(names)]
        if action == "add":
            self.present.add(name)
        elif action == "remove":
            self.present.discard(name)
        elif action == "rename":
            self.folder = f"renamed-{which}/"
        elif action == "reencode":
            self.shelves[name] = [shot.reencoded() for shot in self.shelves[name]]
        else:
            self.prove(action, which)
        self.curate(which)

    def prove(self, what: str, which: int) -> None:
        """Two patients, or two pictures, turn out to be one."""
        shots = [shot for shelf in self.shelves.values() for shot in shelf]
        known = sorted({getattr(shot, what) for shot in shots} - {None})
        one, other = known[which % len(known)], known[(which // 7) % len(known)]
        while one in self.same:
            one = self.same[one]
        while other in self.same:
            other = self.same[other]
        if one != other:
            self.same[max(one, other)] = min(one, other)

    def curate(self, seed: int) -> None:
        shots = BASE + [shot for name in sorted(self.present) for shot in self.shelves[name]]
        tables = tabulate(shots, folder=self.folder, same=self.same)
        split = split_of(tables.shuffled(seed), ledger=self.ledger)
        self.check(split, tables)
        extended = extend(self.ledger, split, tables)
        self.check_ledger(extended, split, tables)
        self.ledger = extended

    def check(self, split: pd.DataFrame, tables: Tables) -> None:
        pass_gate(split, tables, "patient")
        assert sorted(split["image_id"]) == sorted(tables.images["image_id"])
        today = {
            one: (picture, head if isinstance(head, str) else None)
            for one, picture, head in zip(
                tables.pictures["image_id"],
                tables.pictures["picture_id"],
                tables.patients.set_index("image_id")["patient_id"].reindex(tables.pictures["image_id"]),
                strict=True,
            )
        }
        for row in split.to_dict("records"):
            if row["split"] == "left_out":
                assert row["why"].startswith(REASONS)
                continue
            assert self.homes.setdefault(row["image_id"], row["split"]) == row["split"]
        self.shown |= today
        tested = [self.shown[one] for one, part in self.homes.items() if part == "test"]
        pictures, heads = {picture for picture, _ in tested}, {head for _, head in tested} - {None}
        for row in split[split["split"].isin(["train", "val"])].to_dict("records"):
            picture, head = today[row["image_id"]]
            assert picture not in pictures and head not in heads, row

    def check_ledger(self, extended: pd.DataFrame, split: pd.DataFrame, tables: Tables) -> None:
        """It only grows; the split follows from it; a kill between the two writes loses nothing."""
        if self.ledger is not None:
            rows = set(map(tuple, extended.astype(object).fillna("").to_numpy()))
            assert set(map(tuple, self.ledger.astype(object).fillna("").to_numpy())) <= rows
        pd.testing.assert_frame_equal(from_arrow("ledger", to_arrow("ledger", extended)), extended)
        pd.testing.assert_frame_equal(split_of(tables, ledger=extended), split)
        pd.testing.assert_frame_equal(split_of(tables, ledger=self.ledger, previous=split), split)
        pd.testing.assert_frame_equal(extend(extended, split, tables), extended)
        homes = {one: home.part for one, home in recall_splits(extended).items()}
        assert homes == self.homes


def shelves() -> dict[str, list[Shot]]:
    """Two collections with patients of their own, one with copies of some of both, one of unknown singles."""
    first, second = head_shots(2, 1, "first"), head_shots(1, 2, "second")
    second = [
        Shot(f"second {shot.name}", "second", shot.label, f"second {shot.picture}", f"second {shot.patient}")
        for shot in second
    ]
    copies = [replace(shot, collection="copies", patient=None) for shot in [*first[::2], *second[::3]]]
    return {"first": first, "second": second, "copies": copies, "singles": single_shots(1, "singles")}


ACTIONS = ["add", "add", "add", "remove", "rename", "reencode", "patient", "picture"]


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10_000)), min_size=2, max_size=7))
def test_nobody_ever_moves_and_nothing_ever_crosses(steps):
    history = History(shelves())
    history.curate(0)
    for action, which in steps:
        history.step(action, which)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10_000)), min_size=4, max_size=16))
def test_nobody_ever_moves_in_long_histories(steps):
    history = History(shelves())
    history.curate(0)
    for action, which in steps:
        history.step(action, which)


@settings(max_examples=6, deadline=None)
@given(order=st.permutations(["first", "second", "copies", "singles"]))
def test_collections_may_come_in_any_order(order):
    history = History(shelves())
    for name in order:
        history.step("add", sorted(history.shelves).index(name))
    assert len(history.homes) == len(BASE) + sum(map(len, history.shelves.values()))


WORLD = single_shots(8) + head_shots(4, 2, "ref", ["copies"])


@pytest.fixture(scope="module")
def frozen() -> tuple[pd.DataFrame, pd.DataFrame]:
    return freeze(tabulate(WORLD))


def pick(split: pd.DataFrame, part: str, skip: int = 0) -> Shot:
    """A reference slice in a part."""
    return [shot for shot in WORLD if shot.patient and split.at[shot.image_id, "split"] == part][skip]


def test_the_same_data_keep_everything_to_the_byte(frozen):
    first, ledger = frozen
    again, unchanged = freeze(tabulate(WORLD), ledger)
    pd.testing.assert_frame_equal(again, first)
    pd.testing.assert_frame_equal(unchanged, ledger)
    assert set(ledger["release"]) == {1}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_collection_that_comes_back_returns_to_where_it_was(frozen, part):
    first, ledger = frozen
    kept = [shot for shot in WORLD if shot.collection == "base"]
    between, ledger = freeze(tabulate(kept), ledger)
    assert (between["split"] == first["split"].reindex(between.index)).all()
    after, ledger = freeze(tabulate(WORLD), ledger)
    pd.testing.assert_series_equal(after["split"], first["split"])
    assert (first["split"] == part).any()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_reencoded_slice_joins_its_patient_even_when_the_old_images_are_gone(frozen, part):
    first, ledger = frozen
    shot = pick(first, part)
    new = [other.reencoded() for other in WORLD if other.patient == shot.patient]
    rest = [other for other in WORLD if other.picture not in {one.picture for one in new}]
    after, _ = freeze(tabulate([*rest, *new]), ledger)
    assert set(after.loc[ids(new), "split"]) == {part}
    assert set(after.loc[ids(new), "why"]) == {f"joins its group in {part}"}


def test_a_newcomer_joins_through_another_newcomer(frozen):
    first, ledger = frozen
    home = pick(first, "test")
    link = Shot("link", "late", home.label, "link", home.patient)
    far = [Shot(f"far{k}", "late", home.label, "link") for k in range(2)]
    after, _ = freeze(tabulate([*WORLD, link, *far]), ledger)
    assert set(after.loc[ids([link, *far]), "split"]) == {"test"}


def test_a_newcomer_that_bridges_is_left_out_and_nobody_else(frozen):
    first, ledger = frozen
    one, other = pick(first, "train"), pick(first, "test")
    tables = tabulate([*WORLD, bridge := Shot("bridge", "late", one.label, "bridge")])
    # Its picture is the one's, its patient the other's, as two collections may claim.
    shown, heads = tables.pictures.set_index("image_id"), tables.patients.set_index("image_id")
    shown.loc[bridge.image_id, "picture_id"] = shown.at[one.image_id, "picture_id"]
    heads.loc[bridge.image_id, "patient_id"] = heads.at[other.image_id, "patient_id"]
    tables = replace(tables, pictures=shown.reset_index(), patients=heads.reset_index())
    after, extended = freeze(tables, ledger)
    assert tuple(after.loc[bridge.image_id, ["split", "why"]]) == (
        "left_out",
        "bridges splits: shares a picture or patient with train and test",
    )
    assert (after["split"].reindex(first.index) == first["split"]).all()
    assert bridge.image_id not in set(extended["image_id"])


def test_newcomers_that_connect_splits_only_together_are_left_out(frozen):
    first, ledger = frozen
    one, other = pick(first, "train"), pick(first, "test")
    late = [Shot("1", "late", one.label, "new", one.patient), Shot("2", "late", one.label, "new")]
    tables = tabulate([*WORLD, *late])
    heads = tables.patients.set_index("image_id")
    heads.loc[late[1].image_id, "patient_id"] = other.patient
    after, _ = freeze(replace(tables, patients=heads.reset_index()), ledger)
    assert set(after.loc[ids(late), "split"]) == {"left_out"}
    assert set(after.loc[ids(late), "why"]) == {
        "bridges splits: connected through others with train and test"
    }


@pytest.mark.parametrize(("weak", "strong"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_two_patients_proven_to_be_one_leave_the_weaker_side_out(frozen, weak, strong):
    first, ledger = frozen
    one, other = pick(first, weak), pick(first, strong)
    merged = tabulate(WORLD, same={one.patient: other.patient})
    after, extended = freeze(merged, ledger)
    gone = ids([shot for shot in WORLD if shot.name.rsplit("-", 1)[0] == one.name.rsplit("-", 1)[0]])
    gone = [image_id for image_id in gone if first.at[image_id, "collection"] != "base"]
    assert set(after.loc[gone, "split"]) == {"left_out"}
    assert set(after.loc[gone, "why"]) == {f"now shares a picture or patient with {strong}: {weak} gives way"}
    rest = first.index.difference(gone)
    pd.testing.assert_series_equal(after["split"].reindex(rest), first["split"].reindex(rest))
    # The proof is withdrawn: they return to where they were, and never elsewhere.
    back, _ = freeze(tabulate(WORLD), extended)
    pd.testing.assert_series_equal(back["split"], first["split"])


def test_a_test_patient_that_is_gone_still_keeps_train_images_out(frozen):
    first, ledger = frozen
    one, other = pick(first, "train"), pick(first, "test")
    left = [
        shot for shot in WORLD if not shot.picture.startswith(other.patient[:-1] + "-" + other.patient[-1])
    ]
    after, _ = freeze(tabulate(left, same={one.patient: other.patient}), ledger)
    assert after.at[one.image_id, "split"] == "left_out"


def test_what_a_newcomer_connects_is_remembered_when_it_is_gone(frozen):
    """An image of unknown patient in test gets one later; then both go; the patient stays out of train."""
    first, ledger = frozen
    single = next(shot for shot in WORLD if not shot.patient and first.at[shot.image_id, "split"] == "test")
    named = Shot("named", "late", single.label, single.picture, "late head")
    _, ledger = freeze(tabulate([*WORLD, named]), ledger)
    rest = [shot for shot in WORLD if shot != single]
    _, ledger = freeze(tabulate(rest), ledger)
    new = Shot("new", "later", single.label, "new picture", "late head")
    after, _ = freeze(tabulate([*rest, new]), ledger)
    assert after.at[new.image_id, "split"] == "test"


def test_an_image_set_aside_keeps_its_home(frozen):
    first, ledger = frozen
    shot = replace(pick(first, "test"), collection="copies", patient=None)
    told = {shot.picture: next(label for label in LABELS if label != shot.label)}
    aside, ledger = freeze(tabulate(WORLD, reference=told), ledger)
    assert aside.at[shot.image_id, "split"] == "left_out"
    assert aside.at[shot.image_id, "why"].startswith("label contradicts reference")
    back, _ = freeze(tabulate(WORLD), ledger)
    pd.testing.assert_frame_equal(back, first)


def test_a_class_without_open_groups_is_refused(frozen):
    _, ledger = frozen
    tumours = [shot for shot in WORLD if shot.label != "no_tumor"]
    homes = recall_splits(ledger)
    healthy = [shot for shot in WORLD if shot.label == "no_tumor" and homes[shot.image_id].part == "train"]
    with pytest.raises(
        GateError, match=r"not every class can be in each of train, val, test.*add a collection"
    ):
        freeze(tabulate([*tumours, *healthy]), ledger)


def test_a_ledger_that_contradicts_itself_is_refused(frozen):
    _, ledger = frozen
    row = ledger[ledger["split"] == "test"].iloc[[0]].assign(release=2, split="train")
    with pytest.raises(GateError, match=r"contradicts itself: .* split test .* split train .* in release 2"):
        read_ledger(pd.concat([ledger, row]))
    with pytest.raises(GateError, match="contradicts itself"):
        read_ledger(ledger.assign(split="left_out"))


def test_a_split_that_moves_somebody_is_refused(frozen):
    first, ledger = frozen
    split = first.reset_index()
    split.loc[split["split"] == "test", "split"] = "train"
    with pytest.raises(GateError, match=r"split test .* in the ledger, and now split train"):
        extend(ledger, split, tabulate(WORLD))
    with pytest.raises(GateError, match="nobody may be moved"):
        split_of(tabulate(WORLD), ledger=ledger, previous=split)


def test_an_earlier_table_alone_is_carried_forward(frozen):
    """Without a ledger, what the earlier table knows counts, its pictures included."""
    first, _ = frozen
    again = split_of(tabulate(WORLD), previous=first.reset_index())
    pd.testing.assert_frame_equal(again.set_index("image_id"), first)


def test_gate_sees_what_the_ledger_would_have_kept_apart(frozen):
    """A negative control of these tests: without the ledger a bridging newcomer does leak."""
    first, _ = frozen
    one, other = pick(first, "train"), pick(first, "test")
    merged = tabulate(WORLD, same={one.patient: other.patient})
    found = {
        finding.check: finding
        for finding in inspect_split(first.reset_index(), *merged.evidence, protocol="patient")
    }
    assert not found["shared_patient"].passed
