"""Which rows of a split a recipe uses: one function for training and prediction, so that they agree."""

from collections.abc import Collection, Iterable

import pandas as pd

from pipeline.curation.copies import keep_one_copy
from pipeline.protocols import collection_of
from pipeline.recipe import DataSpec


def select_used(rows: pd.DataFrame, data: DataSpec, parts: Collection[str], *, protocol: str) -> pd.DataFrame:
    """The rows of some parts of a split that a recipe uses, in their order.

    Those of the recipe's collections, and of these the best copy of each picture, unless the recipe takes
    all. Under `external:<collection>` the test part is what the protocol says, whatever the recipe's
    collections.

    Args:
        rows: table `splits` of `protocol`.
        data: the recipe's `data`.
        parts: some of train, val, test.
        protocol: name of the protocol.
    """
    wanted = rows["split"].isin(list(parts))
    if data.collections:
        external = rows["split"].eq("test") & (collection_of(protocol) is not None)
        wanted &= rows["collection"].isin(list(data.collections)) | external
    used = rows[wanted]
    return used if data.copies == "all" else keep_one_copy(used)


def select_for_any(
    rows: pd.DataFrame, recipes: Iterable[DataSpec], parts: Collection[str], *, protocol: str
) -> pd.DataFrame:
    """The rows of some parts of a split that at least one of the recipes uses, in their order."""
    chosen = pd.Series(False, index=rows.index)
    for data in recipes:
        chosen[select_used(rows, data, parts, protocol=protocol).index] = True
    return rows[chosen]
