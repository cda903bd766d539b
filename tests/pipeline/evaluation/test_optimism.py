from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from pipeline.errors import TableError
from pipeline.evaluation.canvas import png
from pipeline.evaluation.leaderboard import rank_recipes
from pipeline.evaluation.optimism import leaderboard_figure

Predict = Callable[..., pd.DataFrame]
VERDICTS = {"published": "leaks", "stratified": "leaks", "patient": "passed", "external:x": "passed"}


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture
def board(dream: Predict) -> pd.DataFrame:
    plans = [
        ("a_good", "published"),
        ("a_good", "patient"),
        ("b_poor", "published"),
        ("b_poor", "external:x"),
    ]
    frames = [dream(recipe=recipe, protocol=name, draw=i) for i, (recipe, name) in enumerate(plans)]
    return rank_recipes(frames, VERDICTS, draws=50)


def test_a_claim_points_at_unseen_patients(board: pd.DataFrame) -> None:
    figure = leaderboard_figure(board)
    arrows = [text for text in figure.findobj(Annotation) if text.arrow_patch is not None]
    assert len(arrows) == 1
    rows = board.set_index(["recipe", "protocol"])
    assert arrows[0].xy[0] == rows.loc[("a_good", "patient"), "macro_f1"]
    assert arrows[0].xyann[0] == rows.loc[("a_good", "published"), "macro_f1"]
    claim = rows.loc[("a_good", "published")]
    text = f"published {claim.optimism:+.3f} [{claim.optimism_low:.3f}, {claim.optimism_high:.3f}]"
    assert text in words(figure)


def test_recipes_stand_in_the_order_of_the_board(board: pd.DataFrame) -> None:
    axes = leaderboard_figure(board.iloc[::-1]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a_good", "b_poor"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_open_intervals_are_left_out(board: pd.DataFrame) -> None:
    lows_and_highs = [name for name in board.columns if name.endswith(("_low", "_high"))]
    figure = leaderboard_figure(board.assign(**dict.fromkeys(lows_and_highs, float("nan"))))
    assert not any("[0" in word or "nan" in word for word in words(figure))
    assert png(figure)


def test_nothing_to_draw_is_refused(board: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="0 rows"):
        leaderboard_figure(board.iloc[:0])
    with pytest.raises(TableError, match=r"missing columns \['gate'\]"):
        leaderboard_figure(board.drop(columns="gate"))
