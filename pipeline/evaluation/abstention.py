"""Abstention: how many answers are wrong among those that a model is surest of.

Risk against coverage after Geifman and El-Yaniv, Selective Classification for Deep Neural Networks (NeurIPS
2017, arXiv 1705.08500), with the maximum probability as confidence; the area under the curve (AURC) after
Geifman, Uziel and El-Yaniv (ICLR 2019, arXiv 1805.08206).
A model abstains below a threshold, so images of equal confidence are answered or left together.
Shapes: d draws, n images, t distinct confidences.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.bootstrap import divide, draw_weights
from pipeline.evaluation.findings import Finding, find
from pipeline.evaluation.predictions import Answers, Floats, Integers

COVERAGES = (0.7, 0.8, 0.9, 0.95)

# Weights of images that are held at once: 16 MB.
_BLOCK_VALUES = 1 << 21


def trace_risk(answers: Answers) -> tuple[Floats, Floats]:
    """The curve: coverage and risk [t] at every threshold, from the strictest to the one that answers all."""
    order, ends = _order(answers)
    kept, wrong = _cumulate(np.ones((1, answers.size)), answers, order, ends)
    return kept[0] / answers.size, wrong[0] / kept[0]


def measure_abstention(answers: Answers, *, draws: int, seed: int) -> list[Finding]:
    """AURC, and the risk at each of `COVERAGES`, with intervals.

    The risk at a coverage is that under the highest threshold that still answers this share of the images.
    AURC is the mean, over images, of the risk under the threshold that just answers the image.

    Args:
        answers: of the clean test images; calibrated ones, since a temperature can change who is surer.
        draws: bootstrap draws.
        seed: of the draws.

    Returns:
        `aurc`, and `risk_at_70`, … for each coverage in per cent.
    """
    order, ends = _order(answers)
    value = _measure(np.ones((1, answers.size)), answers, order, ends)
    blocks = [
        _measure(weights[:, answers.groups], answers, order, ends)
        for weights in _draw_blocks(answers, draws, seed)
    ]
    return [
        find(name, (float(value[name][0]), np.concatenate([block[name] for block in blocks])), answers)
        for name in value
    ]


def _draw_blocks(answers: Answers, draws: int, seed: int) -> Iterator[Floats]:
    """The draws' weights [block, g], in blocks small enough for one weight an image."""
    rows = max(1, _BLOCK_VALUES // answers.size)
    for weights in draw_weights(answers.group_count, draws, seed):
        for start in range(0, len(weights), rows):
            yield weights[start : start + rows]


def _order(answers: Answers) -> tuple[Integers, Integers]:
    """Images by falling confidence [n], and the last place of each distinct confidence [t]."""
    confidence = answers.scores.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), answers.size - 1)
    return order, ends


def _cumulate(weights: Floats, answers: Answers, order: Integers, ends: Integers) -> tuple[Floats, Floats]:
    """Images answered, and answered wrongly, at every threshold: [d, t] each, from weights [d, n]."""
    ordered = weights[:, order]
    wrong = (answers.predicted != answers.truth)[order]
    return np.cumsum(ordered, axis=1)[:, ends], np.cumsum(ordered * wrong, axis=1)[:, ends]


def _measure(weights: Floats, answers: Answers, order: Integers, ends: Integers) -> dict[str, Floats]:
    kept, wrong = _cumulate(weights, answers, order, ends)
    risk = np.nan_to_num(divide(wrong, kept))
    total = kept[:, -1]
    found = {"aurc": (np.diff(kept, axis=1, prepend=0) * risk).sum(axis=1) / total}
    for coverage in COVERAGES:
        # A hair below, as 0.9 × 10 images must ask for 9 and not for the float above it.
        place = np.argmax(kept >= (coverage * total * (1 - 1e-12))[:, None], axis=1)
        found[f"risk_at_{round(100 * coverage)}"] = risk[np.arange(len(risk)), place]
    return found
