"""The grid of trainings: recipe × protocol. Dagster writes a key as `protocol|recipe`."""

import dagster as dg

from pipeline.catalog import Catalog
from pipeline.protocols import list_protocols


def training_grid(catalog: Catalog) -> dg.MultiPartitionsDefinition:
    """One partition for each recipe of the catalog under each protocol."""
    return dg.MultiPartitionsDefinition(
        {
            "protocol": dg.StaticPartitionsDefinition(list(list_protocols(catalog.collections))),
            "recipe": dg.StaticPartitionsDefinition(sorted(catalog.recipes)),
        }
    )


def grid_key(recipe: str, protocol: str) -> dg.MultiPartitionKey:
    """The partition key of one training."""
    return dg.MultiPartitionKey({"protocol": protocol, "recipe": recipe})


def split_grid_key(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """(recipe, protocol) of the partition that is being materialised."""
    key = context.partition_key
    assert isinstance(key, dg.MultiPartitionKey)
    return key.keys_by_dimension["recipe"], key.keys_by_dimension["protocol"]
