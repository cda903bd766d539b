"""Five folds as one test set."""

from collections.abc import Callable

import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline.errors import TableError
from pipeline.evaluation.metrics import score_predictions
from pipeline.evaluation.pooling import find_missing, pool_folds, score_pooled, tabulate_pooled
from pipeline.labels import LABELS, TUMOURS

Predict = Callable[..., pd.DataFrame]


@pytest.fixture
def folds(dream: Predict) -> pd.DataFrame:
    """Five folds of 48 images in 12 groups each, no image and no group in two of them."""
    frames = []
    for fold in range(1, 6):
        frame = dream(images=48, groups=12, draw=fold, protocol=f"fold:{fold}")
        frames.append(
            frame.assign(
                image_id=[f"{fold}{index:031x}" for index in range(48)],
                path=[f"{fold}/{path}" for path in frame["path"]],
                group_id=f"{fold}/" + frame["group_id"],
            )
        )
    return pd.concat(frames, ignore_index=True)


def take(metrics: pd.DataFrame, name: str) -> pd.Series:
    [row] = metrics[(metrics["metric"] == name) & (metrics["class"] == "all")].to_dict("records")
    return pd.Series(row)


def test_figures_are_counted_over_all_images_and_drawn_from_all_groups(folds: pd.DataFrame) -> None:
    metrics = score_predictions(pool_folds(folds), draws=200)
    called = folds[[f"p_{label}" for label in LABELS]].to_numpy().argmax(axis=1)
    truth = [LABELS.index(label) for label in folds["label"]]
    macro, accuracy = take(metrics, "macro_f1"), take(metrics, "accuracy")
    assert macro["value"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert accuracy["value"] == pytest.approx((called == truth).mean())
    assert (macro["n"], macro["groups"], macro["protocol"]) == (240, 60, "folds")
    assert macro["low"] < macro["value"] < macro["high"]
    # The mean over folds of the folds' own macro-F1 is another figure.
    each = [f1_score([truth[i] for i in rows], called[list(rows)], average="macro") for rows in
            (range(start, start + 48) for start in range(0, 240, 48))]  # fmt: skip
    assert abs(sum(each) / 5 - macro["value"]) > 1e-4


def test_the_order_of_the_rows_has_no_say(folds: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(pool_folds(folds), pool_folds(folds.sample(frac=1, random_state=1)))


def test_each_seed_is_pooled_by_itself(folds: pd.DataFrame) -> None:
    other = folds.assign(seed=1, model_id=folds["model_id"] + "b")
    other[["p_glioma", "p_no_tumor"]] = other[["p_no_tumor", "p_glioma"]].to_numpy()
    metrics = score_pooled(pool_folds(pd.concat([folds, other])), draws=50)
    assert metrics["model_id"].nunique() == 2
    alone = score_pooled(pool_folds(folds), draws=50)
    first = metrics[metrics["seed"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, alone)
    lines = tabulate_pooled(metrics)
    macro = [line for line in lines if line.startswith("macro f1")]
    assert len(macro) == 2 and all(" over 2 seeds; seed 0: " in line for line in macro)
    assert lines[5] == "240 images in 60 groups, each tested once"
    assert lines[6] == "the three tumours alone, no_tumor taken out of the answers:"
    assert not any(line.startswith("miss rate") for line in lines[6:])
    tumours = folds[folds["label"].isin(TUMOURS)]
    groups = tumours["group_id"].nunique()
    assert lines[-1] == f"{len(tumours)} images in {groups} groups, each tested once"


def test_three_classes_are_the_tumours_with_no_tumor_taken_out(folds: pd.DataFrame) -> None:
    pooled = pool_folds(folds)
    metrics = score_pooled(pooled, draws=50)
    tumours = pooled[pooled["label"].isin(TUMOURS)]
    called = tumours[[f"p_{label}" for label in TUMOURS]].to_numpy().argmax(axis=1)
    truth = [TUMOURS.index(label) for label in tumours["label"]]
    three = metrics[metrics["subset"] == "three_class"]
    assert take(three, "macro_f1")["value"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert take(three, "accuracy")["n"] == len(tumours)
    assert set(metrics["protocol"]) == {"folds"} and set(metrics["variant"]) == {"clean"}
    whole = metrics[metrics["subset"] == "all"].drop(columns="subset")
    plain = score_predictions(pooled, draws=50)
    keys = ["metric", "class"]
    pd.testing.assert_frame_equal(
        whole.sort_values(keys, ignore_index=True)[plain.columns], plain.sort_values(keys, ignore_index=True)
    )


def test_degraded_answers_are_left_aside(folds: pd.DataFrame) -> None:
    mixed = pd.concat([folds, folds.assign(variant="gaussian_noise:5")])
    pd.testing.assert_frame_equal(pool_folds(mixed), pool_folds(folds))


def test_missing_folds_are_named_with_the_command(folds: pd.DataFrame) -> None:
    part = folds[~folds["protocol"].isin(["fold:2", "fold:5"])]
    assert find_missing(part["protocol"]) == ["fold:2", "fold:5"]
    message = (
        r"demo_careful, seed 0, has no predictions under fold:2, fold:5; .*make folds RECIPE=demo_careful"
    )
    with pytest.raises(TableError, match=message):
        pool_folds(part)
    two = folds.assign(seed=1, model_id=folds["model_id"] + "b")
    with pytest.raises(TableError, match="seed 1, has no predictions under fold:3"):
        pool_folds(pd.concat([folds, two[two["protocol"] != "fold:3"]]))


def test_two_recipes_are_refused(folds: pd.DataFrame) -> None:
    other = folds.assign(recipe="cnn3", model_id="other" + folds["protocol"])
    with pytest.raises(TableError, match="one recipe is pooled at a time, found cnn3, demo_careful"):
        pool_folds(pd.concat([folds, other]))


@pytest.mark.parametrize(("column", "what"), [("image_id", "image"), ("group_id", "group")])
def test_what_lies_in_two_folds_is_refused(folds: pd.DataFrame, column: str, what: str) -> None:
    first, last = folds.index[0], folds.index[-1]
    columns = ["group_id"] if column == "group_id" else ["image_id", "group_id"]
    folds.loc[last, columns] = folds.loc[first, columns]
    with pytest.raises(TableError, match=f"{what} .* is tested under 2 folds.*curate and train them again"):
        pool_folds(folds)
