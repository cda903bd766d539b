"""Conformal sets: for each image the labels that cannot be excluded, so that nine sets in ten hold the truth.

Split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005;
Angelopoulos and Bates, arXiv 2107.07511, section 1) with the score 1 - p(true class), known as LAC: Sadinle,
Lei and Wasserman, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels (JASA 2019, arXiv
1609.00451).

LAC and not APS (Romano, Sesia and Candès 2020, arXiv 2006.02544): of all sets with the same coverage LAC's
are the smallest on average, and they need no random number, so that an image has one set. What LAC lacks is
even coverage over classes; that is measured and printed rather than promised.

The promise holds where val and test images are exchangeable. Groups weaken it: images of one patient are
alike, so that val says less than its number of images suggests, and coverage varies more from test part to
test part than the number of test images suggests. Hence every interval draws groups.
"""

import math

import numpy as np

from pipeline.evaluation.bootstrap import divide
from pipeline.evaluation.findings import Finding, find, resample_sums, sum_by_group
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.predictions import Answers, Booleans, Floats
from pipeline.labels import LABELS

COVERAGE = 0.9


def fit_threshold(answers: Answers, *, coverage: float = COVERAGE) -> float:
    """The score up to which a label stays in the set: the ⌈(n + 1) · coverage⌉-th smallest of val's n.

    Args:
        answers: of the val part, probabilities as the model gave them: a temperature fitted on the same
            images would use them twice.
        coverage: share of sets that are to hold the truth.

    Returns:
        Between 0 and 1; infinity where val has too few images to exclude any label: every set is full.

    Raises:
        ValueError: the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, both excluded, not {coverage}")
    scores = np.sort(1 - answers.scores[np.arange(answers.size), answers.truth])
    # A hair below, as 10 × 0.9 must be 9 and not the float above it.
    rank = math.ceil((answers.size + 1) * coverage - 1e-9)
    return float(scores[rank - 1]) if rank <= answers.size else math.inf


def make_sets(scores: Floats, threshold: float) -> Booleans:
    """Which labels are in each image's set: [n, c] -> bool [n, c]; a set can be empty."""
    inside: Booleans = 1 - scores <= threshold
    return inside


def measure_sets(answers: Answers, threshold: float, *, draws: int, seed: int) -> list[Finding]:
    """Coverage and size of the sets of the test images: overall, by class, and with groups as the unit.

    Args:
        answers: of the clean test images, probabilities as the model gave them.
        threshold: fitted on val.
        draws: bootstrap draws.
        seed: of the draws.

    Returns:
        `coverage` and `set_size`, for all images and for each true class that has one; `single_sets` and
        `empty_sets`, shares of the images; `group_coverage`, the mean over groups of the share of covered
        images, each group one voice; `groups_short`, the share of groups covered less than `COVERAGE`.
    """
    sets = make_sets(answers.scores, threshold)
    covered, size = sets[np.arange(answers.size), answers.truth], sets.sum(axis=1)
    truth = np.eye(len(LABELS))[answers.truth]
    by_image = [covered, size, size == 1, size == 0, np.ones(answers.size)]
    terms = np.column_stack([*by_image, truth, truth * covered[:, None], truth * size[:, None]])
    sums = sum_by_group(terms, answers)
    shares = sums[:, 0] / sums[:, 4]
    voices = np.column_stack([shares, shares < COVERAGE, np.ones(len(shares))])
    found = resample_sums(np.hstack([sums, voices]), _measure_sums, draws=draws, seed=seed)
    findings = [_find(name, drawn, answers) for name, drawn in found.items()]
    return [one for one in findings if one.n]


def _measure_sums(sums: Floats) -> dict[str, Floats]:
    images, classes = sums[:, 4], len(LABELS)
    support, covered, size = (sums[:, 5 + part * classes :][:, :classes] for part in range(3))
    below, short, groups = sums[:, -3:].T
    names = ("coverage", "set_size", "single_sets", "empty_sets")
    found = {name: divide(sums[:, place], images) for place, name in enumerate(names)}
    for place, label in enumerate(LABELS):
        found[f"coverage/{label}"] = divide(covered[:, place], support[:, place])
        found[f"set_size/{label}"] = divide(size[:, place], support[:, place])
    return found | {"group_coverage": divide(below, groups), "groups_short": divide(short, groups)}


def _find(name: str, drawn: tuple[float, Floats], answers: Answers) -> Finding:
    metric, _, label = name.partition("/")
    return find(metric, drawn, answers, label=label or ALL)
