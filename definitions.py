"""The roof: assets, checks, resources, jobs, schedules. Importing it imports no heavy library."""

import dagster as dg

from assets.curation import curation_assets
from assets.evaluation import evaluation_assets
from assets.gate import accounts, gate_checks
from assets.materials import with_catalog
from assets.partitions import grid_key, training_grid
from assets.pooled import pooled
from assets.raw import raw_assets
from assets.release import release
from assets.reports import model_report_asset, release_report
from assets.robustness import robustness
from assets.training import model_asset
from assets.variants import variants
from pipeline.catalog import load_catalog
from pipeline.labels import PROTOCOLS
from resources.connect import connect_resources
from resources.console import console
from resources.settings import load_settings

SETTINGS = load_settings()
CATALOG = load_catalog(SETTINGS.catalog)
GRID = training_grid(CATALOG)
RECIPES = [recipe.name for recipe in CATALOG.recipes.values() if SETTINGS.profile in recipe.profiles]

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


@dg.schedule(
    name="weekly_retraining",
    cron_schedule="0 3 * * 1",
    job=TRAIN,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 03:00: every recipe of the profile under every protocol. Unchanged data and "
    "code are recognised and cost nothing. Off until you switch it on.",
)
def weekly_retraining(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """A run for each cell of the grid; the run key makes a repeated tick idempotent."""
    week = context.scheduled_execution_time.strftime("%G-W%V")
    return [
        dg.RunRequest(run_key=f"{week}/{recipe}/{protocol}", partition_key=grid_key(recipe, protocol))
        for recipe in RECIPES
        for protocol in PROTOCOLS
    ]


weekly_curation = dg.ScheduleDefinition(
    name="weekly_curation",
    cron_schedule="0 1 * * 1",
    job=CURATE,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 01:00: verify the raw collections and curate what changed. Off by default.",
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
        release,
        model_report_asset(GRID),
        release_report,
    ],
    asset_checks=[*gate_checks(CATALOG), accounts],
    jobs=[CURATE, TRAIN, EXPLAIN, COMPARE, REPORT, POOL],
    schedules=[weekly_curation, weekly_retraining],
    resources=connect_resources(SETTINGS),
    executor=dg.in_process_executor,
    loggers={"console": console},
)
