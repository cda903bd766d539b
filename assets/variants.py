"""Group `variants`: the test images of `patient`, degraded as poor scanners would degrade them."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.materials import code_version, picture, result_of, table_asset
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

GROUP = "variants"
CODE = code_version("schemas/evaluation.py", "imaging", "training/selection.py", "curation/copies.py")
SIZE = 224


class VariantsConfig(dg.Config):
    """How many test images are degraded."""

    limit: int | None = Field(None, ge=1)
    """At most this many images a label, drawn by content; null takes all."""


@table_asset("variants", GROUP, CODE, [dg.AssetKey(["splits", "patient"])])
def variants(
    context: dg.AssetExecutionContext, config: VariantsConfig, lake: Lake, raw_store: RawStore
) -> dg.MaterializeResult[Any]:
    """Every test image of `patient` under each degradation at five severities; as PNG for the stored kinds.

    Open it with `datasets.load_dataset("parquet", data_files=…)`: the column `image` shows as pictures.
    """
    from pipeline.imaging.cache import open_cache
    from pipeline.imaging.variants import make_variants
    from pipeline.training.selection import select_for_any

    degradations = raw_store.degradations
    settings = {name: entry.model_dump() for name, entry in degradations.items()}
    asked = [recipe.data for recipe in raw_store.catalog.recipes.values()]
    chosen = {"size": SIZE, "limit": config.limit, "asked": [data.model_dump(mode="json") for data in asked]}
    digest = lake.digest_inputs(["splits/patient"], {**chosen, **settings})
    if not lake.is_current("variants", inputs=digest, code=CODE):
        test = select_for_any(lake.read("splits/patient"), asked, ("test",), protocol="patient")
        cache = open_cache(
            test, raw_store.folders(), size=SIZE, root=raw_store.cache_root, workers=raw_store.workers
        )
        frames = make_variants(
            test, cache, degradations, size=SIZE, limit=config.limit, workers=raw_store.workers
        )
        lake.write_stream("variants", frames, inputs=digest, code=CODE)
    manifest = lake.manifest("variants")
    assert manifest is not None
    if not any(kind.stored for kind in degradations.values()):
        return result_of(manifest)
    sheet = picture(draw_example(lake), "one test image under each stored degradation, severity 1 to 5")
    return result_of(manifest, example=sheet)


def draw_example(lake: Lake) -> bytes:
    """Contact sheet of the first test image: a row a degradation, a column a severity."""
    from pipeline.imaging.decode import decode_image
    from pipeline.imaging.sheets import fit_sheet

    rows = _first_image(lake)
    pixels = [decode_image(cell["bytes"]).pixels for cell in rows["image"]]
    captions = [f"{row.degradation} {row.severity}" for row in rows.itertuples()]
    return fit_sheet(pixels, captions, columns=5, tile=112)


def _first_image(lake: Lake) -> "pd.DataFrame":
    import pyarrow.parquet as pq

    file = pq.ParquetFile(lake.path("variants"))
    frame = next(file.iter_batches(batch_size=256)).to_pandas()
    first = frame["image_id"] == frame["image_id"].iloc[0]
    chosen: pd.DataFrame = frame[first & frame["image"].notna()]
    return chosen
