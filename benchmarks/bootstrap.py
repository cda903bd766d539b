"""Group bootstrap of macro-F1: Falx against a plain loop of scikit-learn's f1_score over resampled images.

    python benchmarks/bootstrap.py [--images 2000] [--groups 600] [--draws 2000]

Both get the same draws, and their intervals must agree to the last digits. Falx is timed twice: for all
metrics of a confusion matrix, macro-F1 among them, and for everything that it reports, ROC-AUC included.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from pipeline.evaluation.bootstrap import draw_weights, find_interval
from pipeline.evaluation.metrics import resample_metrics
from pipeline.evaluation.predictions import Answers, Floats

SEED = 0


def make_answers(images: int, groups: int) -> Answers:
    """Made-up answers of a model that is right about nine times in ten; each group has one class."""
    random = np.random.default_rng(SEED)
    label = random.integers(0, 4, groups)
    group = np.concatenate([np.arange(groups), random.integers(0, groups, images - groups)])
    logits = random.normal(size=(images, 4))
    logits[np.arange(images), label[group]] += 2.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(label[group], scores, group)


def loop_plainly(answers: Answers, draws: int) -> Floats:
    """Macro-F1 of each draw, images repeated as often as their group was drawn."""
    scores = []
    for weights in draw_weights(answers.group_count, draws, SEED):
        for row in weights.astype(int):
            picked = np.repeat(np.arange(answers.size), row[answers.groups])
            scores.append(f1_score(answers.truth[picked], answers.predicted[picked], average="macro"))
    return np.array(scores)


def measure(name: str, compute: Callable[[], Floats]) -> tuple[float, Floats]:
    """Wall time in seconds and the draws; prints a line."""
    begin = time.perf_counter()
    draws = compute()
    seconds = time.perf_counter() - begin
    print(f"{name:<48} {seconds:9.3f} s  {1e3 * seconds / len(draws):8.4f} ms a draw")
    return seconds, draws


def main() -> None:
    """Run both and print times, ratios and the agreement.

    Raises:
        SystemExit: the draws differ.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--groups", type=int, default=600)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    answers = make_answers(options.images, options.groups)
    name = ("macro_f1", "all")

    def ours(*, ranks: bool) -> Floats:
        return resample_metrics(answers, draws=options.draws, seed=SEED, ranks=ranks)[name][1]

    print(f"{options.images:,} images in {options.groups:,} groups, {options.draws:,} draws")
    plain, expected = measure(
        "scikit-learn f1_score in a loop: macro-F1", lambda: loop_plainly(answers, options.draws)
    )
    counts, found = measure("Falx: 16 metrics of the confusion matrix", lambda: ours(ranks=False))
    everything, _ = measure("Falx: those and 5 ROC-AUC", lambda: ours(ranks=True))
    print(
        f"Falx takes 1/{plain / counts:,.0f} and 1/{plain / everything:,.0f} of the loop's time, "
        "which counts macro-F1 alone"
    )
    low, high = find_interval(found, options.groups)
    print(
        f"macro-F1 interval of both: [{low:.6f}, {high:.6f}]; "
        f"largest difference of a draw: {abs(found - expected).max():.1e}"
    )
    if not np.allclose(found, expected, rtol=0, atol=1e-12):
        raise SystemExit("the draws differ: one of the two counts wrongly")


if __name__ == "__main__":
    main()
