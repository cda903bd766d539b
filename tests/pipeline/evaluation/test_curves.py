import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from pipeline.errors import TableError
from pipeline.evaluation.canvas import png
from pipeline.evaluation.curves import HISTORY_KEYS, history_figure, severity_figure
from pipeline.evaluation.metrics import score_predictions

ROW = dict.fromkeys(HISTORY_KEYS, 0.5) | {"epoch": 1.0}


@pytest.fixture
def metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    names = [f"{name}:{severity}" for name in ("gaussian_blur", "downsampling") for severity in (5, 1, 3)]
    frames = [predictions, *(predictions.assign(variant=name) for name in names)]
    scored = score_predictions(pd.concat(frames), draws=50)
    fall = scored["variant"].str.partition(":")[2].replace("", "0").astype(float) / 10
    return scored.assign(value=scored["value"] - fall)


def test_each_degradation_is_a_line_from_the_clean_images_on(metrics: pd.DataFrame) -> None:
    (axes,) = severity_figure(metrics.sample(frac=1, random_state=0)).axes
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert list(lines) == ["downsampling", "gaussian blur"]
    clean = metrics.set_index(["metric", "variant"]).loc[("accuracy", "clean"), "value"]
    for line in lines.values():
        assert np.asarray(line.get_xdata()).tolist() == [0, 1, 3, 5]
        assert np.asarray(line.get_ydata()) == pytest.approx(clean - np.array([0, 0.1, 0.3, 0.5]))
    assert len(axes.collections) == 2


def test_no_two_of_fourteen_degradations_look_alike(metrics: pd.DataFrame) -> None:
    blur = metrics[metrics["variant"].str.startswith("gaussian_blur")]
    kinds = [
        blur.assign(variant=blur["variant"].str.replace("gaussian_blur", f"kind_{letter}"))
        for letter in "abcdefghijklmn"
    ]
    (axes,) = severity_figure(pd.concat([metrics[metrics["variant"] == "clean"], *kinds])).axes
    looks = {
        (line.get_color(), line.get_linestyle(), line.get_marker(), str(line.get_markerfacecolor()))
        for line in axes.get_lines()
    }
    assert len(looks) == 14


def test_severity_takes_any_metric_that_variants_have(metrics: pd.DataFrame) -> None:
    figure = severity_figure(metrics, metric="macro_f1", title="demo_careful")
    words = [text.get_text() for text in figure.findobj(Text)]
    assert "demo_careful: macro-F1 on poorer images" in words
    with pytest.raises(
        TableError, match=r"'roc_auc' needs a clean and a degraded row, there are \['clean'\]"
    ):
        severity_figure(metrics, metric="roc_auc")


def test_severity_refuses_what_it_cannot_draw(metrics: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="missing columns"):
        severity_figure(metrics.drop(columns="low"))
    with pytest.raises(TableError, match="2 models; a severity figure shows one"):
        severity_figure(pd.concat([metrics, metrics.assign(model_id="b")]))
    with pytest.raises(TableError, match="0 models"):
        severity_figure(metrics.iloc[:0])


def test_history_draws_every_series_and_the_best_epoch() -> None:
    rows = [ROW | {"epoch": float(epoch), "val_loss": 1 / epoch} for epoch in (1, 2, 3)]
    loss, score, rate = history_figure(rows, title="t", best_epoch=2).axes
    assert [len(axes.get_lines()) for axes in (loss, score, rate)] == [3, 4, 2]
    assert np.asarray(loss.get_lines()[1].get_ydata()) == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_single_epoch_and_a_gap_can_be_drawn() -> None:
    assert png(history_figure([ROW | {"val_loss": float("nan")}], title="t"))


def test_history_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(TableError, match="no epoch to draw"):
        history_figure([], title="t")
    broken = {key: value for key, value in ROW.items() if key != "lr"}
    with pytest.raises(TableError, match=r"row 1 lacks \['lr'\]; it has \['epoch', "):
        history_figure([ROW, broken], title="t")
