"""Whether a protocol changes which recipe is the better one: rankings by macro-F1, side by side.

Kendall's tau (Kendall 1938), counted over pairs of recipes: 1 where both protocols rank alike, -1 where one
turns the other round. Pairs that are level under a protocol count for neither.
"""

from itertools import combinations

import pandas as pd

from pipeline.evaluation.leaderboard import HONEST, OPTIMISTIC

Scores = dict[str, float]


def tell_rankings(leaderboard: pd.DataFrame) -> list[str]:
    """A sentence for each of `published` and `stratified`: how its ranking differs from that under `patient`.

    Args:
        leaderboard: rows of the leaderboard table, in any order.

    Returns:
        Only protocols that share two recipes or more with `patient`; a ranking is of the shared ones. The
        sentence says nothing of chance: whether two recipes differ at all stands in table `comparisons`. It
        says where recipes have test images of their own (other collections, all copies), as far as their
        numbers tell: a ranking is then of recipes and of images.
    """
    scores, asked = (
        {
            protocol: dict(zip(rows["recipe"], rows[column], strict=True))
            for protocol, rows in leaderboard.groupby("protocol")
        }
        for column in ("macro_f1", "n")
    )
    honest = scores.get(HONEST, {})
    return [
        _tell(protocol, scores[protocol], honest)
        + _tell_images(
            {name: asked[name] for name in (protocol, HONEST)}, set(scores[protocol]) & set(honest)
        )
        for protocol in OPTIMISTIC
        if len(set(scores.get(protocol, {})) & set(honest)) > 1
    ]


def list_swaps(first: Scores, second: Scores) -> list[tuple[str, str]]:
    """The pairs of recipes, better one under `first` named first, that change places under `second`."""
    shared = sorted(set(first) & set(second), key=lambda recipe: (-first[recipe], recipe))
    return [
        (better, worse)
        for better, worse in combinations(shared, 2)
        if first[better] > first[worse] and second[better] < second[worse]
    ]


def _tell(protocol: str, claimed: Scores, honest: Scores) -> str:
    shared = set(claimed) & set(honest)
    pairs = len(shared) * (len(shared) - 1) // 2
    swaps = list_swaps(claimed, honest)
    level = sum(
        claimed[one] == claimed[other] or honest[one] == honest[other]
        for one, other in combinations(sorted(shared), 2)
    )
    tau = (pairs - level - 2 * len(swaps)) / pairs
    best = min(shared, key=lambda recipe: (-claimed[recipe], recipe))
    place = 1 + sum(honest[recipe] > honest[best] for recipe in shared)
    said = f"`{protocol}` against `{HONEST}`: {len(swaps)} of {pairs} pairs of recipes change places"
    named = ", ".join(f"`{better}` and `{worse}`" for better, worse in swaps[:5])
    more = f" and {len(swaps) - 5} more" if len(swaps) > 5 else ""
    listed = f" ({named}{more})" if swaps else ""
    first = f"the best under `{protocol}`, `{best}`, comes in as {place}"
    return f"{said}{listed}, Kendall's tau {tau:+.2f}; {first}"


def _tell_images(asked: dict[str, dict[str, int]], shared: set[str]) -> str:
    """On how many images the shared recipes were tested, where not all on as many; else nothing."""
    told = []
    for protocol, counts in asked.items():
        sizes = sorted({counts[recipe] for recipe in shared}, reverse=True)
        if len(sizes) > 1:
            groups = (
                f"{', '.join(f'`{recipe}`' for recipe in sorted(shared) if counts[recipe] == size)}: {size:,}"
                for size in sizes
            )
            told.append(f"under `{protocol}` {'; '.join(groups)}")
    return f". Not all are asked of the same images: {', and '.join(told)}" if told else ""
