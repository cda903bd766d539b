"""What training on degraded images gives: two recipes on the same test images, as they are and poorer.

    python -m benchmarks.poorer --home HOME --recipes slim128_attend slim128_attend_clean

Both are trained and have answered (`make train RECIPE=… PROTOCOL=patient`). Accuracy on clean test images,
and its mean over severities and kinds: of all kinds, of those that the first recipe trains on, of those that
neither trains on, and of each. Differences are paired, with the 95 % interval of a bootstrap of whole groups.
The first seed of each. Nothing is trained or asked here: the answers are those in the lake. Prints Markdown.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.ablation import show
from benchmarks.homes import choose_recipe, open_home
from pipeline.errors import FalxError, SettingsError, TableError
from pipeline.evaluation.bootstrap import find_interval
from pipeline.evaluation.comparison import DRAWS, compare_models
from pipeline.evaluation.findings import resample_sums, sum_by_group
from pipeline.evaluation.metrics import protocol_seed
from pipeline.evaluation.predictions import CLEAN, Floats, check_predictions
from pipeline.evaluation.robustness import Ladder, climb

PROTOCOL = "patient"
"""The one protocol that has degraded images."""


@dataclass(frozen=True)
class Row:
    """Accuracy of both on some variants of the test images, and how much higher the first one's is."""

    images: str
    first: float
    second: float
    low: float
    high: float


def compare_ladders(
    first: pd.DataFrame, second: pd.DataFrame, taught: frozenset[str], known: frozenset[str], *, draws: int
) -> list[Row]:
    """Clean images, all kinds, those taught to the first, those known to neither, then each kind.

    Deterministic: a function of the rows' content and `draws`.

    Args:
        first, second: rows of the predictions table, of one model each.
        taught: kinds that the first was trained on; `known`: those that either was trained on.
        draws: of the bootstrap.

    Raises:
        TableError: the two did not answer the same images, kinds and severities.
    """
    ladders = [climb(check_predictions(frame)) for frame in (first, second)]
    steps = [{kind: len(answers) for kind, answers in one.degraded.items()} for one in ladders]
    compare_models(first, second, draws=1)  # refuses other images, labels or groups
    if steps[0] != steps[1]:
        raise TableError(
            f"the first answered {steps[0]}, the second {steps[1]} severities; predict both anew"
        )
    sets = list_sets(list(steps[0]), taught, known)
    sums = np.hstack([*map(count_right, ladders), count_images(ladders[0])])

    def measure(drawn: Floats) -> dict[str, Floats]:
        found = {}
        for side, accuracy in enumerate(np.split(drawn[:, :-1] / drawn[:, -1:], 2, axis=1)):
            kinds = average_severities(accuracy, steps[0])
            for name, part in sets.items():
                found[f"{side}/{name}"] = np.mean([kinds[kind] for kind in part or [CLEAN]], axis=0)
        return found

    stream = protocol_seed(0, str(first["protocol"].iloc[0]))
    found = resample_sums(sums, measure, draws=draws, seed=stream)
    rows = []
    for name in sets:
        one, other = found[f"0/{name}"], found[f"1/{name}"]
        interval = find_interval(one[1] - other[1], ladders[0].clean.group_count)
        rows.append(Row(name, one[0], other[0], *interval))
    return rows


def average_severities(accuracy: Floats, steps: Mapping[str, int]) -> dict[str, Floats]:
    """Accuracy of d draws on each variant [d, 1 + v] -> on clean images and on each kind, its mean [d]."""
    parts = np.split(accuracy, np.cumsum([1, *steps.values()])[:-1], axis=1)
    return {kind: part.mean(axis=1) for kind, part in zip((CLEAN, *steps), parts, strict=True)}


def list_sets(kinds: list[str], taught: frozenset[str], known: frozenset[str]) -> Mapping[str, list[str]]:
    """What is told -> the kinds that it is a mean of; none for the clean images. Empty ones are left out."""
    sets = {
        CLEAN: [],
        f"all kinds, {len(kinds)}": kinds,
        f"kinds that the first trains on ({', '.join(sorted(taught))})": [
            kind for kind in kinds if kind in taught
        ],
        "kinds that neither trains on": [kind for kind in kinds if kind not in known],
    }
    return {name: part for name, part in sets.items() if part or name == CLEAN} | {k: [k] for k in kinds}


def count_right(ladder: Ladder) -> Floats:
    """Right answers of each group, clean and then each severity of each kind: [g, 1 + v]."""
    answers = [ladder.clean, *(one for kind in ladder.degraded.values() for one in kind)]
    right = np.stack([one.predicted == one.truth for one in answers], axis=1)
    return sum_by_group(right, ladder.clean)


def count_images(ladder: Ladder) -> Floats:
    """Images of each group: [g, 1]."""
    return sum_by_group(np.ones((ladder.clean.size, 1)), ladder.clean)


def read_rows(home: Path, names: list[str]) -> list[Row]:
    """The comparison of two recipes of a home.

    Raises:
        SettingsError: the home is not curated, there is no such recipe, or it has not answered.
        TableError: as `compare_ladders`.
    """
    lake, raw, _ = open_home(home)
    from assets.trainings import choose_degradations

    taught, frames = [], []
    for name in names:
        recipe = choose_recipe(raw, name, PROTOCOL)
        taught.append(frozenset(choose_degradations(recipe, raw.catalog.degradations)))
        if lake.manifest(f"predictions/{PROTOCOL}/{name}") is None:
            raise SettingsError(
                f"{name} has answered nothing in {home}; "
                f"run `make train RECIPE={name} PROTOCOL={PROTOCOL}` first"
            )
        rows = lake.read(f"predictions/{PROTOCOL}/{name}")
        frames.append(rows[rows["seed"] == rows["seed"].min()])
    return compare_ladders(frames[0], frames[1], taught[0], taught[0] | taught[1], draws=DRAWS)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="a home with both models, as FALX_HOME")
    parser.add_argument("--recipes", nargs=2, required=True, metavar=("FIRST", "SECOND"))
    options = parser.parse_args()
    try:
        rows = read_rows(options.home.resolve(), options.recipes)
    except FalxError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    print(
        f"| test images | `{options.recipes[0]}` | `{options.recipes[1]}` | difference |\n|---|--:|--:|--:|"
    )
    for row in rows:
        gain = f"{row.first - row.second:+.3f} [{show(row.low, '.3f')}, {show(row.high, '.3f')}]"
        print(f"| {row.images} | {row.first:.3f} | {row.second:.3f} | {gain} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
