"""Group `curation`: from raw folders to splits that hold, and the audit that shows it."""

import dagster as dg

from assets.audit import audit
from assets.copies import copies_assets
from assets.materials import with_catalog
from assets.scan import scan_assets
from assets.splits import split_assets
from pipeline.catalog import Catalog


def curation_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """All assets of the group, in the order of the flow."""
    flow = [*scan_assets(catalog), *copies_assets(), *split_assets(catalog), audit]
    return with_catalog(flow, *catalog.collections.values())
