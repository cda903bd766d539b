"""The figures of an epoch, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss

from pipeline.training.scores import score_epoch


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_scores_are_scikit_learns(seed: int, count: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    probabilities = generator.dirichlet(np.ones(4), count)
    found = score_epoch(probabilities, labels)
    answers = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(4)))


def test_certain_and_wrong_is_a_large_finite_loss() -> None:
    found = score_epoch(np.array([[0.0, 1.0, 0.0, 0.0]]), np.array([0]))
    assert found == {"loss": pytest.approx(708.4, abs=0.1), "accuracy": 0.0, "macro_f1": 0.0}
