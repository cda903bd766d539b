"""Calibration: whether a model that says 90 % is right nine times in ten, before and after one scalar.

Temperature scaling and the expected calibration error in 15 bins of equal width after Guo, Pleiss, Sun and
Weinberger, On Calibration of Modern Neural Networks (ICML 2017, arXiv 1706.04599), sections 2 and 4.2; the
Brier score in its first form, summed over classes (Brier 1950), so that it lies between 0 and 2.
The temperature is fitted on val and held fixed while the test groups are drawn: intervals tell what other
test patients could change, not what another val part would.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.special

from pipeline.evaluation.bootstrap import divide
from pipeline.evaluation.findings import Finding, find, resample_sums, sum_by_group
from pipeline.evaluation.predictions import Answers, Floats, Integers

BINS = 15
COOLEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: a val part that a model answers without a mistake would ask for 0."""

SCORES = ("nll", "brier", "ece")
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Bins:
    """Images by the confidence of their answer, in `BINS` bins of equal width."""

    count: Integers
    """[b], images."""
    confidence: Floats
    """[b], mean confidence; NaN where the bin is empty."""
    accuracy: Floats
    """[b], share of right answers; NaN where the bin is empty."""


def fit_temperature(answers: Answers) -> float:
    """The temperature under which the answers on val have the lowest negative log-likelihood.

    Log-probabilities stand in for the logits, from which they differ by a constant for each image, and the
    softmax does not see it. The likelihood is convex in 1 / temperature, so the minimum is the only one.

    Returns:
        Between `COOLEST` and `HOTTEST`; above 1 where the model was too sure. Deterministic.
    """
    import scipy.optimize  # 0.4 s, which a process that only softens need not wait for

    found = scipy.optimize.minimize_scalar(
        lambda exponent: _mean_nll(answers, float(np.exp(exponent))),
        bounds=(np.log(COOLEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def soften(scores: Floats, temperature: float) -> Floats:
    """Probabilities [n, c] under a temperature: softmax of their logarithms divided by it.

    The most probable class stays the most probable one. A probability of 0 counts as the smallest float.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, not {temperature}; 1 changes nothing")
    logs = np.log(np.maximum(scores, _TINY)) / temperature
    softened: Floats = scipy.special.softmax(logs, axis=1)
    return softened


def calibrate(answers: Answers, temperature: float) -> Answers:
    """The same answers with softened probabilities."""
    return replace(answers, scores=soften(answers.scores, temperature))


def bin_answers(answers: Answers) -> Bins:
    """Count, mean confidence and accuracy in each bin of confidence; bin b holds (b / 15, (b + 1) / 15]."""
    confidence = answers.scores.max(axis=1)
    right = (answers.predicted == answers.truth).astype(np.float64)
    places = _find_bins(confidence)
    sums = [np.bincount(places, values, BINS) for values in (np.ones(answers.size), confidence, right)]
    count, total, hits = (np.asarray(values, np.float64) for values in sums)
    return Bins(count.astype(np.int64), divide(total, count), divide(hits, count))


def measure_calibration(answers: Answers, temperature: float, *, draws: int, seed: int) -> list[Finding]:
    """Log-likelihood, Brier score and ECE before and after scaling, and the change, all on the same draws.

    Args:
        answers: of the clean test images, probabilities as the model gave them.
        temperature: fitted on val.
        draws: bootstrap draws.
        seed: of the draws.

    Returns:
        `nll_before`, `nll_after`, `nll_change` (after minus before), and so for `brier` and `ece`.
    """
    states = {"before": answers, "after": calibrate(answers, temperature)}
    columns = [np.ones((answers.size, 1)), *(_list_terms(state) for state in states.values())]
    sums = sum_by_group(np.hstack(columns), answers)
    found = resample_sums(sums, _measure_sums, draws=draws, seed=seed)
    return [find(name, drawn, answers) for name, drawn in found.items()]


def list_gaps(answers: Answers) -> Floats:
    """Right minus confidence, summed in each group and bin: [g, b]; what the ECE is made of."""
    return sum_by_group(_mark_gaps(answers), answers)


def _list_terms(answers: Answers) -> Floats:
    """What each image adds: [n, 2 + b]: log-loss, Brier score, and right minus confidence in its bin."""
    truth = np.eye(answers.scores.shape[1])[answers.truth]
    brier = ((answers.scores - truth) ** 2).sum(axis=1)
    return np.column_stack([_list_nll(answers), brier, _mark_gaps(answers)])


def _mark_gaps(answers: Answers) -> Floats:
    """Right minus confidence of each image, in the column of its bin: [n, b], 0 elsewhere."""
    confidence = answers.scores.max(axis=1)
    gaps = np.zeros((answers.size, BINS))
    gaps[np.arange(answers.size), _find_bins(confidence)] = (answers.predicted == answers.truth) - confidence
    return gaps


def _measure_sums(sums: Floats) -> dict[str, Floats]:
    count, width = sums[:, 0], 2 + BINS
    scored: dict[str, Floats] = {}
    for state, start in (("before", 1), ("after", 1 + width)):
        terms = sums[:, start : start + width]
        scored |= {
            f"nll_{state}": divide(terms[:, 0], count),
            f"brier_{state}": divide(terms[:, 1], count),
            f"ece_{state}": divide(np.abs(terms[:, 2:]).sum(axis=1), count),
        }
    changes = {f"{name}_change": scored[f"{name}_after"] - scored[f"{name}_before"] for name in SCORES}
    return scored | changes


def _mean_nll(answers: Answers, temperature: float) -> float:
    return float(_list_nll(calibrate(answers, temperature)).mean())


def _list_nll(answers: Answers) -> Floats:
    likelihood = answers.scores[np.arange(answers.size), answers.truth]
    return -np.log(np.maximum(likelihood, _TINY))


def _find_bins(confidence: Floats) -> Integers:
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
