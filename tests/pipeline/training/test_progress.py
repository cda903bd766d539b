"""What follows from the history."""

import pytest
from training_toys import make_recipe

from pipeline.training.progress import comment_epoch, find_best, find_kept, find_stage, find_stop


def _history(*figures: float, monitor: str = "val_macro_f1") -> list[dict[str, float]]:
    return [{monitor: figure} for figure in figures]


@pytest.mark.parametrize(
    ("monitor", "figures", "best"),
    [
        ("val_macro_f1", (0.1, 0.9, 0.8), 1),
        ("val_macro_f1", (0.9, 0.9, 0.9), 0),
        ("val_loss", (0.3, 0.1, 0.1, 0.2), 1),
        ("val_accuracy", (0.5,), 0),
    ],
)
def test_best_is_the_earliest_of_equal_epochs(monitor: str, figures: tuple[float, ...], best: int) -> None:
    assert find_best(_history(*figures, monitor=monitor), monitor) == best


def test_the_last_epoch_is_kept_where_the_recipe_says_so() -> None:
    history = _history(0.1, 0.9, 0.8)
    assert find_kept(make_recipe(stopping={"epochs": 9}), history) == 1
    assert find_kept(make_recipe(stopping={"epochs": 9, "keep": "last"}), history) == 2


def test_stopping() -> None:
    recipe = make_recipe(stopping={"epochs": 5, "patience": 2})
    assert find_stop(recipe, []) == ""
    assert find_stop(recipe, _history(0.5, 0.4)) == ""
    assert find_stop(recipe, _history(0.5, 0.4, 0.5)) == "val_macro_f1 has not gained for 2 epochs"
    assert find_stop(recipe, _history(0.1, 0.2, 0.3, 0.4, 0.5)) == "all 5 epochs trained"
    patient = make_recipe(stopping={"epochs": 5})
    assert find_stop(patient, _history(0.5, 0.4, 0.3, 0.2)) == ""


def test_comments() -> None:
    recipe = make_recipe()
    assert comment_epoch(recipe, _history(0.5, 0.75)) == "best so far: val_macro_f1 0.7500"
    line = "no gain for 1 epoch; best val_macro_f1 0.7500 in epoch 1"
    assert comment_epoch(recipe, _history(0.75, 0.5)) == line
    assert comment_epoch(recipe, _history(0.75, 0.5, 0.5)).startswith("no gain for 2 epochs; ")


STAGED = {
    "stages": [{"epochs": 3, "lr_factor": 1.0}, {"epochs": 2, "lr_factor": 0.1}],
    "stopping": {"epochs": 5, "patience": 1},
    "schedule": {"name": "constant"},
}


@pytest.mark.parametrize(
    ("figures", "stage", "first"),
    [
        ((), 1, 0),
        ((0.1, 0.2), 1, 0),
        ((0.1, 0.2, 0.3), 2, 3),
        ((0.2, 0.1), 2, 2),
        # A stage judges itself: 0.05 after the worse 0.02 is a gain, although 0.2 was better.
        ((0.2, 0.1, 0.02), 2, 2),
    ],
)
def test_a_stage_ends_with_its_epochs_or_its_patience(
    figures: tuple[float, ...], stage: int, first: int
) -> None:
    found = find_stage(make_recipe(**STAGED), _history(*figures))
    assert found is not None and (found.number, found.first) == (stage, first)


def test_training_ends_with_its_last_stage() -> None:
    recipe = make_recipe(**STAGED)
    assert find_stop(recipe, _history(0.2, 0.1, 0.02)) == ""
    whole = _history(0.2, 0.1, 0.02, 0.05)
    assert find_stage(recipe, whole) is None
    assert find_stop(recipe, whole) == "stage 2 of 2: all 2 epochs trained"
    assert find_stop(recipe, _history(0.1, 0.2, 0.3, 0.5, 0.4)) == "stage 2 of 2: all 2 epochs trained"
    patient = make_recipe(**STAGED | {"stages": [{"epochs": 2}, {"epochs": 3}]})
    assert find_stop(patient, _history(0.1, 0.2, 0.5, 0.4)) == (
        "stage 2 of 2: val_macro_f1 has not gained for 1 epochs"
    )
    assert comment_epoch(recipe, whole).startswith("stage 2 of 2: no gain for 3 epochs; best")
    assert comment_epoch(recipe, whole[:1]) == "stage 1 of 2: best so far: val_macro_f1 0.2000"
