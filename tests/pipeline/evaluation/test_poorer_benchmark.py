"""What the benchmark tells of two models on poorer images, against plain counts; and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytest import CaptureFixture, MonkeyPatch

from benchmarks import poorer
from benchmarks.poorer import compare_ladders, list_sets
from pipeline.errors import TableError
from pipeline.evaluation.predictions import PROBABILITIES
from pipeline.labels import LABELS

Predict = Callable[..., pd.DataFrame]
PACES = {"gaussian_blur": 0.6, "jpeg": 0.2, "motion_blur": 0.4}


def count_accuracy(frame: pd.DataFrame) -> "pd.Series[float]":
    """Mean accuracy by kind, row by row: first over a severity's images, then over severities."""
    called = np.array(LABELS)[frame[PROBABILITIES].to_numpy().argmax(axis=1)]
    right = frame.assign(right=called == frame["label"])
    by_variant = right.groupby("variant")["right"].mean()
    return by_variant.groupby(by_variant.index.str.split(":").str[0]).mean()


def test_every_row_is_that_of_a_plain_count(degrade: Predict) -> None:
    first, second = degrade("slim64", 3.0, paces=PACES), degrade("cnn3", 2.0, paces=PACES)
    rows = compare_ladders(
        first, second, frozenset({"gaussian_blur"}), frozenset({"gaussian_blur"}), draws=200
    )
    found = {row.images: row for row in rows}
    for side, frame in (("first", first), ("second", second)):
        counted = count_accuracy(frame)
        told = {name: getattr(row, side) for name, row in found.items()}
        assert told["clean"] == pytest.approx(counted["clean"])
        assert told["all kinds, 3"] == pytest.approx(counted[list(PACES)].mean())
        assert told["kinds that the first trains on (gaussian_blur)"] == pytest.approx(
            counted["gaussian_blur"]
        )
        assert told["kinds that neither trains on"] == pytest.approx(counted[["jpeg", "motion_blur"]].mean())
        assert {kind: told[kind] for kind in PACES} == pytest.approx(counted[list(PACES)].to_dict())
    for row in rows:
        assert row.low <= row.first - row.second <= row.high
    assert found["all kinds, 3"].low > 0, "the first is better by far"


def test_a_model_against_itself_differs_by_nothing_and_its_order_does_not_matter(
    degrade: Predict,
) -> None:
    frame = degrade("slim64", 3.0, paces=PACES)
    mixed = frame.sample(frac=1, random_state=3)
    for row in compare_ladders(frame, mixed, frozenset(), frozenset(), draws=50):
        assert (row.first, row.low, row.high) == (row.second, 0, 0)


def test_other_severities_or_images_are_refused(degrade: Predict) -> None:
    first = degrade("slim64", 3.0, paces=PACES)
    fewer = degrade("cnn3", 2.0, paces={"jpeg": 0.2})
    with pytest.raises(TableError, match=r"'jpeg': 5\}, the second .* severities; predict both anew"):
        compare_ladders(fewer, first, frozenset(), frozenset(), draws=5)
    others = first[first["path"] > "Testing/00010.png"]
    with pytest.raises(TableError, match="did not answer the same images"):
        compare_ladders(first, others, frozenset(), frozenset(), draws=5)


def test_sets_without_a_kind_are_left_out() -> None:
    assert list(list_sets(["jpeg"], frozenset(), frozenset())) == [
        "clean", "all kinds, 1", "kinds that neither trains on", "jpeg"
    ]  # fmt: skip
    both = frozenset({"jpeg"})
    assert list(list_sets(["jpeg"], both, both)) == [
        "clean", "all kinds, 1", "kinds that the first trains on (jpeg)", "jpeg"
    ]  # fmt: skip


def test_a_recipe_that_has_not_answered_is_refused(
    tmp_path: Path, monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    (tmp_path / "lake").mkdir()
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["poorer", "--home", str(tmp_path), "--recipes", "slim64", "cnn3"])
    assert poorer.main() == 2
    assert "slim64 has answered nothing in " in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["poorer", "--home", str(tmp_path), "--recipes", "luck", "cnn3"])
    assert poorer.main() == 2
    assert "there is no recipe 'luck'" in capsys.readouterr().err
