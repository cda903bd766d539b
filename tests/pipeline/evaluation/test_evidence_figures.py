"""The figures say what the table says."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.evaluation.canvas import MAX_BYTES, png
from pipeline.evaluation.evidence import weigh_evidence
from pipeline.evaluation.evidence_figures import (
    reliability_figure,
    risk_figure,
    sets_figure,
    subsets_figure,
)

Predict = Callable[..., pd.DataFrame]


@pytest.fixture
def evidence(predictions: pd.DataFrame, dream: Predict) -> pd.DataFrame:
    val = dream(images=160, groups=40, draw=9)
    return weigh_evidence(predictions, val.assign(path="val/" + val["path"]), draws=50)


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def say(evidence: pd.DataFrame, metric: str) -> str:
    row = evidence[(evidence["metric"] == metric) & (evidence["class"] == "all")].iloc[0]
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def test_every_figure_counts_its_images_and_fits_into_metadata(predictions, evidence):
    drawn = [
        reliability_figure(predictions, evidence),
        risk_figure(predictions, evidence),
        sets_figure(predictions, evidence),
        subsets_figure(predictions),
    ]
    for figure in drawn:
        assert "protocol patient: 240 test images in 60 groups; clean" in words(figure)
        data = png(figure)
        assert data.startswith(b"\x89PNG")
        assert len(data) <= MAX_BYTES
        assert png(figure) == data


def test_reliability_shows_both_states_with_their_errors(predictions, evidence):
    figure = reliability_figure(predictions, evidence)
    assert f"ECE {say(evidence, 'ece_before')}" in words(figure)
    assert f"ECE {say(evidence, 'ece_after')}" in words(figure)
    counts = [axes.containers for axes in figure.axes if axes.get_xlabel().startswith("confidence")]
    for [bars] in counts:
        assert isinstance(bars, BarContainer)
        assert sum(bar.get_height() for bar in bars) == 240


def test_the_risk_curve_ends_at_the_error_of_the_model(predictions, evidence):
    axes = risk_figure(predictions, evidence).axes[0]
    line = axes.get_lines()[0]
    called = predictions[[f"p_{name}" for name in ("glioma", "meningioma", "pituitary", "no_tumor")]]
    wrong = called.idxmax(axis=1).str.removeprefix("p_") != predictions["label"]
    assert line.get_xdata()[-1] == 1
    assert line.get_ydata()[-1] == pytest.approx(wrong.mean())
    assert say(evidence, "aurc") in axes.get_title(loc="left")


def test_sets_are_shown_for_every_class_that_has_an_image(predictions, evidence, dream):
    shown = [label.get_text() for label in sets_figure(predictions, evidence).axes[0].get_yticklabels()]
    assert shown == [
        "all images",
        "all groups, a voice each",
        "glioma",
        "meningioma",
        "pituitary",
        "no_tumor",
    ]
    fewer = evidence[evidence["class"] != "pituitary"]
    shown = [label.get_text() for label in sets_figure(predictions, fewer).axes[0].get_yticklabels()]
    assert "pituitary" not in shown


def test_every_collection_has_a_matrix_that_counts_its_images(predictions):
    names = [f"collection_{index % 5}" for index in range(len(predictions))]
    figure = subsets_figure(predictions.assign(collection=names))
    assert len(figure.axes) == 6
    for axes in figure.axes[:5]:
        cells = [int(text.get_text()) for text in axes.texts]
        assert (len(cells), sum(cells)) == (16, 48)
    tumours = int((predictions["label"] != "no_tumor").sum())
    cells = [int(text.get_text()) for text in figure.axes[5].texts]
    assert (len(cells), sum(cells)) == (9, tumours)
    assert np.all([axes.get_position().y0 > 0 for axes in figure.axes])


def test_a_figure_that_the_evidence_lacks_is_named(predictions, evidence):
    with pytest.raises(KeyError, match="no figure 'aurc' for class 'all'; materialise it again"):
        risk_figure(predictions, evidence[evidence["metric"] != "aurc"])
