from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.standings import measure_standings

Predict = Callable[..., pd.DataFrame]


def test_seeds_are_averaged_draw_by_draw(dream: Predict) -> None:
    one, other = dream(seed=0), dream(seed=1)
    other[["p_glioma", "p_no_tumor"]] = other[["p_no_tumor", "p_glioma"]].to_numpy()
    (first,), (second,) = (measure_standings(frame, draws=50, seed=0) for frame in (one, other))
    (both,) = measure_standings(pd.concat([one, other]), draws=50, seed=0)
    assert first.macro_f1 != second.macro_f1
    assert (both.seeds, both.n, both.groups) == (2, 240, 60)
    for name in ("accuracy", "macro_f1", "miss_rate"):
        assert getattr(both, name) == pytest.approx((getattr(first, name) + getattr(second, name)) / 2)
    assert both.macro_f1_spread == pytest.approx(abs(first.macro_f1 - second.macro_f1) / 2**0.5)
    assert np.isnan(first.macro_f1_spread)
    assert both.draws == pytest.approx((first.draws + second.draws) / 2)


def test_degraded_rows_are_left_aside(dream: Predict) -> None:
    clean, degraded = dream(), dream(draw=1, variant="gaussian_noise:5")
    mixed = pd.concat([clean, degraded.assign(group_id=clean["group_id"])])
    (expected,), (found,) = (measure_standings(frame, draws=20, seed=0) for frame in (clean, mixed))
    assert found.macro_f1 == expected.macro_f1
    assert np.array_equal(found.draws, expected.draws)


def test_degraded_rows_alone_are_refused(dream: Predict) -> None:
    with pytest.raises(TableError, match="degraded variants only; clean rows are ranked"):
        measure_standings(dream(variant="gaussian_noise:5"), draws=20, seed=0)


def test_two_models_of_one_training_are_refused(dream: Predict) -> None:
    stale = dream(draw=1).assign(model_id="stale")
    with pytest.raises(TableError, match="two models of recipe demo_careful, protocol patient, seed 0"):
        measure_standings(pd.concat([dream(), stale]), draws=20, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.iloc[1:],
        lambda frame: frame.assign(group_id=frame["group_id"] + "x"),
        lambda frame: frame.assign(label="glioma"),
    ],
)
def test_seeds_tested_on_different_images_are_refused(
    dream: Predict, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    frames = pd.concat([dream(seed=0), change(dream(seed=3))])
    with pytest.raises(
        TableError, match=r"demo_careful, protocol patient: seeds 0 and 3 were tested on different"
    ):
        measure_standings(frames, draws=20, seed=0)
