"""The champion: chosen by val behind a passed gate, with a reason for every candidate."""

import pandas as pd
import pytest

from pipeline.evaluation.champion import choose_champion


def candidates(*rows: tuple[str, str, float, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["recipe", "model_id", "val_macro_f1", "gate"])


def test_the_best_on_val_wins():
    found = choose_champion(candidates(("a", "1", 0.8, "passed"), ("b", "2", 0.9, "passed")))
    assert list(found.loc[found["champion"], "recipe"]) == ["b"]
    assert "another recipe is higher" in found.set_index("recipe").loc["a", "why"]


def test_a_leaky_candidate_never_wins():
    found = choose_champion(candidates(("a", "1", 0.8, "passed"), ("b", "2", 0.9, "leaks: 3 shared_picture")))
    assert list(found.loc[found["champion"], "recipe"]) == ["a"]
    assert "leaks: 3 shared_picture" in found.set_index("recipe").loc["b", "why"]


def test_without_a_passed_gate_there_is_no_champion():
    assert not choose_champion(candidates(("a", "1", 0.8, "leaks"))).champion.any()


def test_a_recipe_is_weighed_by_its_best_seed():
    found = choose_champion(candidates(("a", "1", 0.7, "passed"), ("a", "2", 0.8, "passed")))
    assert list(found["model_id"]) == ["2"]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_ties_go_to_the_first_name_whatever_the_order(order):
    frame = candidates(("b", "2", 0.9, "passed"), ("a", "1", 0.9, "passed")).iloc[order]
    found = choose_champion(frame)
    assert list(found.loc[found["champion"], "recipe"]) == ["a"]


def test_no_candidate_is_an_empty_table():
    assert len(choose_champion(candidates())) == 0
