"""The figures of an epoch: enough to choose one, not the evaluation."""

import numpy as np


def score_epoch(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of probabilities float64 [n, 4] against label indices int64 [n].

    The loss is plain cross-entropy, in nats: neither class weights nor label smoothing, so that it compares
    between recipes. Macro-F1 is the mean over classes that occur in the truth or in the answers, as
    scikit-learn has it.
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    answers = probabilities.argmax(axis=1)
    classes = probabilities.shape[1]
    confusion = np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)
    hits, total = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = total > 0
    return {
        "loss": float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean()),
        "accuracy": float(hits.sum() / len(labels)),
        "macro_f1": float((2 * hits[occurs] / total[occurs]).mean()),
    }
