import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import draw_weights
from pipeline.evaluation.leaderboard import (
    WIDTH,
    order_rows,
    rank_recipes,
    render_leaderboard,
    render_leaderboard_markdown,
    tell_optimism,
)
from pipeline.evaluation.metrics import protocol_seed, score_predictions
from pipeline.evaluation.predictions import read_answers
from pipeline.tables import from_arrow, to_arrow

Predict = Callable[..., pd.DataFrame]
VERDICTS = {
    "published": "leaks: 412 shared_picture, 40 shared_md5",
    "stratified": "leaks: 371 shared_picture",
    "patient": "passed",
    "external:masoudnickparvar": "passed",
}


@pytest.fixture
def frames(dream: Predict) -> list[pd.DataFrame]:
    plans = [
        ("demo_careful", "published", 6.0),
        ("demo_careful", "stratified", 5.0),
        ("demo_careful", "patient", 3.0),
        ("demo_cnn", "patient", 3.6),
        ("demo_cnn", "published", 3.6),
        ("cnn3", "published", 5.0),
        ("cnn3", "external:masoudnickparvar", 1.0),
    ]
    return [
        dream(recipe=recipe, protocol=protocol, skill=skill, draw=draw)
        for draw, (recipe, protocol, skill) in enumerate(plans)
    ]


