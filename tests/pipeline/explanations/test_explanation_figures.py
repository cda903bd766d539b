"""Table `explanations`: means, paired differences and intervals over groups, by hand where it can be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ExplanationError
from pipeline.evaluation.canvas import png
from pipeline.explanations.figures import (
    BASELINES,
    EMPTY,
    METRICS,
    WRONG_REASON,
    pointing_figure,
    summarise,
    tell_pointing,
    tell_verdicts,
)
from pipeline.explanations.heat import METHODS
from pipeline.schemas import TABLES
from pipeline.tables import from_arrow, to_arrow


def make_heats(images: int = 12, groups: int = 6, seed: int = 0) -> pd.DataFrame:
    """Trained heat hits two of three, random weights and the blob none; every fourth answer is wrong."""
    place = np.arange(images)
    common = {
        "model_id": "m",
        "recipe": "toy",
        "protocol": "patient",
        "seed": seed,
        "image_id": [f"{index:032x}" for index in place],
        "collection": "c",
        "path": [f"{index:03}.png" for index in place],
        "label": "glioma",
        "called": np.where(place % 4 == 3, "pituitary", "glioma"),
        "group_id": [f"g{index % groups}" for index in place],
        "area": 0.1,
        "near_area": 0.2,
        "empty": 0.0,
        "verdict": np.where(place % 4 == 3, "wrong", np.where(place % 3 == 2, "wrong_reason", "right")),
    }
    parts = []
    for method in ("grad_cam", "saliency"):
        hit = np.where(place % 3 == 2, 0.0, 1.0)
        share = np.where(hit > 0, 0.5, 0.05)
        trained = {"method": method, "drawn_from": "trained", "hit": hit, "near": 1.0, "share": share}
        other = {"method": method, "drawn_from": "random_weights", "hit": 0.0, "near": 0.0, "share": 0.1}
        parts += [pd.DataFrame({**common, **trained}), pd.DataFrame({**common, **other})]
    blob = {"method": "none", "drawn_from": "centre_blob", "hit": 0.0, "near": 1.0, "share": 0.2}
    parts.append(pd.DataFrame({**common, **blob}))
    return pd.concat(parts, ignore_index=True)[TABLES["heats"].names]


def pick(frame: pd.DataFrame, *key: str) -> pd.Series:
    rows = frame.set_index(["subset", "method", "metric", "subject"])
    assert not rows.index.duplicated().any()
    return rows.loc[key]


def test_values_by_hand() -> None:
    frame = summarise(make_heats(), draws=200)
    assert pick(frame, "all", "grad_cam", "hit", "trained")["value"] == pytest.approx(8 / 12)
    share = pick(frame, "all", "grad_cam", "share", "trained")["value"]
    assert share == pytest.approx((8 * 0.5 + 4 * 0.05) / 12)
    assert pick(frame, "all", "saliency", "near", "over_centre_blob")["value"] == 0
    assert pick(frame, "all", "saliency", "hit", "chance")["value"] == pytest.approx(0.1)
    assert pick(frame, "all", "saliency", "near", "chance")["value"] == pytest.approx(0.2)
    right = pick(frame, "right", "grad_cam", "wrong_reason", "trained")
    assert right["value"] == pytest.approx(3 / 9) and right["n"] == 9
    whole = pick(frame, "all", "grad_cam", "hit", "trained")
    assert whole["n"] == 12 and whole["groups"] == 6


def test_a_difference_is_the_difference_of_the_values_and_is_drawn_in_pairs() -> None:
    """Where both differ by a constant, the interval of the difference has no width."""
    frame = summarise(make_heats(), draws=200)
    for name in BASELINES:
        own, other, over = (
            pick(frame, "all", "grad_cam", "share", subject) for subject in ("trained", name, f"over_{name}")
        )
        assert over["value"] == pytest.approx(own["value"] - other["value"])
        assert over["low"] <= over["value"] <= over["high"]
        assert over["high"] - over["low"] == pytest.approx(own["high"] - own["low"])
    heats = make_heats()
    trained = heats["drawn_from"] == "trained"
    heats.loc[heats["drawn_from"] == "random_weights", "hit"] = heats.loc[trained, "hit"].to_numpy() / 1
    over = pick(summarise(heats, draws=200), "all", "grad_cam", "hit", "over_random_weights")
    assert over["value"] == over["low"] == over["high"] == 0


def test_neither_row_order_nor_names_of_groups_matter() -> None:
    heats = make_heats()
    renamed = heats.assign(group_id=heats["group_id"].map(lambda name: f"other-{name}"))
    mixed = renamed.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(summarise(heats, draws=100), summarise(mixed, draws=100))


def test_one_group_has_no_interval() -> None:
    frame = summarise(make_heats(groups=1), draws=100)
    assert frame["low"].isna().all() and frame["value"].notna().all()


def test_without_a_right_answer_there_is_no_subset_right() -> None:
    assert set(summarise(make_heats().assign(verdict="wrong"), draws=50)["subset"]) == {"all"}


def test_several_models_stand_side_by_side_and_fit_the_schema() -> None:
    heats = pd.concat([make_heats(), make_heats(seed=1).assign(model_id="n")])
    frame = summarise(heats, draws=50)
    assert set(frame["model_id"]) == {"m", "n"}
    pd.testing.assert_frame_equal(from_arrow("explanations", to_arrow("explanations", frame)), frame)
    from_arrow("heats", to_arrow("heats", heats.sort_values(list(TABLES["heats"].key), ignore_index=True)))


def test_what_is_refused() -> None:
    heats = make_heats()
    with pytest.raises(ExplanationError, match="no rows"):
        summarise(heats.iloc[:0])
    with pytest.raises(ExplanationError, match="12 images of trained under grad_cam, 0 of centre_blob"):
        summarise(heats[heats["drawn_from"] != "centre_blob"])


def test_what_a_person_reads() -> None:
    heats = make_heats()
    frame = summarise(heats, draws=200)
    lines = tell_pointing(frame)
    assert lines[0] == "12 tumour images with a box, in 6 groups"
    assert lines[1].startswith("Grad-CAM, hottest pixel inside the box: 0.667 [")
    assert "; +0.667 [" in lines[1] and lines[1].count("over") == 3
    assert len(lines) == 5
    assert tell_verdicts(heats) == (
        "12 tumour images with a box: 9 right, of these for the wrong reason 3 by Grad-CAM, 3 by saliency, "
        "3 by both; 3 wrong"
    )


def test_the_figure_is_the_same_every_time() -> None:
    frame = summarise(make_heats(), draws=100)
    first, second = png(pointing_figure(frame)), png(pointing_figure(frame))
    assert first == second and first.startswith(b"\x89PNG")
    shown = {text.get_text() for axes in pointing_figure(frame).axes for text in axes.get_yticklabels()}
    assert {"Grad-CAM: trained network", "blob in the middle", "heat spread evenly"} <= shown


@pytest.mark.parametrize("name", [*METRICS, EMPTY, WRONG_REASON, *BASELINES, *METHODS])
def test_the_documentation_explains_every_figure(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "explanations.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")
