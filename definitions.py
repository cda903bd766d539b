"""The roof: assets, checks, resources, jobs, schedules, sensors. Importing it imports no heavy library."""

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
from resources.settings import load_settings

SETTINGS = load_settings()
CATALOG = load_catalog(SETTINGS.catalog)
GRID = training_grid(CATALOG)

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
    dg.AssetSelection.assets("release"),
    description="Challengers against the champion, by the rule of promotion.",
)

defs = dg.Definitions(
    assets=[
        *raw_assets(CATALOG),
        *curation_assets(CATALOG),
        *with_catalog([variants], *CATALOG.degradations.values()),
        model_asset(CATALOG, GRID),
        *evaluation_assets(GRID),
        pooled,
        robustness,
        *with_catalog([release], CATALOG.promotion),
        model_report_asset(GRID),
        release_report,
    ],
    asset_checks=[*gate_checks(CATALOG), accounts],
    jobs=[CURATE, TRAIN, EXPLAIN, COMPARE, REPORT, POOL, PROMOTE, RETRAIN],
    schedules=[weekly_retraining],
    sensors=[raw_data_changed, alert_on_failure],
    resources=connect_resources(SETTINGS),
    executor=dg.in_process_executor,
    loggers={"console": console},
)
