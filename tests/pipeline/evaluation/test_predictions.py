from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.predictions import check_predictions, read_answers, take_variant


def set_cells(column: str, value: object, rows: int = 1) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[frame.index[:rows], column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.iloc[:0], "no rows, so there is nothing to score"),
        (lambda frame: frame.drop(columns=["label", "p_glioma"]), r"missing columns \['label', 'p_glioma'\]"),
        (
            set_cells("label", "oedema", 2),
            r"2 of 240 rows .* labels are glioma, meningioma, .*00000.*'oedema'",
        ),
        (set_cells("label", None), r"nulls where none may stand, column: rows = \{'label': 1\}"),
        (set_cells("group_id", None, 3), r"\{'group_id': 3\}"),
        (set_cells("variant", "fog:9"), r"clean or <degradation>:<1 to 5>.*'fog:9'"),
        (set_cells("p_glioma", float("nan")), "a probability is a number; the model diverged"),
        (set_cells("p_glioma", float("inf")), "a probability is a number"),
        (set_cells("p_glioma", None), "a probability is a number"),
        (set_cells("p_glioma", -0.5), "between 0 and 1; logits need a softmax"),
        (set_cells("p_glioma", "many"), "p_glioma, .* must be numbers"),
        (set_cells("p_glioma", 0.99999), r"sum to 1 within 0\.0001"),
        (lambda frame: pd.concat([frame, frame.iloc[:2]]), "2 of 242 rows .* answers once"),
        (set_cells("recipe", "other"), "stands under two recipes, protocols or seeds"),
        (set_cells("image_id", f"{5:032x}"), f"image {5:032x} lies in two groups"),
    ],
)
def test_a_broken_table_is_refused_by_name(
    predictions: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        check_predictions(change(predictions))


def test_a_float32_softmax_passes(predictions: pd.DataFrame) -> None:
    columns = [name for name in predictions.columns if name.startswith("p_")]
    predictions[columns] = predictions[columns].astype("float32")
    assert len(check_predictions(predictions)) == 240


def test_rows_are_sorted_and_other_columns_left_aside(predictions: pd.DataFrame) -> None:
    shuffled = predictions.sample(frac=1, random_state=3).assign(why="evaluation")
    pd.testing.assert_frame_equal(check_predictions(shuffled), predictions)


def test_groups_are_numbered_by_content_not_by_name(small: pd.DataFrame) -> None:
    names = dict(zip("abcdef", "zyxwvu", strict=True))
    renamed = small.assign(group_id=small["group_id"].map(names))
    assert read_answers(small).groups.tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 5]
    assert read_answers(renamed.iloc[::-1]).groups.tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 5]


def test_answers_hold_what_the_table_says(small: pd.DataFrame) -> None:
    answers = read_answers(small)
    assert (answers.size, answers.group_count) == (9, 6)
    assert answers.truth.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert answers.predicted.tolist() == [0, 0, 3, 1, 0, 2, 3, 3, 1]
    assert answers.present.all()
    assert not read_answers(small.iloc[:5]).present[2:].any()


def test_a_tie_goes_to_the_first_label(make: Callable[..., pd.DataFrame]) -> None:
    assert read_answers(make([3], np.full((1, 4), 0.25), "a")).predicted.tolist() == [0]


def test_one_variant_of_one_model_is_taken(predictions: pd.DataFrame) -> None:
    both = pd.concat([predictions, predictions.assign(variant="gaussian_blur:2")])
    assert set(take_variant(both, "gaussian_blur:2")["variant"]) == {"gaussian_blur:2"}
    with pytest.raises(TableError, match=r"no rows of variant 'fog:1'; it has clean, gaussian_blur:2"):
        take_variant(both, "fog:1")
    with pytest.raises(TableError, match="2 models"):
        take_variant(pd.concat([predictions, predictions.assign(model_id="other")]))
