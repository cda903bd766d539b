"""Table `comparisons`: every two recipes that were tested on the same images, by paired draws of groups.

With many recipes some pair differs by chance: the intervals are of one pair each, not of all together.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.digests import digest_json
from pipeline.errors import TableError
from pipeline.evaluation.bootstrap import find_interval
from pipeline.evaluation.comparison import DRAWS, share_above
from pipeline.evaluation.predictions import CLEAN
from pipeline.evaluation.standings import Standing, measure_standings
from pipeline.schemas import TABLES

Contest = dict[str, Any]


def compare_recipes(
    predictions: Iterable[pd.DataFrame], *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Table `comparisons` of all pairs of recipes under each protocol, from the clean predictions.

    Several seeds of a recipe are averaged draw by draw. Pairs that were tested on different images, labels
    or groups are left out: their difference would be that of two test sets.

    Args:
        predictions: predictions tables, each of one or several models, in any order.
        draws: bootstrap draws, the same for all recipes of a protocol.
        seed: a result is a function of the rows' content, `draws` and `seed` alone.

    Returns:
        Sorted by key; without rows where no two recipes can be compared.

    Raises:
        TableError: as `measure_standings`; there is no predictions table.
    """
    frames = list(predictions)
    if not frames:
        raise TableError("comparisons: no predictions to compare; materialise those of at least two recipes")
    whole = pd.concat(frames, ignore_index=True)
    standings = measure_standings(whole, draws=draws, seed=seed)
    sets = _name_sets(whole)
    rows = [
        _contest(one, other)
        for one, other in combinations(standings, 2)
        if sets[one.recipe, one.protocol] == sets[other.recipe, other.protocol]
    ]
    table = TABLES["comparisons"]
    return pd.DataFrame(rows, columns=table.names).sort_values(list(table.key), ignore_index=True)


def tell_contests(comparisons: pd.DataFrame, protocol: str) -> Iterator[str]:
    """A sentence for each pair under a protocol, the largest difference first; says what may be chance."""
    rows = comparisons[comparisons["protocol"] == protocol]
    ordered = rows.sort_values(["difference", "first", "second"], ascending=[False, True, True])
    for row in ordered.to_dict("records"):
        said = f"`{row['first']}` − `{row['second']}`: {row['difference']:+.3f}"
        if np.isnan(row["low"]):
            yield f"{said}; too few groups for an interval"
            continue
        verdict = "" if row["low"] > 0 else "; other patients may turn it round"
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
        yield f"{said} {interval}, better in {100 * row['above']:.1f} % of draws{verdict}"


def _contest(one: Standing, other: Standing) -> Contest:
    first, second = sorted((one, other), key=lambda standing: (-standing.macro_f1, standing.recipe))
    difference = first.draws - second.draws
    low, high = find_interval(difference, first.groups)
    return {
        "protocol": first.protocol,
        "first": first.recipe,
        "second": second.recipe,
        "first_macro_f1": first.macro_f1,
        "second_macro_f1": second.macro_f1,
        "difference": first.macro_f1 - second.macro_f1,
        "low": low,
        "high": high,
        "above": share_above(difference, low),
        "n": first.n,
        "groups": first.groups,
    }


def _name_sets(predictions: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(recipe, protocol) -> digest of the protocol, images, labels and groups that it was tested on."""
    columns = ["collection", "path", "image_id", "label", "group_id"]
    clean = predictions[predictions["variant"] == CLEAN]
    return {
        (str(recipe), str(protocol)): digest_json(
            [protocol, *sorted(map(list, set(part[columns].itertuples(index=False, name=None))))]
        )
        for (recipe, protocol), part in clean.groupby(["recipe", "protocol"])
    }
