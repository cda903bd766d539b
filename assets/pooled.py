"""Group `evaluation`: figures over all patients, from the five folds of each recipe."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.evaluation import DRAWS
from assets.materials import code_version, preview, result_of, table_asset
from pipeline.errors import TableError
from pipeline.protocols import FOLD, FOLDS, protocol_path
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

GROUP = "evaluation"
CODE = code_version("evaluation", "schemas/evaluation.py", "protocols.py")
SUFFIXES = {"all": "", "three_class": ", three classes"}
PROTOCOLS = tuple(f"{FOLD}{number}" for number in range(1, FOLDS + 1))


@table_asset("pooled", GROUP, CODE, ["predictions"])
def pooled(context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore) -> dg.MaterializeResult[Any]:
    """Every figure over all patients: each image tested once, by a model that had not seen its group.

    Recipes that lack a fold are named and left out; where no recipe has all five, it refuses.
    """
    whole, partial = list_fold_predictions(lake, raw_store.catalog.recipes)
    for line in partial:
        context.log.warning(f"not pooled: {line}")
    if not whole:
        raise TableError(
            f"no recipe has predictions under all of {', '.join(PROTOCOLS)}: "
            f"{'; '.join(partial) or 'none has any'}. Run make folds RECIPE=… for one"
        )
    digest = digest_pooled(lake, raw_store)
    if not lake.is_current("pooled", inputs=digest, code=CODE):
        lake.write("pooled", score_folds(lake, whole.values()), inputs=digest, code=CODE)
    manifest, frame = lake.manifest("pooled"), lake.read("pooled")
    assert manifest is not None
    clean = frame[(frame["metric"] == "macro_f1") & (frame["class"] == "all")]
    shown = {
        f"{recipe} macro-F1{SUFFIXES[str(subset)]}": float(rows["value"].mean())
        for (recipe, subset), rows in clean.groupby(["recipe", "subset"])
    }
    return result_of(manifest, **shown, preview=dg.MetadataValue.md(preview(clean)))


def digest_pooled(lake: Lake, raw_store: RawStore) -> str:
    """Digest of what `pooled` is made from as the lake is now; see `digest_leaderboard`."""
    whole, _ = list_fold_predictions(lake, raw_store.catalog.recipes)
    return lake.digest_inputs([name for tables in whole.values() for name in tables], {"draws": DRAWS})


def list_fold_predictions(lake: Lake, recipes: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Recipe -> its five predictions tables, and a line for each recipe that has some and lacks others."""
    whole: dict[str, list[str]] = {}
    partial = []
    for recipe in sorted(recipes):
        tables = {protocol: f"predictions/{protocol_path(protocol)}/{recipe}" for protocol in PROTOCOLS}
        missing = [protocol for protocol, table in tables.items() if lake.manifest(table) is None]
        if not missing:
            whole[recipe] = list(tables.values())
        elif len(missing) < len(tables):
            partial.append(f"{recipe} lacks {', '.join(missing)}")
    return whole, partial


def score_folds(lake: Lake, recipes: Iterable[list[str]]) -> "pd.DataFrame":
    """The metrics of each recipe's pooled folds."""
    import pandas as pd

    from pipeline.evaluation.pooling import pool_folds, score_pooled

    frames = (pd.concat([lake.read(name) for name in names], ignore_index=True) for names in recipes)
    return pd.concat([score_pooled(pool_folds(frame), draws=DRAWS) for frame in frames], ignore_index=True)
