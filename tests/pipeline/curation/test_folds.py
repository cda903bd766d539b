"""Five folds: whole groups, equal shares, every image tested once, frozen once they are given."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_worlds import Shot, Tables, head_shots, pass_gate, single_shots, tabulate

from pipeline.curation.folds import make_folds, split_fold
from pipeline.curation.ledger import extend_ledger
from pipeline.errors import GateError
from pipeline.labels import LABELS
from pipeline.tables import from_arrow, to_arrow

WORLD = single_shots(20) + head_shots(10, 3, "ref", ["copies"])
NUMBERS = (1, 2, 3, 4, 5)


def fold(tables: Tables, **options) -> pd.DataFrame:
    return make_folds(*tables.three, pictures=tables.pictures, **options)


def split(folds: pd.DataFrame, tables: Tables, number: int) -> pd.DataFrame:
    return split_fold(folds, *tables.three, number, pictures=tables.pictures)


def number_of(folds: pd.DataFrame) -> "pd.Series[int]":
    return folds.set_index("image_id")["fold"]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return tabulate(WORLD)


@pytest.fixture(scope="module")
def folds(tables) -> pd.DataFrame:
    return fold(tables)


def test_shares_are_equal_in_images_and_groups_of_each_label(folds, tables):
    pd.testing.assert_frame_equal(from_arrow("folds", to_arrow("folds", folds)), folds)
    joined = folds.merge(tables.images, on="image_id").merge(tables.groups, on="image_id")
    for label in LABELS:
        rows = joined[joined["label"] == label]
        for number in NUMBERS:
            held = rows[rows["fold"] == number]
            assert abs(len(held) / len(rows) - 0.2) < 0.01
            assert held["group_id"].nunique() == rows["group_id"].nunique() / 5


def test_every_image_is_tested_once_and_nothing_crosses(folds, tables):
    tested: list[str] = []
    for number in NUMBERS:
        made = split(folds, tables, number)
        to_arrow("splits", made)
        pass_gate(made, tables, f"fold:{number}")
        tested += made.loc[made["split"] == "test", "image_id"].tolist()
        val = set(made.loc[made["split"] == "val", "image_id"])
        assert val == set(folds.loc[folds["fold"] == number % 5 + 1, "image_id"])
        assert set(made["why"]) == {f"fold {one}" for one in NUMBERS}
    assert sorted(tested) == sorted(tables.images["image_id"])


def test_row_order_changes_nothing(folds, tables):
    shuffled = tables.shuffled(8)
    pd.testing.assert_frame_equal(fold(shuffled), folds)
    pd.testing.assert_frame_equal(split(folds, shuffled, 2), split(folds, tables, 2))


def test_folds_come_back_as_they_were(folds, tables):
    kept = tabulate([shot for shot in WORLD if shot.collection == "base"])
    ledger = extend_ledger(None, pictures=tables.pictures, patients=tables.patients, folds=folds)
    between = fold(kept, ledger=ledger)
    ledger = extend_ledger(ledger, pictures=kept.pictures, patients=kept.patients, folds=between)
    pd.testing.assert_frame_equal(fold(tables, ledger=ledger), folds)
    pd.testing.assert_frame_equal(fold(tables, previous=folds), folds)


def test_a_newcomer_joins_its_group(folds):
    home = WORLD[-1]
    late = Shot("late", "late", home.label, home.picture)
    after = number_of(fold(tabulate([*WORLD, late]), previous=folds))
    assert after[late.image_id] == number_of(folds)[home.image_id]


def test_where_folds_merge_the_smaller_side_is_left_out(tables, folds):
    numbers = number_of(folds)
    slices = [shot for shot in WORLD if shot.patient and shot.label == "glioma"]
    large = slices[0]
    small = next(shot for shot in slices if numbers[shot.image_id] != numbers[large.image_id])
    extra = [Shot(f"more {k}", "ref", "glioma", f"more {k}", large.patient) for k in range(2)]
    ledger = extend_ledger(None, pictures=tables.pictures, patients=tables.patients, folds=folds)
    larger = tabulate([*WORLD, *extra])
    ledger = extend_ledger(
        ledger, pictures=larger.pictures, patients=larger.patients, folds=fold(larger, ledger=ledger)
    )
    merged = tabulate([*WORLD, *extra], same={large.patient: small.patient})
    after = fold(merged, ledger=ledger).set_index("image_id")
    gone = [shot.image_id for shot in slices if shot.patient == small.patient]
    assert after.loc[gone, "fold"].isna().all()
    told = (
        f"now shares a picture or patient with {numbers[large.image_id]}: {numbers[small.image_id]} gives way"
    )
    assert set(after.loc[gone, "why"]) == {told}
    assert (
        after["fold"].dropna() == numbers.reindex(after["fold"].dropna().index).fillna(after["fold"].dropna())
    ).all()
    for number in NUMBERS:
        pass_gate(split(after.reset_index(), merged, number), merged, f"fold:{number}")


@settings(max_examples=3, deadline=None)
@given(
    come=st.permutations(["base", "ref", "copies"]),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=3),
)
def test_nobody_ever_changes_fold(come, pairs):
    ledger, homes, present = None, {}, single_shots(5, "always")
    heads = sorted({shot.patient for shot in WORLD if shot.patient})
    same: dict[str, str] = {}
    for name, pair in [*zip(come, [None] * 3, strict=True), *((None, pair) for pair in pairs)]:
        present = [*present, *(shot for shot in WORLD if shot.collection == name)]
        if pair:
            one, other = (heads[index] for index in pair)
            if one not in same and other not in same and one != other and one not in same.values():
                same[one] = other
        tables = tabulate(present, same=same)
        made = fold(tables, ledger=ledger)
        for row in made.dropna(subset="fold").itertuples():
            assert homes.setdefault(row.image_id, row.fold) == row.fold
        pass_gate(split(made, tables, 1), tables, "fold:1")
        ledger = extend_ledger(ledger, pictures=tables.pictures, patients=tables.patients, folds=made)
        pd.testing.assert_frame_equal(fold(tables, ledger=ledger), made)


def test_conflicting_labels_are_in_no_fold(folds, tables):
    copy = next(shot for shot in WORLD if shot.collection == "copies")
    wrong = replace(copy, label="pituitary" if copy.label == "glioma" else "glioma")
    world = [wrong if shot == copy else shot for shot in WORLD]
    made = tabulate(world, reference={copy.picture: copy.label})
    after = fold(made)
    row = after.set_index("image_id").loc[copy.image_id]
    assert pd.isna(row["fold"]) and row["why"].startswith("label contradicts reference")
    assert split(after, made, 1).set_index("image_id").at[copy.image_id, "split"] == "left_out"


def test_refusals(folds, tables):
    scarce = tabulate([*single_shots(9, labels=LABELS[1:]), *single_shots(4, labels=LABELS[:1])])
    with pytest.raises(GateError, match=r"each of 1, 2, 3, 4, 5.*glioma has 4.*at least 5.*add a collection"):
        fold(scarce)
    with pytest.raises(GateError, match="there is no fold 6; folds are numbered 1 to 5"):
        split(folds, tables, 6)
    with pytest.raises(GateError, match=r"3 images have no row in `folds`.*materialise folds again"):
        split(folds.iloc[3:], tables, 1)
