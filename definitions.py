"""The roof: assets, checks, resources, jobs, schedules, sensors. Importing it imports no heavy library."""

from functools import cache

import dagster as dg

from assets.curation import curation_assets
from assets.evaluation import evaluation_assets
from assets.gate import accounts, gate_checks
from assets.materials import with_catalog
from assets.partitions import training_grid
from assets.pooled import pooled
from assets.raw import raw_assets
from assets.release import release
from assets.reports import model_report_asset, release_report
from assets.retraining import RETRAIN, alert_on_failure, raw_data_changed, weekly_retraining
from assets.robustness import robustness
from assets.training import model_asset
from assets.variants import variants
from pipeline.catalog import load_catalog
from resources.connect import connect_resources
from resources.console import console
from resources.settings import Settings, load_settings

CURATE = dg.define_asset_job(
    "curate",
    dg.AssetSelection.groups("raw", "curation", "variants"),
    description="Raw collections to splits, audit and degraded test images.",
)
TRAIN = dg.define_asset_job(
    "train",
    dg.AssetSelection.assets("model", "validations", "predictions", "metrics", "evidence"),
    description="One recipe under one protocol: train, register, predict val and test, score, weigh.",
)
COMPARE = dg.define_asset_job(
    "compare",
    dg.AssetSelection.assets("leaderboard", "comparisons", "robustness", "release", "release_report"),
    description="All recipes beside one another, their optimism, and the one that is released.",
)
EXPLAIN = dg.define_asset_job(
    "explain",
    dg.AssetSelection.assets("explanations"),
    description="Where one recipe's models look: heat maps against the tumours' boxes, contact sheets.",
)
REPORT = dg.define_asset_job(
    "report",
    dg.AssetSelection.assets("model_report"),
    description="The page of one recipe under one protocol, with its card and facts.",
)
POOL = dg.define_asset_job(
    "pool", dg.AssetSelection.assets("pooled"), description="Five folds of each recipe as one test set."
)
PROMOTE = dg.define_asset_job(
    "promote",
    dg.AssetSelection.assets("release", "release_report"),
    description="Challengers against the champion, by the rule of promotion.",
)


@cache
def define(settings: Settings) -> dg.Definitions:
    """The roof over one home: its catalog and its resources are those of the settings."""
    catalog = load_catalog(settings.catalog)
    grid = training_grid(catalog)
    return dg.Definitions(
        assets=[
            *raw_assets(catalog),
            *curation_assets(catalog),
            *with_catalog([variants], *catalog.degradations.values()),
            model_asset(catalog, grid),
            *evaluation_assets(grid),
            pooled,
            robustness,
            *with_catalog([release], catalog.promotion),
            model_report_asset(grid),
            release_report,
        ],
        asset_checks=[*gate_checks(catalog), accounts],
        jobs=[CURATE, TRAIN, EXPLAIN, COMPARE, REPORT, POOL, PROMOTE, RETRAIN],
        schedules=[weekly_retraining],
        sensors=[raw_data_changed, alert_on_failure],
        resources=connect_resources(settings),
        executor=dg.in_process_executor,
        loggers={"console": console},
    )


defs = define(load_settings())
