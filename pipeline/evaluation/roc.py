"""ROC curves of one class against the rest, as points."""

import numpy as np

from pipeline.evaluation.predictions import Answers, Floats


def trace_roc(answers: Answers, label: int) -> tuple[Floats, Floats]:
    """Share of the rest called so, share of the class found: (0, 0) to (1, 1), a step per distinct score.

    Args:
        answers: of one model and variant.
        label: index into LABELS.

    Returns:
        Two arrays of one length; empty where the class or the rest has no image.
    """
    positive = answers.truth == label
    if positive.all() or not positive.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-answers.scores[:, label], kind="stable")
    scores, hits = answers.scores[order, label], positive[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    found, wrong = np.cumsum(hits)[ends], np.cumsum(~hits)[ends]
    start = np.zeros(1)
    return np.concatenate([start, wrong / wrong[-1]]), np.concatenate([start, found / found[-1]])