@pytest.fixture
def board(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return rank_recipes(frames, VERDICTS, draws=300)


def test_best_recipe_on_unseen_patients_comes_first(board: pd.DataFrame) -> None:
    order = list(zip(board["recipe"], board["protocol"], strict=True))
    assert order == [
        ("demo_cnn", "published"),
        ("demo_cnn", "patient"),
        ("demo_careful", "published"),
        ("demo_careful", "stratified"),
        ("demo_careful", "patient"),
        ("cnn3", "published"),
        ("cnn3", "external:masoudnickparvar"),
    ]
    shuffled = board.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(order_rows(shuffled), board)


def test_the_table_can_be_stored(board: pd.DataFrame) -> None:
    stored = order_rows(from_arrow("leaderboard", to_arrow("leaderboard", board)))
    pd.testing.assert_frame_equal(stored, board, check_dtype=False)


def test_with_one_seed_it_says_what_the_metrics_say(board: pd.DataFrame, frames: list[pd.DataFrame]) -> None:
    metrics = score_predictions(pd.concat(frames), draws=300)
    wide = metrics[metrics["class"] == "all"].set_index(["recipe", "protocol", "metric"])
    for row in board.itertuples():
        found = {
            name: wide.loc[(row.recipe, row.protocol, name)] for name in ("macro_f1", "accuracy", "miss_rate")
        }
        macro = found["macro_f1"]
        assert (row.macro_f1, row.macro_f1_low, row.macro_f1_high) == (macro.value, macro.low, macro.high)
        assert (row.accuracy, row.miss_rate) == (found["accuracy"].value, found["miss_rate"].value)
        assert (row.n, row.groups, row.seeds) == (macro.n, macro.groups, 1)
        assert row.gate == VERDICTS[row.protocol]


def test_optimism_stands_beside_a_claim_only(board: pd.DataFrame) -> None:
    rows = board.set_index(["recipe", "protocol"])
    without = [("demo_careful", "patient"), ("cnn3", "published"), ("cnn3", "external:masoudnickparvar")]
    for name in without:
        assert rows.loc[name, ["optimism", "optimism_low", "optimism_high"]].isna().all()
    claim, honest = rows.loc[("demo_careful", "published")], rows.loc[("demo_careful", "patient")]
    assert claim["optimism"] == claim["macro_f1"] - honest["macro_f1"]
    assert 0 < claim["optimism_low"] < claim["optimism"] < claim["optimism_high"]


def test_the_interval_of_optimism_subtracts_two_independent_bootstraps(
    board: pd.DataFrame, frames: list[pd.DataFrame]
) -> None:
    def draw_f1(frame: pd.DataFrame, protocol: str) -> np.ndarray:
        answers = read_answers(frame)
        weights = np.concatenate(list(draw_weights(60, 300, protocol_seed(0, protocol))))[:, answers.groups]
        scores = []
        for label in range(4):
            truth, called = answers.truth == label, answers.predicted == label
            right = weights @ (truth & called)
            scores.append(2 * right / (weights @ truth.astype(float) + weights @ called.astype(float)))
        return np.mean(scores, axis=0)

    difference = draw_f1(frames[0], "published") - draw_f1(frames[2], "patient")
    row = board.set_index(["recipe", "protocol"]).loc[("demo_careful", "published")]
    expected = np.quantile(difference, [0.025, 0.975])
    assert (row["optimism_low"], row["optimism_high"]) == pytest.approx(tuple(expected), abs=1e-12)


def test_neither_order_nor_packing_of_the_tables_matters(
    board: pd.DataFrame, frames: list[pd.DataFrame]
) -> None:
    packed = pd.concat(frames[::-1]).sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(rank_recipes([packed], VERDICTS, draws=300), board)


def test_what_cannot_be_ranked_is_refused(frames: list[pd.DataFrame]) -> None:
    with pytest.raises(TableError, match="no predictions to rank"):
        rank_recipes([], VERDICTS)
    with pytest.raises(
        TableError, match=r"no gate verdict for \['stratified'\]; verdicts given: \['patient', 'pub"
    ):
        rank_recipes(frames[:3], {"published": "leaks", "patient": "passed"}, draws=20)
    with pytest.raises(TableError, match="no rows"):
        rank_recipes([frames[0].iloc[:0]], VERDICTS)


def test_too_few_groups_leave_the_intervals_open(dream: Predict) -> None:
    few = [
        dream(protocol=name, images=40, groups=40).assign(group_id="one") for name in ("published", "patient")
    ]
    board = rank_recipes(few, VERDICTS, draws=50)
    assert board[["macro_f1_low", "macro_f1_high", "optimism_low", "optimism_high"]].isna().all(axis=None)
    assert to_arrow("leaderboard", board).num_rows == 2
    assert tell_optimism(board)[0].endswith("optimism +0.00, with too few groups for an interval")
    assert "[" not in render_leaderboard(board).split("\n", 1)[1]


def test_sentences_tell_claim_and_truth(board: pd.DataFrame) -> None:
    board.loc[2, ["macro_f1", "optimism", "optimism_low", "optimism_high"]] = [0.98, 0.08, 0.04, 0.12]
    board.loc[3, ["macro_f1", "optimism", "optimism_low", "optimism_high"]] = [0.89, -0.01, -0.03, 0.0]
    board.loc[4, "macro_f1"] = 0.9
    told = [sentence for sentence in tell_optimism(board) if sentence.startswith("demo_careful")]
    assert told == [
        "demo_careful: 0.98 as published, 0.90 on patients it has never seen: optimism +0.08 [0.04, 0.12]",
        "demo_careful: 0.89 on a stratified split of images, 0.90 on patients it has never seen: "
        "optimism -0.01 [-0.03, 0.00], which these test sets cannot tell from none",
    ]


def test_the_terminal_table_is_aligned_and_narrow(board: pd.DataFrame) -> None:
    text = render_leaderboard(board)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= WIDTH
    head, *rows = lines[: lines.index("cnn3")]
    full = [line for line in rows if line.startswith("  ")]
    assert len(full) == 5
    for word in ("macro-F1 [95 %]", "accuracy", "missed", "images", "groups"):
        end = head.index(word) + len(word)
        assert all(line[end - 1] != " " and line[end] == " " for line in full), word
    assert all(line[head.index("gate") :] in ("leaks", "passed") for line in full)
    assert "published: leaks: 412 shared_picture, 40 shared_md5" in lines
    assert "missed = share of tumours called no_tumor" in lines[-1]


def test_long_names_and_verdicts_stay_within_the_width(board: pd.DataFrame) -> None:
    long = board.assign(
        recipe=board["recipe"] + "_" + "x" * 30,
        seeds=3,
        n=1_234_567,
        gate=["leaks: " + ", ".join(f"{n} check_{n}" for n in range(30))] * len(board),
    )
    lines = render_leaderboard(long).splitlines()
    assert max(len(line) for line in lines) == WIDTH
    assert f"demo_cnn_{'x' * 30} (3 seeds)" in lines
    assert any(line.startswith("  external:mas") and "…" in line for line in lines)


def test_the_spread_over_seeds_stands_beside_their_mean(dream: Predict) -> None:
    frames = [dream(seed=0), dream(seed=1)]
    frames[1][["p_glioma", "p_no_tumor"]] = frames[1][["p_no_tumor", "p_glioma"]].to_numpy()
    board = rank_recipes(frames, VERDICTS, draws=20)
    [row] = board.to_dict("records")
    shown = f"{row['macro_f1']:.3f} ± {row['macro_f1_spread']:.3f} ["
    assert row["macro_f1_spread"] > 0.01
    assert shown in render_leaderboard(board) and shown in render_leaderboard_markdown(board)
    assert "one standard deviation over seeds" in render_leaderboard(board)
    assert "±" not in render_leaderboard(rank_recipes(frames[:1], VERDICTS, draws=20))


def test_a_clean_board_says_so(frames: list[pd.DataFrame]) -> None:
    board = rank_recipes(frames[2:3], VERDICTS, draws=20)
    assert "The gate found nothing." in render_leaderboard(board)
    assert tell_optimism(board) == []


def test_the_markdown_table_has_every_row_and_column(board: pd.DataFrame) -> None:
    text = render_leaderboard_markdown(board.assign(gate="a|b"))
    lines = [re.split(r"(?<!\\)\|", line) for line in text.splitlines()]
    assert len(lines) == 2 + len(board)
    assert {len(line) for line in lines} == {11}
    assert r"a\|b" in text


def test_a_test_set_without_tumours_has_no_miss_rate(make: Predict) -> None:
    frame = make([3] * 6, [[0, 0, 0, 1.0]] * 6, "abcdef")
    board = rank_recipes([frame], VERDICTS, draws=50)
    assert board["miss_rate"].isna().all()
    assert "  –  " in render_leaderboard(board)
