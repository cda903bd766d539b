import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import roc_curve

from pipeline.errors import TableError
from pipeline.evaluation import figures
from pipeline.evaluation.canvas import NOTE
from pipeline.evaluation.figures import confusion_figure, png, roc_figure
from pipeline.evaluation.leaderboard import rank_recipes
from pipeline.evaluation.metrics import score_predictions
from pipeline.evaluation.predictions import Answers
from pipeline.evaluation.roc import trace_roc

Predict = Callable[..., pd.DataFrame]
VERDICTS = {"published": "leaks: 3 shared_md5", "patient": "passed", "stratified": "passed"}
HISTORY = [
    {
        "epoch": float(epoch),
        "train_loss": 1 / epoch,
        "val_loss": 1.2 / epoch,
        "train_accuracy": 1 - 0.4 / epoch,
        "val_accuracy": 1 - 0.5 / epoch,
        "val_macro_f1": 1 - 0.6 / epoch,
        "lr": 1e-4,
    }
    for epoch in range(1, 13)
]
LONG = "timm_" + "x" * 35


def degrade(frame: pd.DataFrame) -> pd.DataFrame:
    variants = [
        f"{name}:{severity}" for name in ("downsampling", "gaussian_noise") for severity in range(1, 6)
    ]
    return pd.concat([frame, *(frame.assign(variant=variant) for variant in variants)])


def draw_all(dream: Predict, recipe: str) -> dict[str, Figure]:
    own = dream(recipe=recipe)
    every = [dream(recipe=f"{recipe}{i}"[-40:], protocol=name) for i in range(6) for name in VERDICTS]
    scored = score_predictions(degrade(own), draws=50)
    return {
        "confusion": confusion_figure(own),
        "roc": roc_figure(own),
        "severity": figures.severity_figure(scored),
        "history": figures.history_figure(
            HISTORY, title=f"{recipe}, patient, seed 0", subtitle="protocol patient: 40 images", best_epoch=7
        ),
        "leaderboard": figures.leaderboard_figure(rank_recipes(every, VERDICTS, draws=50)),
    }


@pytest.fixture(params=["demo_careful", LONG])
def drawn(request: pytest.FixtureRequest, dream: Predict) -> dict[str, Figure]:
    return draw_all(dream, request.param)


def shown(figure: Figure) -> list[Text]:
    """Texts that are drawn: ticks outside an axis' range have labels too, which are not."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
            hidden |= {id(text) for text, place in ticks if not low <= place <= high}
    return [text for text in figure.findobj(Text) if text.get_text() and id(text) not in hidden]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_every_figure_fits_its_sheet_and_its_budget(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        data = png(figure)
        assert len(data) <= 100_000, name
        with Image.open(io.BytesIO(data)) as image:
            assert image.width == 700, name
        for text in shown(figure):
            box, sheet = text.get_window_extent(), figure.bbox
            across, down = (box.x0, box.x1, sheet.width), (box.y0, box.y1, sheet.height)
            assert all(low >= 0 and high <= limit for low, high, limit in (across, down)), (name, text)
            assert text.get_fontsize() >= 7, (name, text)


def test_every_figure_names_protocol_images_and_groups(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        words = " ".join(texts(figure))
        assert "patient" in words, name
        assert "images" in words, name
        if name != "history":
            assert "60 groups" in words, name
            assert NOTE in words, name


def test_the_same_figure_gives_the_same_bytes(drawn: dict[str, Figure], dream: Predict) -> None:
    recipe = LONG if any(LONG in text for text in texts(drawn["roc"])) else "demo_careful"
    for name, figure in draw_all(dream, recipe).items():
        assert png(figure) == png(drawn[name]), name


def test_the_confusion_matrix_shows_counts_shares_and_scores(small: pd.DataFrame) -> None:
    words = texts(confusion_figure(small))
    assert {"2\n66.7%", "1\n33.3%", "1\n100.0%", "glioma\n3 images", "missed tumours"} <= set(words)
    assert words.count("0.667") == 6
    assert any(word.startswith("protocol patient: 9 test images in 6 groups; clean") for word in words)


def test_a_class_without_images_is_drawn_as_such(small: pd.DataFrame) -> None:
    words = texts(confusion_figure(small.iloc[:5]))
    assert {"no_tumor\n0 images", "–"} <= set(words)
    figure = roc_figure(small.iloc[:5])
    assert "no_tumor: no area" in texts(figure)
    assert png(figure)


def test_a_degraded_variant_is_named(small: pd.DataFrame) -> None:
    both = pd.concat([small, small.assign(variant="gaussian_blur:4")])
    assert any(
        "; gaussian blur, severity 4" in word for word in texts(roc_figure(both, variant="gaussian_blur:4"))
    )
    assert any(word.startswith("mine: ROC") for word in texts(roc_figure(small, title="mine")))


def test_the_roc_legend_gives_the_areas(small: pd.DataFrame) -> None:
    assert {"glioma: area 0.750", "pituitary: area 1.000"} <= set(texts(roc_figure(small)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_roc_curves_equal_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    truth = np.array([0 if positive else 1 for positive, _ in rows])
    scores = np.zeros((len(rows), 4))
    scores[:, 0] = [mark / 4 for _, mark in rows]
    wrong, found = trace_roc(Answers(truth, scores, np.zeros(len(rows), np.int64)), 0)
    if len(set(truth)) == 1:
        assert len(wrong) == len(found) == 0
        return
    expected = roc_curve(truth == 0, scores[:, 0], drop_intermediate=False)
    assert wrong == pytest.approx(expected[0])
    assert found == pytest.approx(expected[1])


def test_the_enlarged_corner_holds_every_curve(dream: Predict) -> None:
    good, poor = (roc_figure(dream(skill=skill)).axes[1].get_xlim()[1] for skill in (6.0, 1.0))
    assert good < 0.1 < poor


def test_broken_predictions_are_refused(predictions: pd.DataFrame) -> None:
    for draw in (confusion_figure, roc_figure):
        with pytest.raises(TableError, match="no rows"):
            draw(predictions.iloc[:0])
        with pytest.raises(TableError, match="2 models"):
            draw(pd.concat([predictions, predictions.assign(model_id="b")]))


def test_drawing_touches_no_global_state(tmp_path: Path) -> None:
    before = dict(rcParams)
    png(figures.history_figure(HISTORY, title="t"))
    assert dict(rcParams) == before
    code = (
        "import sys; from pipeline.evaluation.figures import history_figure, png; "
        f"png(history_figure({HISTORY[:2]!r}, title='t')); assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
